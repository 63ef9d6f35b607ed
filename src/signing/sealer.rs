//! Sealing: what the store keeps is useless without the key-encryption key, and useless in another row.
//!
//! A sealed value is one version byte, a 96-bit random nonce, and AES-256-GCM's ciphertext with its tag. The version and
//! the context are authenticated, so that a value moved to another row, purpose or handle does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::SigningError;

/// Version 1: AES-256-GCM under the key-encryption key itself.
const VERSION: u8 = 1;

/// `openssl rand -base64 32` pads; other tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Seals what the store keeps with AES-256-GCM under the key-encryption key.
pub struct Sealer(RandomizedNonceKey);

impl Sealer {
    /// Reads the key-encryption key: 32 bytes in base64; white space around them is ignored.
    ///
    /// # Errors
    /// [`SigningError::KeyEncryptionKey`].
    pub fn new(key_encryption_key: &SecretString) -> Result<Self, SigningError> {
        let text = key_encryption_key.expose_secret().trim();
        let bytes = Zeroizing::new(BASE64.decode(text).map_err(|_| SigningError::KeyEncryptionKey)?);
        if bytes.len() != AES_256_GCM.key_len() {
            return Err(SigningError::KeyEncryptionKey);
        }
        RandomizedNonceKey::new(&AES_256_GCM, &bytes).map(Self).map_err(|_| SigningError::KeyEncryptionKey)
    }

    /// Seals `plain`, bound to `context` (what it is and whose).
    ///
    /// # Errors
    /// [`SigningError::Crypto`].
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SigningError> {
        let mut body = plain.to_vec();
        let nonce = self
            .0
            .seal_in_place_append_tag(bound_to(context), &mut body)
            .map_err(|_| SigningError::Crypto("sealing failed"))?;
        Ok([&[VERSION], nonce.as_ref().as_slice(), &body].concat())
    }

    /// Opens what [`Self::seal`] gave for the same `context`. Wipe what comes out if it is a key.
    ///
    /// # Errors
    /// [`SigningError::Unseal`].
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SigningError> {
        let rest = sealed.strip_prefix(&[VERSION]).ok_or(SigningError::Unseal)?;
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>().ok_or(SigningError::Unseal)?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain =
            self.0.open_in_place(nonce, bound_to(context), &mut body).map_err(|_| SigningError::Unseal)?;
        let length = plain.len();
        body.truncate(length);
        Ok(body)
    }
}

fn bound_to(context: &str) -> Aad<Vec<u8>> {
    Aad::from([&[VERSION], context.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::engine::general_purpose::{STANDARD as PADDED, STANDARD_NO_PAD};

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&PADDED.encode([byte; 32]).into()).unwrap()
    }

    #[test]
    fn c_11_a_sealed_value_opens_only_with_its_key_and_context_and_unchanged() {
        let sealed = sealer(1).seal("handle/a", b"accessor").unwrap();
        assert_eq!(sealer(1).open("handle/a", &sealed).unwrap(), b"accessor");
        assert!(!sealed.windows(8).any(|window| window == b"accessor"));
        assert!(matches!(sealer(2).open("handle/a", &sealed), Err(SigningError::Unseal)), "another key");
        assert!(matches!(sealer(1).open("handle/b", &sealed), Err(SigningError::Unseal)), "another context");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(matches!(sealer(1).open("handle/a", &changed), Err(SigningError::Unseal)), "byte {at}");
            assert!(sealer(1).open("handle/a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn sealing_twice_gives_different_bytes() {
        assert_ne!(sealer(1).seal("c", b"x").unwrap(), sealer(1).seal("c", b"x").unwrap());
    }

    #[test]
    fn the_key_encryption_key_is_32_bytes_of_base64_with_or_without_padding() {
        for text in [
            PADDED.encode([7; 32]),
            STANDARD_NO_PAD.encode([7; 32]),
            format!(" {}\n", PADDED.encode([7; 32])),
        ] {
            assert!(Sealer::new(&text.into()).is_ok());
        }
        for text in [String::new(), "not base64!".to_owned(), PADDED.encode([7; 31]), PADDED.encode([7; 33])]
        {
            assert!(matches!(Sealer::new(&text.into()), Err(SigningError::KeyEncryptionKey)));
        }
    }
}
