//! Rotation as pure functions over the stored records: what state a key is in, what changes next, what to write.
//!
//! A key's state follows from time: published until it activates (the first one at once), active until a newer key in
//! its place activates (of its purpose and algorithm; one in a KMS takes the place of all), retired while a token that it signed may live, then gone. Only revocation is an
//! act. So that no verifier meets a key it has not seen, a rotation publishes first and activates after the lag that
//! caches need.

use jiff::{SignedDuration, Timestamp};

use super::{KeyRecord, KeyState, Keyring, Place, Purpose, Sealer, SigningAlgorithm, SigningError};

/// How long replicas may sign with a key after another has retired it, and clocks may differ.
const MARGIN: SignedDuration = SignedDuration::from_hours(1);
/// Longest life of a federation token.
const FEDERATION_TOKEN: SignedDuration = SignedDuration::from_secs(120);
/// Longest life of a credential handed out.
const CREDENTIAL: SignedDuration = SignedDuration::from_hours(12);

/// How long a retired key of `purpose` stays in the JWKS; `None` is for ever.
fn kept_for(purpose: Purpose) -> Option<SignedDuration> {
    match purpose {
        Purpose::Federation => Some(FEDERATION_TOKEN.saturating_add(MARGIN)),
        Purpose::Credentials => Some(CREDENTIAL.saturating_add(MARGIN)),
        // A checkpoint is verified years later, against a copy kept elsewhere.
        Purpose::Checkpoints => None,
    }
}

/// What a rotation finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rotation {
    /// Publish a fresh key now, active from this moment on.
    Publish {
        /// Now on first start, now and the lag later.
        activates_at: Timestamp,
    },
    /// A rotation is under way already; another would only add keys.
    Pending {
        /// The key that is published.
        kid: String,
        /// When it becomes active.
        activates_at: Timestamp,
    },
}

/// The state of `record` at `now`, among all `records` of the store.
pub fn state_at(record: &KeyRecord, records: &[KeyRecord], now: Timestamp) -> KeyState {
    if record.state == KeyState::Revoked {
        return KeyState::Revoked;
    }
    if record.activates_at > now && !is_first(record, records) {
        return KeyState::Published;
    }
    match superseded_at(record, records).filter(|at| *at <= now) {
        None => KeyState::Active,
        Some(_) if gone_at(record, records).is_some_and(|gone| gone <= now) => KeyState::Revoked,
        Some(_) => KeyState::Retired,
    }
}

/// The order in which keys of one purpose and algorithm sign.
fn order(key: &KeyRecord) -> (Timestamp, Timestamp, &str) {
    (key.activates_at, key.created_at, &key.kid)
}

/// True if no older key could sign in its place: it waits for nobody, so that a clock that was set back to before it
/// was made does not leave its purpose without a key.
fn is_first(record: &KeyRecord, records: &[KeyRecord]) -> bool {
    rivals(record, records).all(|other| order(other) >= order(record))
}

/// When the first newer key that takes its place does so.
fn superseded_at(record: &KeyRecord, records: &[KeyRecord]) -> Option<Timestamp> {
    let newer = rivals(record, records).filter(|other| order(other) > order(record));
    newer.map(|other| other.activates_at).min()
}

/// The keys that can take the place of `record`, or whose place it can take; itself among them.
fn rivals<'a>(record: &'a KeyRecord, records: &'a [KeyRecord]) -> impl Iterator<Item = &'a KeyRecord> {
    records.iter().filter(|other| same_slot(other, record.purpose, record.algorithm, record.place))
}

/// When a superseded key leaves the JWKS.
fn gone_at(record: &KeyRecord, records: &[KeyRecord]) -> Option<Timestamp> {
    superseded_at(record, records)?.checked_add(kept_for(record.purpose)?).ok()
}

/// True for a key that nobody revoked and that competes with one of `purpose` and `algorithm` in `place`: a KMS has one key
/// for the whole purpose.
fn same_slot(record: &KeyRecord, purpose: Purpose, algorithm: SigningAlgorithm, place: Place) -> bool {
    let one_for_all = place == Place::Kms || record.place == Place::Kms;
    record.purpose == purpose
        && (record.algorithm == algorithm || one_for_all)
        && record.state != KeyState::Revoked
}

/// What rotating the key of `purpose` and `algorithm` in `place` means at `now`. `lag` is how long verifiers may cache a JWKS.
pub fn plan_rotation(
    records: &[KeyRecord],
    purpose: Purpose,
    algorithm: SigningAlgorithm,
    place: Place,
    now: Timestamp,
    lag: SignedDuration,
) -> Rotation {
    let slot = || records.iter().filter(|record| same_slot(record, purpose, algorithm, place));
    if let Some(pending) = slot().find(|record| record.activates_at > now) {
        return Rotation::Pending { kid: pending.kid.clone(), activates_at: pending.activates_at };
    }
    // With no key there is nothing that a cache could still hold: waiting would only refuse requests.
    let wait = if slot().next().is_some() { lag } else { SignedDuration::ZERO };
    Rotation::Publish { activates_at: now.saturating_add(wait).unwrap_or(Timestamp::MAX) }
}

/// The keys that a store lacks, each active at once: all of them on first start.
///
/// # Errors
/// [`SigningError::Crypto`].
pub fn first_keys(
    records: &[KeyRecord],
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Vec<KeyRecord>, SigningError> {
    first_keys_of(&Purpose::ALL, records, sealer, now)
}

/// The same of `purposes` only, which are those without a KMS; where one signed before, its keys are of no use any more.
///
/// # Errors
/// [`SigningError::Crypto`].
pub fn first_keys_of(
    purposes: &[Purpose],
    records: &[KeyRecord],
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Vec<KeyRecord>, SigningError> {
    let slots = purposes.iter().flat_map(|purpose| purpose.algorithms().iter().map(|own| (*purpose, *own)));
    slots
        .filter(|(purpose, own)| !records.iter().any(|record| signs_here(record, *purpose, *own, records)))
        .map(|(purpose, own)| Keyring::generate(purpose, own, sealer, now, now))
        .collect()
}

/// True for a key of the store that no newer one in a KMS has taken the place of.
fn signs_here(
    record: &KeyRecord,
    purpose: Purpose,
    algorithm: SigningAlgorithm,
    records: &[KeyRecord],
) -> bool {
    let moved =
        || rivals(record, records).any(|other| other.place == Place::Kms && order(other) > order(record));
    record.place == Place::Store && same_slot(record, purpose, algorithm, Place::Store) && !moved()
}

/// The keys in a KMS that would begin to sign for one of `purposes`, which have none any more, as they should be stored.
pub fn withdrawn(purposes: &[Purpose], records: &[KeyRecord], now: Timestamp) -> Vec<KeyRecord> {
    let waits = |record: &&KeyRecord| {
        record.place == Place::Kms
            && purposes.contains(&record.purpose)
            && record.state != KeyState::Revoked
            && record.activates_at > now
    };
    records.iter().filter(waits).map(as_revoked).collect()
}

/// What revoking a key takes.
#[derive(Debug)]
pub struct Revocation {
    /// The records to write, together.
    pub changed: Vec<KeyRecord>,
    /// The purpose that needs a fresh key, if it lost the one that signs and no other was published.
    pub lacks: Option<(Purpose, SigningAlgorithm)>,
}

/// What it takes that the key `kid` is gone. If it was signing, and `replace` allows it, the key that is published
/// already signs at once: verifiers that cache may know that one. Without any, a fresh one has to: verifiers that cache
/// meet a key they do not know, which is the lesser evil.
///
/// # Errors
/// [`SigningError::NoSuchKey`], [`SigningError::AlreadyRevoked`], [`SigningError::StillSigning`] without `replace`.
pub fn revoke(
    records: &[KeyRecord],
    kid: &str,
    replace: bool,
    sealer: &Sealer,
    now: Timestamp,
) -> Result<Revocation, SigningError> {
    let record = records.iter().find(|record| record.kid == kid);
    let record = record.ok_or_else(|| SigningError::NoSuchKey(kid.to_owned()))?;
    let gone = as_revoked(record);
    match state_at(record, records, now) {
        KeyState::Revoked => Err(SigningError::AlreadyRevoked(kid.to_owned())),
        KeyState::Published | KeyState::Retired => Ok(Revocation { changed: vec![gone], lacks: None }),
        KeyState::Active if !replace => Err(SigningError::StillSigning(kid.to_owned())),
        KeyState::Active => {
            let published = rivals(record, records)
                .filter(|other| other.kid != kid && state_at(other, records, now) == KeyState::Published)
                .min_by_key(|other| order(other));
            let next = published.map(|other| other.activated(sealer, now)).transpose()?;
            let lacks = next.is_none().then_some((record.purpose, record.algorithm));
            Ok(Revocation { changed: std::iter::once(gone).chain(next).collect(), lacks })
        }
    }
}

/// The records whose stored state time has overtaken, as they should be stored; a key that is gone loses its private half.
pub fn settle(records: &[KeyRecord], now: Timestamp) -> Vec<KeyRecord> {
    records
        .iter()
        .filter_map(|record| match state_at(record, records, now) {
            state if state == record.state => None,
            KeyState::Revoked => Some(as_revoked(record)),
            state @ (KeyState::Published | KeyState::Active | KeyState::Retired) => {
                Some(KeyRecord { state, ..record.clone() })
            }
        })
        .collect()
}

/// A thief of the store must not find a key that is of no more use; and a row set back to `active` must not sign again.
fn as_revoked(record: &KeyRecord) -> KeyRecord {
    KeyRecord { state: KeyState::Revoked, sealed: Vec::new(), ..record.clone() }
}

/// What becomes of `record` by time, and when; none if nothing does.
pub fn next_state(
    record: &KeyRecord,
    records: &[KeyRecord],
    now: Timestamp,
) -> Option<(Timestamp, KeyState)> {
    match state_at(record, records, now) {
        KeyState::Published => Some((record.activates_at, KeyState::Active)),
        KeyState::Active => Some((superseded_at(record, records)?, KeyState::Retired)),
        KeyState::Retired => Some((gone_at(record, records)?, KeyState::Revoked)),
        KeyState::Revoked => None,
    }
}

/// When the next key changes its state by time: a [`Keyring`] opened at `now` is right until then.
pub fn next_change(records: &[KeyRecord], now: Timestamp) -> Option<Timestamp> {
    records
        .iter()
        .filter(|record| record.state != KeyState::Revoked)
        .flat_map(|record| [Some(record.activates_at), gone_at(record, records)])
        .flatten()
        .filter(|at| *at > now)
        .min()
}
