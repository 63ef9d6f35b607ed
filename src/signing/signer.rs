//! What signs: a key in this process, or one that a KMS holds.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use secrecy::zeroize::Zeroizing;

use super::public::PublicKey;
use super::transit::{KmsError, Transit, Version};
use super::{SigningAlgorithm, SigningError};

/// Signs with one private key. Where that key is, only this type knows.
pub struct Signer(Backend);

/// Where the private key is.
enum Backend {
    Local(LocalKey),
    Transit { client: Arc<Transit>, version: Version },
}

/// A private key in this process, parsed once: parsing at every signature would cost more than half of an ES256 one.
pub(super) enum LocalKey {
    Es256(EcdsaKeyPair),
    Rs256(RsaKeyPair),
}

impl Signer {
    /// A signer in this process.
    pub(super) const fn local(key: LocalKey) -> Self {
        Self(Backend::Local(key))
    }

    /// A signer in OpenBao or Vault.
    pub(super) const fn transit(client: Arc<Transit>, version: Version) -> Self {
        Self(Backend::Transit { client, version })
    }

    /// The signature of `message`, in the form that JWS wants (RFC 7518, sections 3.3 and 3.4).
    ///
    /// What a KMS answers is verified before it is used: a token that nobody can verify must not be recorded as issued.
    ///
    /// # Errors
    /// [`SigningError::Crypto`], [`SigningError::Kms`].
    pub async fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        match &self.0 {
            Backend::Local(key) => key.sign(message),
            Backend::Transit { client, version } => {
                let signature = client.sign(version, message).await?;
                if version.public().verifies(message, &signature) {
                    Ok(signature)
                } else {
                    Err(KmsError::Signature.into())
                }
            }
        }
    }
}

impl LocalKey {
    /// A fresh private key, PKCS#8. RSA takes some hundred milliseconds of CPU.
    pub(super) fn generate(algorithm: SigningAlgorithm) -> Result<Zeroizing<Vec<u8>>, SigningError> {
        let failed = |_| SigningError::Crypto("the key could not be generated");
        let pkcs8 = match algorithm {
            SigningAlgorithm::Es256 => {
                let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
                key.to_pkcs8v1().map_err(failed)?.as_ref().to_vec()
            }
            SigningAlgorithm::Rs256 => {
                let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                key.as_der().map_err(failed)?.as_ref().to_vec()
            }
        };
        Ok(Zeroizing::new(pkcs8))
    }

    /// Reads what [`Self::generate`] gave.
    pub(super) fn parse(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Result<Self, SigningError> {
        let failed = |_| SigningError::Crypto("the private key could not be parsed");
        Ok(match algorithm {
            SigningAlgorithm::Es256 => Self::Es256(
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).map_err(failed)?,
            ),
            SigningAlgorithm::Rs256 => Self::Rs256(RsaKeyPair::from_pkcs8(pkcs8).map_err(failed)?),
        })
    }

    pub(super) fn public_key(&self) -> PublicKey {
        match self {
            Self::Es256(key) => PublicKey::p256(key.public_key().as_ref()),
            Self::Rs256(key) => {
                let key = key.public_key();
                PublicKey::rsa(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                )
            }
        }
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningError> {
        let failed = |_| SigningError::Crypto("signing failed");
        let random = SystemRandom::new();
        match self {
            Self::Es256(key) => Ok(key.sign(&random, message).map_err(failed)?.as_ref().to_vec()),
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Backend::Local(LocalKey::Es256(_)) => f.write_str("Signer(local ES256)"),
            Backend::Local(LocalKey::Rs256(_)) => f.write_str("Signer(local RS256)"),
            Backend::Transit { version, .. } => {
                write!(f, "Signer(transit {} version {})", version.algorithm().as_str(), version.number())
            }
        }
    }
}
