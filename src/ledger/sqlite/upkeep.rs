//! Forgets what is no longer needed, a little at a time, and closes authorisations that are dead by themselves.

use rusqlite::{OptionalExtension, params};

use super::Apply;
use super::batch::Batch;
use super::endings::forget_lapsed;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::event::About;
use crate::ledger::intent::Upkeep;
use crate::ledger::kind::{Closed, Kind};

/// Authorisations between two sweeps.
const EVERY: i64 = 256;

/// Rows looked at per table and sweep: four times what can have been added since, so that the tables stay within
/// 4/3 of what is alive without an index on the time of expiry.
const ROWS: i64 = 4 * EVERY;

/// Authorisations closed per call.
const EXPIRED_PER_CALL: i64 = 256;

/// A walk around the replay and idempotency tables that deletes what has expired.
#[derive(Default)]
pub(super) struct Sweep {
    owed: i64,
    replay: Vec<u8>,
    idempotency: Vec<u8>,
}

impl Sweep {
    /// Adds the authorisations of a committed batch.
    pub(super) const fn owe(&mut self, authorised: i64) {
        self.owed += authorised;
    }

    /// Walks on if enough was added since the last time.
    pub(super) fn run(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        if self.owed >= EVERY {
            self.owed = 0;
            self.replay = walk(batch, "replay", &self.replay)?;
            self.idempotency = walk(batch, "idempotency", &self.idempotency)?;
        }
        Ok(())
    }
}

/// Deletes the expired among the rows after `from`; returns where to go on, empty to start over.
fn walk(batch: &Batch<'_>, table: &str, from: &[u8]) -> rusqlite::Result<Vec<u8>> {
    let last: Option<Vec<u8>> = batch
        .sql(&format!("SELECT key FROM {table} WHERE key > ?1 ORDER BY key LIMIT 1 OFFSET ?2"))?
        .query_row(params![from, ROWS], |row| row.get(0))
        .optional()?;
    match &last {
        Some(last) => batch
            .sql(&format!("DELETE FROM {table} WHERE key > ?1 AND key <= ?2 AND expires <= ?3"))?
            .execute(params![from, last, batch.now()])?,
        None => batch
            .sql(&format!("DELETE FROM {table} WHERE key > ?1 AND expires <= ?2"))?
            .execute(params![from, batch.now()])?,
    };
    Ok(last.unwrap_or_default())
}

impl Apply for Upkeep {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Vec<LeaseId>> {
        let expired: Vec<([u8; 16], String)> = batch
            .sql("SELECT decision, tenant FROM authorisations WHERE dies_by <= ?1 LIMIT ?2")?
            .query_map(params![batch.now(), EXPIRED_PER_CALL], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<Result<_, _>>()?;
        for (decision, tenant) in expired {
            batch.sql("DELETE FROM authorisations WHERE decision = ?1")?.execute([decision])?;
            let closed = Closed { code: None, dead: true };
            batch.append_body(Kind::Expired, &tenant, &decision, &closed, |data| About::Authorisation {
                decision: DecisionId::from_bytes(decision),
                data,
            })?;
        }
        forget_lapsed(batch)
    }
}
