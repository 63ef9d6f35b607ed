//! One version of a transit key, as its record in the store holds it under seal.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::signing::public::PublicKey;
use crate::signing::{SigningAlgorithm, SigningError};

/// One version of a transit key, with its public half.
#[derive(Clone)]
pub struct Version {
    mount: String,
    key: String,
    number: u32,
    algorithm: SigningAlgorithm,
    spki: Vec<u8>,
    public: PublicKey,
}

/// What is sealed.
#[derive(Serialize, Deserialize)]
struct Sealed {
    mount: String,
    key: String,
    version: u32,
    /// `SubjectPublicKeyInfo`, base64.
    spki: String,
}

impl Version {
    /// None if `spki` is not a key of `algorithm`.
    pub(super) fn new(
        mount: &str,
        key: &str,
        number: u32,
        algorithm: SigningAlgorithm,
        spki: Vec<u8>,
    ) -> Option<Self> {
        let public = PublicKey::from_spki(algorithm, &spki)?;
        Some(Self { mount: mount.to_owned(), key: key.to_owned(), number, algorithm, spki, public })
    }

    /// Its number, from 1.
    pub const fn number(&self) -> u32 {
        self.number
    }

    /// What it signs by.
    pub const fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// RFC 7638 thumbprint of its public half.
    pub fn kid(&self) -> String {
        self.public.thumbprint()
    }

    pub(in crate::signing) const fn public(&self) -> &PublicKey {
        &self.public
    }

    pub(super) fn is_of(&self, mount: &str, key: &str) -> bool {
        self.mount == mount && self.key == key
    }

    /// What is sealed in the store.
    pub(in crate::signing) fn to_bytes(&self) -> Result<Vec<u8>, SigningError> {
        let sealed = Sealed {
            mount: self.mount.clone(),
            key: self.key.clone(),
            version: self.number,
            spki: STANDARD.encode(&self.spki),
        };
        serde_json::to_vec(&sealed).map_err(SigningError::Claims)
    }

    /// Reads what [`Self::to_bytes`] gave.
    pub(in crate::signing) fn read(algorithm: SigningAlgorithm, bytes: &[u8]) -> Result<Self, SigningError> {
        let damaged = SigningError::Crypto("the sealed name of a key in the KMS cannot be read");
        let Ok(sealed) = serde_json::from_slice::<Sealed>(bytes) else { return Err(damaged) };
        let Ok(spki) = STANDARD.decode(&sealed.spki) else { return Err(damaged) };
        Self::new(&sealed.mount, &sealed.key, sealed.version, algorithm, spki).ok_or(damaged)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} version {}", self.mount, self.key, self.number)
    }
}
