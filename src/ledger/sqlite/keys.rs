//! Signing keys, remembered issuer keys and checkpoints.

use rusqlite::{Row, params};

use super::Apply;
use super::batch::Batch;
use crate::ledger::event::{About, Line};
use crate::ledger::explained::time;
use crate::ledger::intent::{InsertKeys, KeepIssuerKeys, ResealIssuerKeys, StoreCheckpoint, StoreKeys};
use crate::ledger::kind::Kind;
use crate::ledger::rows::StoredKey;
use crate::signing::{KeyRecord, KeyState};

impl Apply for InsertKeys {
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
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let rows = batch
            .sql("UPDATE issuer_keys SET sealed = ?3 WHERE issuer = ?1 AND sealed = ?2")?
            .execute(params![self.issuer, self.former, self.sealed])?;
        Ok(rows == 1)
    }
}

impl Apply for KeepIssuerKeys {
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
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        batch
            .sql("INSERT INTO checkpoints (n, tenant, at, jws) VALUES (?1, '', ?2, ?3)")?
            .execute(params![self.n, self.at, self.jws])?;
        batch.push(Line::Checkpoint { kind: "checkpoint", at: time(self.at), jws: self.jws.clone() });
        Ok(true)
    }
}
