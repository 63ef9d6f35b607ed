//! Identifiers of decisions, leases and blocks.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// An identifier that is not a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an identifier: expected a UUID, as lists and answers show it")]
pub struct InvalidId;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// The 16 bytes, as the store keeps them.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// Reads the 16 bytes that [`Self::as_bytes`] gave.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Makes an id from a time, Unix milliseconds, and 10 random bytes. New ones sort behind old ones, which
            /// keeps them together in the store.
            pub const fn new(unix_millis: u64, random: &[u8; 10]) -> Self {
                Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, random).into_uuid())
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Uuid::try_parse(text).map(Self).map_err(|_| InvalidId)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    )+};
}

ids! {
    /// One decision: a UUIDv7, so that ids sort by time (RFC 9562, section 5.7).
    DecisionId;
    /// One lease: a UUIDv7 too. Its 74 random bits keep it from being guessed; its secret is what opens it.
    LeaseId;
    /// One block: a UUIDv7, so that ids sort by time.
    BlockId;
}

impl DecisionId {
    /// The decision's time, Unix milliseconds, as the id holds it.
    pub fn unix_millis(&self) -> i64 {
        // The first 48 bits.
        i64::try_from(self.0.as_u128() >> 80).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decision_ids_sort_by_time() {
        assert!(DecisionId::new(1, &[255; 10]) < DecisionId::new(2, &[0; 10]));
        assert_eq!(DecisionId::new(1_700_000_000_123, &[255; 10]).unix_millis(), 1_700_000_000_123);
    }

    #[test]
    fn text_and_bytes_round_trip() {
        let id = DecisionId::new(1_700_000_000_000, &[7; 10]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(DecisionId::from_bytes(*id.as_bytes()), id);
        assert_eq!("nonsense".parse::<LeaseId>(), Err(InvalidId));
    }
}
