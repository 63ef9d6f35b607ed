//! One key: its record in the store, and what its seal says.

use std::fmt;

use jiff::Timestamp;
use secrecy::zeroize::Zeroizing;

use super::public::PublicKey;
use super::sealer::is_unnamed;
use super::signer::LocalKey;
use super::transit::{KmsError, Version};
use super::{KeyState, Place, Purpose, Sealer, SigningAlgorithm, SigningError};

/// A key as the store keeps it: private part sealed.
#[derive(Clone)]
pub struct KeyRecord {
    /// RFC 7638 thumbprint of the public key.
    pub kid: String,
    /// What it is for.
    pub purpose: Purpose,
    /// Its algorithm.
    pub algorithm: SigningAlgorithm,
    /// Where its private half is.
    pub place: Place,
    /// Its state when it was last written; [`super::state_at`] says what it is now.
    pub state: KeyState,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it becomes, or became, active.
    pub activates_at: Timestamp,
    /// PKCS#8, or which key of the KMS it is, sealed by the key-encryption key; empty once revoked.
    pub sealed: Vec<u8>,
    /// Public JWK, JSON text, for lists. What is published is derived from what is sealed, so that writing to the store
    /// is not enough to have a key trusted.
    pub public_jwk: String,
}

/// What the seal of a record holds.
pub(super) struct Opened {
    pub(super) public: PublicKey,
    pub(super) private: Private,
}

/// A private key, or where to ask for it.
pub(super) enum Private {
    Local(LocalKey),
    Kms(Version),
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
        let pkcs8 = LocalKey::generate(algorithm)?;
        let public = LocalKey::parse(algorithm, &pkcs8)?.public_key();
        Self::unsealed(purpose, algorithm, Place::Store, &public, now, activates_at).seal(sealer, &pkcs8)
    }

    /// A version of a key that a KMS holds, with its public half sealed: whoever writes to the store, or answers in place
    /// of the KMS later, cannot change it.
    ///
    /// # Errors
    /// [`SigningError::Kms`] if the purpose has no use for the key's algorithm; [`SigningError::Crypto`].
    pub fn of_kms(
        purpose: Purpose,
        version: &Version,
        sealer: &Sealer,
        now: Timestamp,
        activates_at: Timestamp,
    ) -> Result<Self, SigningError> {
        if !purpose.algorithms().contains(&version.algorithm()) {
            return Err(KmsError::Key("its purpose takes keys of the type ecdsa-p256 only").into());
        }
        let record =
            Self::unsealed(purpose, version.algorithm(), Place::Kms, version.public(), now, activates_at);
        record.seal(sealer, &version.to_bytes()?)
    }

    fn unsealed(
        purpose: Purpose,
        algorithm: SigningAlgorithm,
        place: Place,
        public: &PublicKey,
        now: Timestamp,
        activates_at: Timestamp,
    ) -> Self {
        let kid = public.thumbprint();
        Self {
            public_jwk: public.jwk(&kid, algorithm).to_string(),
            kid,
            purpose,
            algorithm,
            place,
            state: if activates_at > now { KeyState::Published } else { KeyState::Active },
            created_at: now,
            activates_at,
            sealed: Vec::new(),
        }
    }

    fn seal(self, sealer: &Sealer, plain: &[u8]) -> Result<Self, SigningError> {
        Ok(Self { sealed: sealer.seal(&self.context(), plain)?, ..self })
    }

    /// Opens what is sealed, and checks that it is the key that the id names.
    pub(super) fn open(&self, sealer: &Sealer) -> Result<Opened, SigningError> {
        let plain = self.plain(sealer)?;
        let opened = match self.place {
            Place::Store => {
                let key = LocalKey::parse(self.algorithm, &plain)?;
                Opened { public: key.public_key(), private: Private::Local(key) }
            }
            Place::Kms => {
                let version = Version::read(self.algorithm, &plain)?;
                Opened { public: version.public().clone(), private: Private::Kms(version) }
            }
        };
        if opened.public.thumbprint() == self.kid {
            Ok(opened)
        } else {
            Err(SigningError::KeyMismatch(self.kid.clone()))
        }
    }

    /// The same key, sealed by the key-encryption key of now.
    ///
    /// # Errors
    /// [`SigningError::Unseal`], [`SigningError::UnknownSeal`].
    pub fn resealed(&self, sealer: &Sealer) -> Result<Self, SigningError> {
        self.clone().seal(sealer, &self.plain(sealer)?)
    }

    /// The same key, which signs from `at` on.
    pub(super) fn activated(&self, sealer: &Sealer, at: Timestamp) -> Result<Self, SigningError> {
        let sooner = Self { activates_at: at, state: KeyState::Active, ..self.clone() };
        sooner.seal(sealer, &self.plain(sealer)?)
    }

    fn plain(&self, sealer: &Sealer) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        let context = if is_unnamed(&self.sealed) { self.former_context() } else { self.context() };
        Ok(Zeroizing::new(sealer.open(&context, &self.sealed)?))
    }

    /// What a sealed key is bound to: a row with another id, purpose, algorithm or place does not open it, nor one whose
    /// times were changed so that it signs earlier, or before or after another.
    fn context(&self) -> String {
        format!(
            "signing-key/2/{}/{}/{}/{}/{}/{}",
            self.place.as_str(),
            self.purpose.as_str(),
            self.algorithm.as_str(),
            self.created_at.as_millisecond(),
            self.activates_at.as_millisecond(),
            self.kid
        )
    }

    /// The context of values that name no key: without the times.
    fn former_context(&self) -> String {
        format!("signing-key/{}/{}/{}", self.purpose.as_str(), self.algorithm.as_str(), self.kid)
    }
}

impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRecord")
            .field("kid", &self.kid)
            .field("purpose", &self.purpose)
            .field("algorithm", &self.algorithm)
            .field("place", &self.place)
            .field("state", &self.state)
            .field("activates_at", &self.activates_at)
            .finish_non_exhaustive()
    }
}
