//! How long a credential may live.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A lifetime in whole seconds, from one second to twelve hours.
///
/// Written as `90s`, `30m` or `12h`. Twelve hours is the longest session that AWS STS issues
/// (`AssumeRole`, parameter `DurationSeconds`); nothing that Tollgate mints lives longer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ttl(u32);

/// A lifetime that is not one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTtl {
    /// Not a whole number followed by a unit.
    #[error("write a whole number and a unit: 90s, 30m or 2h")]
    Format,
    /// Zero, or longer than [`Ttl::MAX`].
    #[error("must be from 1s to 12h")]
    Range,
}

impl Ttl {
    /// The longest lifetime: twelve hours.
    pub const MAX: Self = Self(12 * 60 * 60);

    /// Makes a lifetime of `seconds`.
    ///
    /// # Errors
    /// [`InvalidTtl::Range`] outside one second to twelve hours.
    pub const fn from_secs(seconds: u64) -> Result<Self, InvalidTtl> {
        if seconds == 0 || seconds > Self::MAX.0 as u64 {
            return Err(InvalidTtl::Range);
        }
        #[expect(clippy::cast_possible_truncation, reason = "at most 43,200 after the check above")]
        Ok(Self(seconds as u32))
    }

    /// The lifetime in seconds.
    pub const fn as_secs(self) -> u32 {
        self.0
    }

    /// The lifetime in minutes, exact: 90 seconds are 1.5.
    pub fn as_minutes(self) -> f64 {
        f64::from(self.0) / 60.0
    }

    /// The lifetime as a standard duration.
    pub const fn as_duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl FromStr for Ttl {
    type Err = InvalidTtl;

    fn from_str(text: &str) -> Result<Self, InvalidTtl> {
        let (number, unit) = match text.as_bytes().last() {
            Some(b's') => (text.trim_end_matches('s'), 1),
            Some(b'm') => (text.trim_end_matches('m'), 60),
            Some(b'h') => (text.trim_end_matches('h'), 3600),
            _ => return Err(InvalidTtl::Format),
        };
        let plain = number.len() + 1 == text.len()
            && !number.is_empty()
            && number.bytes().all(|byte| byte.is_ascii_digit());
        if !plain {
            return Err(InvalidTtl::Format);
        }
        let number: u64 = number.parse().map_err(|_| InvalidTtl::Range)?;
        Self::from_secs(number.checked_mul(unit).ok_or(InvalidTtl::Range)?)
    }
}

impl TryFrom<String> for Ttl {
    type Error = InvalidTtl;
    fn try_from(text: String) -> Result<Self, InvalidTtl> {
        text.parse()
    }
}

impl From<Ttl> for String {
    fn from(ttl: Ttl) -> Self {
        ttl.to_string()
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds if seconds % 3600 == 0 => write!(f, "{}h", seconds / 3600),
            seconds if seconds % 60 == 0 => write!(f, "{}m", seconds / 60),
            seconds => write!(f, "{seconds}s"),
        }
    }
}

impl fmt::Debug for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_zero_negative_fractional_huge_and_unknown_units() {
        for (text, error) in [
            ("0s", InvalidTtl::Range),
            ("13h", InvalidTtl::Range),
            ("99999999999999999999h", InvalidTtl::Range),
            ("-5m", InvalidTtl::Format),
            ("1.5h", InvalidTtl::Format),
            ("30", InvalidTtl::Format),
            ("30d", InvalidTtl::Format),
            ("m", InvalidTtl::Format),
            ("5mm", InvalidTtl::Format),
            (" 5m", InvalidTtl::Format),
            ("", InvalidTtl::Format),
        ] {
            assert_eq!(text.parse::<Ttl>(), Err(error), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn text_round_trips(seconds in 1u64..=43_200) {
            let ttl = Ttl::from_secs(seconds).unwrap();
            prop_assert_eq!(ttl.to_string().parse::<Ttl>(), Ok(ttl));
        }

        #[test]
        fn never_ok_and_out_of_range(text in "[0-9]{1,6}[smh]") {
            if let Ok(ttl) = text.parse::<Ttl>() {
                prop_assert!(ttl <= Ttl::MAX && ttl.as_secs() > 0);
            }
        }
    }
}
