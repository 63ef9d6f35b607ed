//! One key: its record in the store, its public half as a JWK, its id.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;
use serde::Serialize;

use super::{KeyState, Purpose, Sealer, Signer, SigningAlgorithm, SigningError};

/// A key as the store keeps it: private part sealed.
#[derive(Clone)]
pub struct KeyRecord {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its algorithm.
    pub algorithm: SigningAlgorithm,
    /// Its state when it was last written; [`super::state_at`] says what it is now.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it becomes, or became, active.
    pub activates_at: Timestamp,
    /// PKCS#8, sealed by the key-encryption key; empty once revoked.
    pub sealed: Vec<u8>,
    /// Public JWK, JSON text, for lists. What is published is derived from the private key, so that writing to the store
    /// is not enough to have a key trusted.
    pub public_jwk: String,
}

impl KeyRecord {
    /// A fresh key; [`super::Keyring::generate`] is its public name.
    pub(super) fn generate(
        purpose: Purpose,
        algorithm: SigningAlgorithm,
        sealer: &Sealer,
        now: Timestamp,
        activates_at: Timestamp,
    ) -> Result<Self, SigningError> {
        let pkcs8 = Signer::generate(algorithm)?;
        let public = Signer::local(algorithm, &pkcs8)?.public_key();
        let kid = public.thumbprint();
        let state = if activates_at > now { KeyState::Published } else { KeyState::Active };
        Ok(Self {
            sealed: sealer.seal(&context(&kid, purpose, algorithm), &pkcs8)?,
            public_jwk: public.jwk(&kid, algorithm).to_string(),
            kid,
            purpose,
            algorithm,
            state,
            created_at: now,
            activates_at,
        })
    }

    /// Opens the private half, and checks that it is the key that the id names.
    pub(super) fn signer(&self, sealer: &Sealer) -> Result<Signer, SigningError> {
        let context = context(&self.kid, self.purpose, self.algorithm);
        let pkcs8 = Zeroizing::new(sealer.open(&context, &self.sealed)?);
        let signer = Signer::local(self.algorithm, &pkcs8)?;
        if signer.public_key().thumbprint() == self.kid {
            Ok(signer)
        } else {
            Err(SigningError::KeyMismatch(self.kid.clone()))
        }
    }
}

/// What a sealed key is bound to: a row with another id, purpose or algorithm does not open it.
fn context(kid: &str, purpose: Purpose, algorithm: SigningAlgorithm) -> String {
    format!("signing-key/{}/{}/{kid}", purpose.as_str(), algorithm.as_str())
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("kid", &self.kid)
            .field("purpose", &self.purpose)
            .field("algorithm", &self.algorithm)
            .field("state", &self.state)
            .field("activates_at", &self.activates_at)
            .finish_non_exhaustive()
    }
}

/// The members of a public JWK that identify the key, in the order that RFC 7638, section 3.2 hashes them.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum PublicKey {
    /// P-256 (RFC 7518, section 6.2.1).
    Ec { crv: &'static str, kty: &'static str, x: String, y: String },
    /// RSA (RFC 7518, section 6.3.1).
    Rsa { e: String, kty: &'static str, n: String },
}

impl PublicKey {
    /// From an uncompressed point: `04 || x || y`, 32 bytes each (SEC 1, section 2.3.3).
    pub(super) fn p256(point: &[u8]) -> Self {
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        Self::Ec { crv: "P-256", kty: "EC", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
    }

    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { e: URL_SAFE_NO_PAD.encode(exponent), kty: "RSA", n: URL_SAFE_NO_PAD.encode(modulus) }
    }

    /// The RFC 7638 thumbprint. Base64url and constants need no escaping, so the JSON is written as it is hashed.
    pub(super) fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { crv, kty, x, y } => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#),
            Self::Rsa { e, kty, n } => format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    /// The whole JWK (RFC 7517, section 4).
    pub(super) fn jwk(&self, kid: &str, algorithm: SigningAlgorithm) -> serde_json::Value {
        match self {
            Self::Ec { crv, kty, x, y } => serde_json::json!({
                "kty": kty, "crv": crv, "x": x, "y": y, "use": "sig", "alg": algorithm, "kid": kid,
            }),
            Self::Rsa { e, kty, n } => serde_json::json!({
                "kty": kty, "n": n, "e": e, "use": "sig", "alg": algorithm, "kid": kid,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thumbprint_is_that_of_rfc_7638_section_3_1() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP\
                       ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3\
                       68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4\
                       lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::Rsa { e: "AQAB".to_owned(), kty: "RSA", n: modulus.to_owned() };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }
}
