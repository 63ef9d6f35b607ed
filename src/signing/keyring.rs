//! The keys in use: an immutable snapshot of the store at one moment.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Serialize;

use super::key::Private;
use super::rotation::state_at;
use super::{KeyRecord, KeyState, Kms, Place, Purpose, Sealer, Signer, SigningAlgorithm, SigningError};

/// Room for a token's header, usual claims and signature, so that building one allocates once.
const TOKEN_CAPACITY: usize = 1536;

/// The keys in use, by purpose. Clones are cheap and see the same keys; [`super::next_change`] says when to open anew.
#[derive(Debug, Clone)]
pub struct Keyring(Arc<Keys>);

#[derive(Debug)]
struct Keys {
    federation: PurposeKeys,
    credentials: PurposeKeys,
    checkpoints: PurposeKeys,
}

/// One purpose's keys.
struct PurposeKeys {
    purpose: Purpose,
    /// At most one per algorithm, the purpose's default first.
    active: Vec<ActiveKey>,
    /// All but the revoked ones.
    jwks: Arc<str>,
}

struct ActiveKey {
    kid: String,
    algorithm: SigningAlgorithm,
    place: Place,
    signer: Signer,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: SigningAlgorithm,
    kid: &'a str,
    typ: &'a str,
}

impl Keyring {
    /// Makes a fresh key record. RSA takes some hundred milliseconds of CPU: not on the path of a request.
    ///
    /// # Errors
    /// [`SigningError::Crypto`].
    pub fn generate(
        purpose: Purpose,
        algorithm: SigningAlgorithm,
        sealer: &Sealer,
        now: Timestamp,
        activates_at: Timestamp,
    ) -> Result<KeyRecord, SigningError> {
        KeyRecord::generate(purpose, algorithm, sealer, now, activates_at)
    }

    /// Opens the stored keys as they are at `now`, without a KMS.
    ///
    /// # Errors
    /// As [`Self::open_with`].
    pub fn open(records: &[KeyRecord], sealer: &Sealer, now: Timestamp) -> Result<Self, SigningError> {
        Self::open_with(records, sealer, &Kms::default(), now)
    }

    /// Opens the stored keys as they are at `now`; contacts nobody.
    ///
    /// # Errors
    /// [`SigningError::Unseal`] or [`SigningError::KeyMismatch`] if any key that would be published is not what its record
    /// says, or [`SigningError::NoActiveKey`] if a purpose cannot sign with its own algorithm or by its KMS.
    pub fn open_with(
        records: &[KeyRecord],
        sealer: &Sealer,
        kms: &Kms,
        now: Timestamp,
    ) -> Result<Self, SigningError> {
        let open = |purpose| PurposeKeys::open(purpose, records, sealer, kms, now);
        Ok(Self(Arc::new(Keys {
            federation: open(Purpose::Federation)?,
            credentials: open(Purpose::Credentials)?,
            checkpoints: open(Purpose::Checkpoints)?,
        })))
    }

    /// Whether `purpose` could sign with these keys at `now`, whatever the others can.
    pub fn can_sign(
        purpose: Purpose,
        records: &[KeyRecord],
        sealer: &Sealer,
        kms: &Kms,
        now: Timestamp,
    ) -> bool {
        PurposeKeys::open(purpose, records, sealer, kms, now).is_ok()
    }

    /// Signs `claims` as a compact JWT (RFC 7515) with the purpose's active key of its own algorithm, `typ` in its header.
    ///
    /// # Errors
    /// [`SigningError`].
    pub async fn sign_jwt(
        &self,
        purpose: Purpose,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<SecretString, SigningError> {
        let key = self.keys(purpose).active.first().ok_or(SigningError::NoActiveKey(purpose))?;
        key.sign_jwt(typ, claims).await
    }

    /// As [`Self::sign_jwt`], with the purpose's active key of `algorithm`: for targets that verify no other.
    ///
    /// # Errors
    /// [`SigningError`].
    pub async fn sign_jwt_with(
        &self,
        purpose: Purpose,
        algorithm: SigningAlgorithm,
        typ: &str,
        claims: &impl Serialize,
    ) -> Result<SecretString, SigningError> {
        let key = self.keys(purpose).active.iter().find(|key| key.algorithm == algorithm);
        key.ok_or(SigningError::NoSuchAlgorithm(purpose, algorithm))?.sign_jwt(typ, claims).await
    }

    /// The algorithms that the purpose can sign with now, its own first.
    pub fn algorithms(&self, purpose: Purpose) -> impl Iterator<Item = SigningAlgorithm> {
        self.keys(purpose).active.iter().map(|key| key.algorithm)
    }

    /// The public keys of a purpose (RFC 7517), JSON text.
    pub fn jwks(&self, purpose: Purpose) -> Arc<str> {
        Arc::clone(&self.keys(purpose).jwks)
    }

    fn keys(&self, purpose: Purpose) -> &PurposeKeys {
        match purpose {
            Purpose::Federation => &self.0.federation,
            Purpose::Credentials => &self.0.credentials,
            Purpose::Checkpoints => &self.0.checkpoints,
        }
    }
}

impl PurposeKeys {
    fn open(
        purpose: Purpose,
        records: &[KeyRecord],
        sealer: &Sealer,
        kms: &Kms,
        now: Timestamp,
    ) -> Result<Self, SigningError> {
        let mut active = Vec::new();
        let mut published = Vec::new();
        for record in records.iter().filter(|record| record.purpose == purpose) {
            let state = state_at(record, records, now);
            if state == KeyState::Revoked {
                continue;
            }
            let opened = record.open(sealer)?;
            published.push(opened.public.jwk(&record.kid, record.algorithm));
            if state == KeyState::Active
                && let Some(signer) = signer(opened.private, purpose, kms)
            {
                let (kid, algorithm, place) = (record.kid.clone(), record.algorithm, record.place);
                active.push(ActiveKey { kid, algorithm, place, signer });
            }
        }
        let preference = |key: &ActiveKey| purpose.algorithms().iter().position(|own| *own == key.algorithm);
        active.sort_by_key(preference);
        if !active.first().is_some_and(|key| serves(key, purpose)) {
            return Err(SigningError::NoActiveKey(purpose));
        }
        let jwks = serde_json::json!({ "keys": published }).to_string().into();
        Ok(Self { purpose, active, jwks })
    }
}

/// What signs with `private`; none if it lies in a KMS that is not configured any more.
fn signer(private: Private, purpose: Purpose, kms: &Kms) -> Option<Signer> {
    match private {
        Private::Local(key) => Some(Signer::local(key)),
        Private::Kms(version) => {
            let client = kms.of(purpose).filter(|client| client.holds(&version))?;
            Some(Signer::transit(Arc::clone(client), version))
        }
    }
}

/// Keys of the store must have the purpose's own algorithm. A KMS has one key: its algorithm was the operator's choice,
/// but for checkpoints, which are verified by one algorithm only.
fn serves(key: &ActiveKey, purpose: Purpose) -> bool {
    match key.place {
        Place::Store => purpose.algorithms().first() == Some(&key.algorithm),
        Place::Kms => purpose.algorithms().contains(&key.algorithm),
    }
}

impl ActiveKey {
    async fn sign_jwt(&self, typ: &str, claims: &impl Serialize) -> Result<SecretString, SigningError> {
        let mut token = String::with_capacity(TOKEN_CAPACITY);
        encode(&Header { alg: self.algorithm, kid: &self.kid, typ }, &mut token)?;
        token.push('.');
        encode(claims, &mut token)?;
        let signature = self.signer.sign(token.as_bytes()).await?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token.into())
    }
}

fn encode(part: &impl Serialize, token: &mut String) -> Result<(), SigningError> {
    let json = serde_json::to_vec(part).map_err(SigningError::Claims)?;
    URL_SAFE_NO_PAD.encode_string(json, token);
    Ok(())
}

impl fmt::Debug for PurposeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let active = self.active.iter().map(|key| (key.algorithm, &key.kid));
        f.debug_struct("PurposeKeys")
            .field("purpose", &self.purpose)
            .field("active", &active.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
