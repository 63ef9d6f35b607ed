//! Secret values: no `Debug`, no `Display`, no copy in a log; only hashes are kept.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret, SecretString};

use crate::clock::{NoEntropy, random_bytes};

/// The SHA-256 of a token or secret: what logs, records and the replay table hold instead of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Hashes `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
        Self(hash)
    }

    /// The 32 bytes, as the store keeps them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads the bytes that [`Self::as_bytes`] gave.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// True if `secret` hashes to this; takes the same time for every wrong secret.
    pub fn matches(&self, secret: &[u8]) -> bool {
        verify_slices_are_equal(&self.0, &Self::of(secret).0).is_ok()
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(self.0) {
            *pair = [hex_digit(byte >> 4), hex_digit(byte & 0xf)];
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The digit of a number below 16. Every record holds fingerprints as text: the formatting machinery, called per byte,
/// would take longer than the hash.
const fn hex_digit(nibble: u8) -> u8 {
    if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 }
}

/// The right to end, heartbeat or renew one lease: 256 random bits, returned once, kept as a hash.
pub struct LeaseSecret(SecretString);

/// A text that cannot be a lease secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a lease secret")]
pub struct InvalidLeaseSecret;

impl LeaseSecret {
    /// What every lease secret begins with, so that a scanner knows one.
    pub const PREFIX: &str = "tgl_";

    /// A fresh secret.
    ///
    /// # Errors
    /// [`NoEntropy`] if the generator fails.
    pub fn generate() -> Result<Self, NoEntropy> {
        let bytes: [u8; 32] = random_bytes()?;
        Ok(Self(format!("{}{}", Self::PREFIX, URL_SAFE_NO_PAD.encode(bytes)).into()))
    }

    /// The secret itself, for the one answer that carries it.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// What the store keeps.
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.expose().as_bytes())
    }
}

impl FromStr for LeaseSecret {
    type Err = InvalidLeaseSecret;
    fn from_str(text: &str) -> Result<Self, InvalidLeaseSecret> {
        let body = text.strip_prefix(Self::PREFIX).ok_or(InvalidLeaseSecret)?;
        match URL_SAFE_NO_PAD.decode(body) {
            Ok(bytes) if bytes.len() == 32 => Ok(Self(text.to_owned().into())),
            _ => Err(InvalidLeaseSecret),
        }
    }
}

impl fmt::Debug for LeaseSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_matches_only_its_secret() {
        let print = Fingerprint::of(b"abc");
        assert!(print.matches(b"abc"));
        assert!(!print.matches(b"abd"));
        assert_eq!(print.to_string(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn lease_secret_round_trips_and_hides_itself() {
        let secret = LeaseSecret::generate().unwrap();
        let parsed: LeaseSecret = secret.expose().parse().unwrap();
        assert_eq!(parsed.fingerprint(), secret.fingerprint());
        assert!(!format!("{secret:?}").contains(secret.expose()));
        assert_eq!("tgl_short".parse::<LeaseSecret>().unwrap_err(), InvalidLeaseSecret);
    }
}
