//! Rows as both stores give them.

use std::collections::HashMap;

use super::chain::Canon;
use super::error::LedgerError;
use super::explained::time;
use super::key_text;
use super::kind::KeyChange;
use crate::domain::Thumbprint;
use crate::secret::Fingerprint;
use crate::signing::{KeyRecord, Place};

/// Most authorisations or leases of one target that one look returns; the next look finds the rest. Per target, so that
/// one that does not answer never hides what has to be ended at the others.
pub(super) const LOOK: i64 = 500;

/// A lease with what of its decision ending it needs.
#[derive(Debug)]
pub(super) struct LeaseRow {
    pub(super) id: [u8; 16],
    pub(super) decision: [u8; 16],
    pub(super) secret: [u8; 32],
    pub(super) issued_at: i64,
    pub(super) dies_at: i64,
    pub(super) revocable: bool,
    pub(super) bound_to: Option<[u8; 32]>,
    pub(super) ended_at: Option<i64>,
    pub(super) end_how: Option<String>,
    pub(super) role: String,
    pub(super) target: String,
    pub(super) handle: Vec<u8>,
    pub(super) end_asked_at: Option<i64>,
    /// The longest silence, milliseconds, and when it was heard of last.
    pub(super) heartbeat: Option<(i64, i64)>,
    pub(super) due: bool,
}

impl LeaseRow {
    /// The key, or the SPIFFE ID, that its secret is of no use without.
    pub(super) fn bound_to(&self) -> Option<Thumbprint> {
        self.bound_to.map(Thumbprint::from_bytes)
    }

    /// True if nobody may go on with it: somebody wants it ended, or its time is over.
    pub(super) fn is_over(&self, now: i64) -> bool {
        self.end_asked_at.is_some() || self.end_how.is_some() || self.dies_at <= now
    }
}

/// An authorisation that is not known to be leased or dead.
#[derive(Debug)]
pub(super) struct UnleasedRow {
    pub(super) decision: [u8; 16],
    pub(super) role: String,
    pub(super) target: String,
    pub(super) handle: Vec<u8>,
    pub(super) authorised_at: i64,
    pub(super) dies_by: i64,
    pub(super) left_behind: bool,
    pub(super) due: bool,
    pub(super) body: String,
    pub(super) blocked: bool,
}

/// The keys, each as the chains recorded it last; `recorded` holds the last record of every writer that changed a key.
/// Which of several writers came last is told by the state, which never goes back.
pub(super) fn as_recorded(
    keys: Vec<StoredKey>,
    mut recorded: HashMap<Vec<u8>, HashMap<i64, String>>,
) -> Result<Vec<KeyRecord>, LedgerError> {
    let checked = keys.into_iter().map(|key| {
        let said = recorded.remove(key.kid.as_bytes()).unwrap_or_default();
        let stored = serde_json::to_string(&key.change()).unwrap_or_default();
        let newest = said.values().filter_map(|body| key_text::age_in(body)).max();
        let is_newest = key_text::state(&key.state).map(key_text::age) == newest;
        if !is_newest || !said.values().any(|body| *body == stored) {
            return Err(LedgerError::KeyChanged(key.kid));
        }
        key.into_record().ok_or(LedgerError::Damaged { what: "signing key" })
    });
    let checked = checked.collect::<Result<_, _>>()?;
    match recorded.into_keys().next() {
        // A deleted row gives its predecessor back the right to sign.
        Some(kid) => Err(LedgerError::KeyChanged(String::from_utf8_lossy(&kid).into_owned())),
        None => Ok(checked),
    }
}

/// The columns of a lease as the chain vouches for them; its end has records of its own.
pub(super) struct LeaseColumns<'a> {
    pub(super) id: &'a [u8],
    pub(super) tenant: &'a str,
    pub(super) decision: &'a [u8],
    pub(super) secret: &'a [u8],
    pub(super) issued_at: i64,
    pub(super) dies_at: i64,
    pub(super) revocable: i64,
    pub(super) bound_to: Option<&'a [u8]>,
}

impl LeaseColumns<'_> {
    /// The payload of the lease's audit record.
    pub(super) fn payload(&self) -> Fingerprint {
        let kind = if self.bound_to.is_some() { "tollgate/lease/2" } else { "tollgate/lease/1" };
        let columns = Canon::new(kind)
            .bytes(self.id)
            .text(self.tenant)
            .bytes(self.decision)
            .bytes(self.secret)
            .int(self.issued_at)
            .int(self.dies_at)
            .int(self.revocable);
        // A lease that is bound to no key has the payload that it always had.
        match self.bound_to {
            Some(key) => columns.bytes(key).finish(),
            None => columns.finish(),
        }
    }
}

/// A signing key as its row holds it.
#[derive(Clone)]
pub(super) struct StoredKey {
    pub(super) kid: String,
    pub(super) purpose: String,
    pub(super) algorithm: String,
    pub(super) state: String,
    pub(super) created_at: i64,
    pub(super) activates_at: i64,
    pub(super) sealed: Vec<u8>,
    pub(super) public_jwk: String,
    pub(super) place: String,
}

impl StoredKey {
    /// The row of a key.
    pub(super) fn of(key: &KeyRecord) -> Self {
        Self {
            kid: key.kid.clone(),
            purpose: key.purpose.as_str().to_owned(),
            algorithm: key.algorithm.as_str().to_owned(),
            state: key.state.as_str().to_owned(),
            created_at: key.created_at.as_millisecond(),
            activates_at: key.activates_at.as_millisecond(),
            sealed: key.sealed.clone(),
            public_jwk: key.public_jwk.clone(),
            place: key.place.as_str().to_owned(),
        }
    }

    /// The key as signing takes it; `None` if a column holds a word that this version does not know.
    pub(super) fn into_record(self) -> Option<KeyRecord> {
        Some(KeyRecord {
            purpose: key_text::purpose(&self.purpose)?,
            algorithm: key_text::algorithm(&self.algorithm)?,
            place: key_text::place(&self.place)?,
            state: key_text::state(&self.state)?,
            created_at: time(self.created_at),
            activates_at: time(self.activates_at),
            kid: self.kid,
            sealed: self.sealed,
            public_jwk: self.public_jwk,
        })
    }

    /// What the chain holds of it.
    pub(super) fn change(&self) -> KeyChange {
        KeyChange {
            kid: self.kid.clone(),
            purpose: self.purpose.clone(),
            algorithm: self.algorithm.clone(),
            state: self.state.clone(),
            created_at: self.created_at,
            activates_at: self.activates_at,
            sealed: Fingerprint::of(&self.sealed).to_string(),
            public_jwk: Fingerprint::of(self.public_jwk.as_bytes()).to_string(),
            place: (self.place != Place::Store.as_str()).then(|| self.place.clone()),
        }
    }
}
