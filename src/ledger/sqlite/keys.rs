//! Signing keys, remembered issuer keys and checkpoints.

use rusqlite::{Row, params};

use super::Apply;
use super::batch::Batch;
use crate::ledger::event::{About, Line};
use crate::ledger::explained::time;
use crate::ledger::intent::{InsertKeys, KeepIssuerKeys, ResealIssuerKeys, StoreCheckpoint, StoreKeys};
use crate::ledger::key_text;
use crate::ledger::kind::{KeyChange, Kind};
use crate::secret::Fingerprint;
use crate::signing::{KeyRecord, KeyState, Place};

impl Apply for InsertKeys {
    type Output = bool;

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let some: bool =
            batch.sql("SELECT EXISTS (SELECT 1 FROM signing_keys)")?.query_row([], |row| row.get(0))?;
        if !some {
            self.keys.iter().try_for_each(|key| put(batch, key))?;
        }
        Ok(!some)
    }
}

impl Apply for StoreKeys {
    type Output = ();

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.keys.iter().try_for_each(|key| put(batch, key))
    }
}

fn put(batch: &mut Batch<'_>, key: &KeyRecord) -> rusqlite::Result<()> {
    StoredKey::of(key).write(batch)
}

/// The columns of `signing_keys` that [`StoredKey::read`] reads.
pub(in crate::ledger) const KEY_COLUMNS: &str =
    "kid, purpose, algorithm, state, created_at, activates_at, sealed, public_jwk, place";

/// A signing key as its row holds it.
pub(in crate::ledger) struct StoredKey {
    pub(in crate::ledger) kid: String,
    pub(in crate::ledger) purpose: String,
    pub(in crate::ledger) algorithm: String,
    pub(in crate::ledger) state: String,
    pub(in crate::ledger) created_at: i64,
    pub(in crate::ledger) activates_at: i64,
    pub(in crate::ledger) sealed: Vec<u8>,
    pub(in crate::ledger) public_jwk: String,
    pub(in crate::ledger) place: String,
}

impl StoredKey {
    pub(in crate::ledger) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            kid: row.get(0)?,
            purpose: row.get(1)?,
            algorithm: row.get(2)?,
            state: row.get(3)?,
            created_at: row.get(4)?,
            activates_at: row.get(5)?,
            sealed: row.get(6)?,
            public_jwk: row.get(7)?,
            place: row.get(8)?,
        })
    }

    fn of(key: &KeyRecord) -> Self {
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
    pub(in crate::ledger) fn into_record(self) -> Option<KeyRecord> {
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
    pub(in crate::ledger) fn change(&self) -> KeyChange {
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

    /// Writes the row and its record; a key that was revoked stays so, whatever somebody decided before he knew.
    fn write(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let rows = batch
            .sql(&format!(
                "INSERT INTO signing_keys ({KEY_COLUMNS}, tenant)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, '')
                 ON CONFLICT (kid) DO UPDATE SET purpose = ?2, algorithm = ?3, state = ?4, created_at = ?5,
                    activates_at = ?6, sealed = ?7, public_jwk = ?8, place = ?9
                 WHERE signing_keys.state <> ?10"
            ))?
            .execute(params![
                self.kid,
                self.purpose,
                self.algorithm,
                self.state,
                self.created_at,
                self.activates_at,
                self.sealed,
                self.public_jwk,
                self.place,
                KeyState::Revoked.as_str(),
            ])?;
        if rows == 0 {
            return Ok(());
        }
        batch.append_body(Kind::Key, "", self.kid.as_bytes(), &self.change(), |data| About::Server { data })
    }
}

impl Apply for ResealIssuerKeys {
    type Output = bool;

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let rows = batch
            .sql("UPDATE issuer_keys SET sealed = ?3 WHERE issuer = ?1 AND sealed = ?2")?
            .execute(params![self.issuer, self.former, self.sealed])?;
        Ok(rows == 1)
    }
}

impl Apply for KeepIssuerKeys {
    type Output = ();

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        batch
            .sql(
                "INSERT OR REPLACE INTO issuer_keys (issuer, tenant, sealed, fetched_at)
                 VALUES (?1, '', ?2, ?3)",
            )?
            .execute(params![self.issuer, self.sealed, self.fetched_at])?;
        Ok(())
    }
}

impl Apply for StoreCheckpoint {
    type Output = ();

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        batch
            .sql("INSERT INTO checkpoints (n, tenant, at, jws) VALUES (?1, '', ?2, ?3)")?
            .execute(params![self.n, self.at, self.jws])?;
        batch.push(Line::Checkpoint { kind: "checkpoint", at: time(self.at), jws: self.jws.clone() });
        Ok(())
    }
}
