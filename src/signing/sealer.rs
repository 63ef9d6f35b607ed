//! Sealing: what the store keeps is useless without the key-encryption key, and useless in another row.
//!
//! A sealed value is one version byte, the id of the key that sealed it, a 96-bit random nonce, and AES-256-GCM's
//! ciphertext with its tag. Version, id and context are authenticated, so that a value moved to another row, purpose or
//! handle does not open. The id is what makes a change of the key-encryption key restartable: every value says whether
//! it is done.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use super::SigningError;

/// Version 1 named no key; every configured one is tried.
const UNNAMED: u8 = 1;
/// Version 2: AES-256-GCM under the key-encryption key whose id follows.
const NAMED: u8 = 2;

/// `openssl rand -base64 32` pads; other tools do not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Names a key-encryption key: the first 8 bytes of SHA-256 over a domain and the key, which has 256 bits to hide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealId([u8; 8]);

impl SealId {
    fn of(key: &[u8]) -> Self {
        let mut hash = Context::new(&SHA256);
        hash.update(b"tollgate/key-encryption-key/1");
        hash.update(key);
        Self(hash.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

impl fmt::Display for SealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// One key-encryption key.
struct Kek {
    id: SealId,
    key: RandomizedNonceKey,
}

/// Seals what the store keeps with AES-256-GCM under the key-encryption key, and opens what former ones sealed.
pub struct Sealer {
    current: Kek,
    former: Vec<Kek>,
}

impl Sealer {
    /// Reads the key-encryption key: 32 bytes in base64; white space around them is ignored.
    ///
    /// # Errors
    /// [`SigningError::KeyEncryptionKey`].
    pub fn new(key_encryption_key: &SecretString) -> Result<Self, SigningError> {
        Self::with_former(key_encryption_key, &[])
    }

    /// The same, which also opens what was sealed by `former` keys.
    ///
    /// # Errors
    /// [`SigningError::KeyEncryptionKey`].
    pub fn with_former(
        key_encryption_key: &SecretString,
        former: &[SecretString],
    ) -> Result<Self, SigningError> {
        let former = former.iter().map(Kek::read).collect::<Result<_, _>>()?;
        Ok(Self { current: Kek::read(key_encryption_key)?, former })
    }

    /// The id of the key that seals from now on.
    pub const fn id(&self) -> SealId {
        self.current.id
    }

    /// The first bytes of everything that the current key has sealed.
    pub fn prefix(&self) -> Vec<u8> {
        [&[NAMED], self.current.id.0.as_slice()].concat()
    }

    /// True if the current key sealed this.
    pub fn is_current(&self, sealed: &[u8]) -> bool {
        sealed.starts_with(&self.prefix())
    }

    /// False if what begins with `prefix` names a key that is not configured. Version 1 named none: it may open.
    pub fn knows(&self, prefix: &[u8]) -> bool {
        match prefix.split_first() {
            Some((&UNNAMED, _)) => true,
            Some((&NAMED, id)) => self.all().any(|kek| kek.id.0.as_slice() == id),
            Some(_) | None => false,
        }
    }

    /// Seals `plain`, bound to `context` (what it is and whose).
    ///
    /// # Errors
    /// [`SigningError::Crypto`].
    pub fn seal(&self, context: &str, plain: &[u8]) -> Result<Vec<u8>, SigningError> {
        let prefix = self.prefix();
        let mut body = plain.to_vec();
        let nonce = self
            .current
            .key
            .seal_in_place_append_tag(bound_to(&prefix, context), &mut body)
            .map_err(|_| SigningError::Crypto("sealing failed"))?;
        Ok([prefix.as_slice(), nonce.as_ref().as_slice(), &body].concat())
    }

    /// Opens what [`Self::seal`] gave for the same `context`. Wipe what comes out if it is a key.
    ///
    /// # Errors
    /// [`SigningError::Unseal`]; [`SigningError::UnknownSeal`] if a key sealed it that is not configured.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Vec<u8>, SigningError> {
        match sealed.split_first().ok_or(SigningError::Unseal)? {
            (&UNNAMED, rest) => {
                let opened = self.all().find_map(|kek| kek.open(&[UNNAMED], context, rest));
                opened.ok_or(SigningError::Unseal)
            }
            (&NAMED, rest) => {
                let (id, rest) = rest.split_first_chunk().ok_or(SigningError::Unseal)?;
                let id = SealId(*id);
                let kek = self.all().find(|kek| kek.id == id).ok_or(SigningError::UnknownSeal(id))?;
                kek.open(&[&[NAMED], id.0.as_slice()].concat(), context, rest).ok_or(SigningError::Unseal)
            }
            _ => Err(SigningError::Unseal),
        }
    }

    fn all(&self) -> impl Iterator<Item = &Kek> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

#[cfg(test)]
impl Sealer {
    /// As version 1 sealed.
    pub(super) fn seal_unnamed(&self, context: &str, plain: &[u8]) -> Vec<u8> {
        let mut body = plain.to_vec();
        let bound = bound_to(&[UNNAMED], context);
        let nonce = self.current.key.seal_in_place_append_tag(bound, &mut body).unwrap();
        [&[UNNAMED], nonce.as_ref().as_slice(), &body].concat()
    }
}

/// True for a value of version 1, whose context may be an older one too.
pub(super) fn is_unnamed(sealed: &[u8]) -> bool {
    sealed.first() == Some(&UNNAMED)
}

impl Kek {
    fn read(key: &SecretString) -> Result<Self, SigningError> {
        let text = key.expose_secret().trim();
        let bytes = Zeroizing::new(BASE64.decode(text).map_err(|_| SigningError::KeyEncryptionKey)?);
        if bytes.len() != AES_256_GCM.key_len() {
            return Err(SigningError::KeyEncryptionKey);
        }
        let key = RandomizedNonceKey::new(&AES_256_GCM, &bytes);
        Ok(Self { id: SealId::of(&bytes), key: key.map_err(|_| SigningError::KeyEncryptionKey)? })
    }

    /// Opens what follows `prefix`: nonce, ciphertext, tag.
    fn open(&self, prefix: &[u8], context: &str, rest: &[u8]) -> Option<Vec<u8>> {
        let (nonce, body) = rest.split_first_chunk::<NONCE_LEN>()?;
        let mut body = body.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, bound_to(prefix, context), &mut body).ok()?;
        let length = plain.len();
        body.truncate(length);
        Some(body)
    }
}

fn bound_to(prefix: &[u8], context: &str) -> Aad<Vec<u8>> {
    Aad::from([prefix, context.as_bytes()].concat())
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
        let other = sealer(2).open("handle/a", &sealed);
        assert!(matches!(other, Err(SigningError::UnknownSeal(id)) if id == sealer(1).id()), "another key");
        assert!(matches!(sealer(1).open("handle/b", &sealed), Err(SigningError::Unseal)), "another context");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(sealer(1).open("handle/a", &changed).is_err(), "byte {at}");
            assert!(sealer(1).open("handle/a", &sealed[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn c_11_former_keys_open_and_never_seal() {
        let secret = |byte| PADDED.encode([byte; 32]).into();
        let changed = Sealer::with_former(&secret(2), &[secret(1)]).unwrap();
        for old in [sealer(1).seal("c", b"x").unwrap(), sealer(1).seal_unnamed("c", b"x")] {
            assert_eq!(changed.open("c", &old).unwrap(), b"x");
            assert!(!changed.is_current(&old));
            assert!(changed.open("d", &old).is_err(), "another context");
        }
        let new = changed.seal("c", b"x").unwrap();
        assert!(changed.is_current(&new) && sealer(2).open("c", &new).is_ok());
        assert!(sealer(1).open("c", &new).is_err());
    }

    #[test]
    fn the_id_tells_keys_apart_and_nothing_of_them() {
        assert_ne!(sealer(1).id(), sealer(2).id());
        assert_eq!(sealer(1).id().to_string().len(), 16);
        assert!(!sealer(1).id().to_string().contains("0101"));
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
