//! The name of a public key that a token is bound to, of a certificate, or of whom certificates name.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// A SHA-256 thumbprint: of a JWK (RFC 7638, section 3), which tells one public key from every other, or of a certificate
/// (RFC 8705, section 3.1). In its place, a lease may have the hash of a SPIFFE ID, which is never equal to either.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Thumbprint([u8; 32]);

/// A text that is no thumbprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a thumbprint is the base64url of 32 bytes: 43 characters, without padding")]
pub struct InvalidThumbprint;

impl Thumbprint {
    /// Of the hash of a key's required members.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes, as the store keeps them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for Thumbprint {
    type Err = InvalidThumbprint;
    fn from_str(text: &str) -> Result<Self, InvalidThumbprint> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidThumbprint)?;
        bytes.try_into().map(Self).map_err(|_| InvalidThumbprint)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl serde::Serialize for Thumbprint {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_one_spelling_and_writes_it_again() {
        let text = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(text.parse::<Thumbprint>().unwrap().to_string(), text);
        let bits_left_over = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xt";
        for bad in ["", "AAAA", bits_left_over, &format!("{text}="), &text.replace('-', "+"), &text[1..]] {
            assert_eq!(bad.parse::<Thumbprint>(), Err(InvalidThumbprint), "{bad}");
        }
    }
}
