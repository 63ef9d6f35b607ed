//! Keys that Tollgate signs with: purposes, states, sealing, and the signer that a KMS can also be.
//!
//! A private key exists in three places: sealed in the store, in memory inside a [`Signer`], and for the moment between
//! in bytes that are wiped; or in a KMS, and nowhere here. It must never be shared between purposes, shown by `Debug`, or
//! put into an error.

pub mod discovery;
mod key;
mod keyring;
mod kms;
mod public;
mod rotation;
mod sealer;
mod signer;
mod transit;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::Serialize;

pub use key::KeyRecord;
pub use keyring::Keyring;
pub use kms::Kms;
pub use rotation::{
    Revocation, Rotation, first_keys, first_keys_of, next_change, next_state, plan_rotation, revoke, settle,
    state_at, withdrawn,
};
pub use sealer::{SealId, Sealer};
pub use signer::Signer;
pub use transit::{KmsError, Transit, Version};

/// The keyring in force: what signs holds this, and a rotation swaps what is in it.
pub type SharedKeyring = Arc<ArcSwap<Keyring>>;

/// `typ` of tokens that only providers use (RFC 7519, section 5.1).
pub const FEDERATION_TYP: &str = "JWT";
/// `typ` of access tokens handed out (RFC 9068, section 2.1).
pub const ACCESS_TOKEN_TYP: &str = "at+jwt";
/// `typ` of checkpoints of the audit chain.
pub const CHECKPOINT_TYP: &str = "tollgate-checkpoint+jwt";

/// `typ` of the seals of what was pruned: the key of checkpoints signs both, and neither passes for the other.
pub const SEAL_TYP: &str = "tollgate-seal+jwt";

/// What a key is for. Purposes never share a key or an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// `{url}/federation`: tokens that only providers use.
    Federation,
    /// `{url}`: credentials handed out.
    Credentials,
    /// Checkpoints of the audit chain.
    Checkpoints,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 3] = [Self::Federation, Self::Credentials, Self::Checkpoints];

    /// The purpose as the store, the command line and metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Federation => "federation",
            Self::Credentials => "credentials",
            Self::Checkpoints => "checkpoints",
        }
    }

    /// The algorithms that the purpose has keys for; the first is what it signs with unless asked otherwise.
    ///
    /// Federation tokens go to verifiers that are not ours, of which some know RS256 only (OpenID Connect Core, section
    /// 15.1 requires no other); the rest are ours to choose, and ES256 signs in a fifteenth of the time.
    pub const fn algorithms(self) -> &'static [SigningAlgorithm] {
        match self {
            Self::Federation => &[SigningAlgorithm::Rs256, SigningAlgorithm::Es256],
            Self::Credentials => &[SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
            Self::Checkpoints => &[SigningAlgorithm::Es256],
        }
    }
}

/// Algorithms that Tollgate signs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, 2048 bits; for verifiers that know no other.
    #[serde(rename = "RS256")]
    Rs256,
}

impl SigningAlgorithm {
    /// The algorithm's JOSE name (RFC 7518, section 3.1).
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }
}

/// A key's life: published first, active after the lag that caches need, then retired, then revoked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyState {
    /// In the JWKS, not signing yet.
    Published,
    /// Signs.
    Active,
    /// In the JWKS, no longer signing.
    Retired,
    /// Gone from the JWKS.
    Revoked,
}

impl KeyState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Published, Self::Active, Self::Retired, Self::Revoked];

    /// The state as the store and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Revoked => "revoked",
        }
    }
}

/// Where a private key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the store, sealed.
    Store,
    /// In a KMS.
    Kms,
}

impl Place {
    /// The place as the store and the command line write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Kms => "kms",
        }
    }
}

/// Why a key or sealed value cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key-encryption key is not 32 bytes of base64.
    #[error("the key-encryption key must be 32 bytes, base64")]
    KeyEncryptionKey,
    /// A sealed value does not open: another key-encryption key, or changed bytes.
    #[error("a sealed value does not open with this key-encryption key")]
    Unseal,
    /// A sealed value names a key-encryption key that is not configured.
    #[error(
        "a value is sealed by the key-encryption key {0}, which is not configured: add that key to \
         store.previous_key_encryption_keys"
    )]
    UnknownSeal(SealId),
    /// A stored key's private half does not belong to the id under which it is stored.
    #[error("the stored key {0} is not the key that its id names")]
    KeyMismatch(String),
    /// No active key for the purpose.
    #[error("no active key for {}", .0.as_str())]
    NoActiveKey(Purpose),
    /// No active key of the algorithm that was asked for.
    #[error("no active {} key for {}", .1.as_str(), .0.as_str())]
    NoSuchAlgorithm(Purpose, SigningAlgorithm),
    /// No stored key has the id.
    #[error("there is no key {0}")]
    NoSuchKey(String),
    /// The key was revoked before.
    #[error("the key {0} is revoked already")]
    AlreadyRevoked(String),
    /// Revoking this key would leave its purpose without one that signs.
    #[error("the key {0} is the one that signs: revoke it together with a rotation, by --rotate")]
    StillSigning(String),
    /// The KMS failed.
    #[error("the KMS cannot be used")]
    Kms(#[from] KmsError),
    /// Key generation, parsing or signing failed.
    #[error("cryptography failed: {0}")]
    Crypto(&'static str),
    /// The claims cannot be written as JSON.
    #[error("the claims cannot be serialised")]
    Claims(#[source] serde_json::Error),
}
