//! Forgets what is no longer needed, a little at a time, and closes authorisations that are dead by themselves.

use sqlx::PgConnection;

use super::Apply;
use super::batch::Batch;
use super::endings::forget_lapsed;
use super::needs::{Also, Needs};
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::event::About;
use crate::ledger::intent::Upkeep;
use crate::ledger::kind::{Closed, Kind};

/// Authorisations between two sweeps. Each adds one row to each table at most, and a sweep takes twice as many, so that
/// what has expired never piles up.
const EVERY: i64 = 256;

/// Deletes expired rows if `owed` authorisations call for it; returns what is still owed. Rows that another server sweeps
/// just now are left to it.
pub(super) async fn sweep(connection: &mut PgConnection, owed: i64, now: i64) -> sqlx::Result<i64> {
    if owed < EVERY {
        return Ok(owed);
    }
    for statement in [
        "DELETE FROM replay WHERE key IN (
             SELECT key FROM replay WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED)",
        "DELETE FROM idempotency WHERE key IN (
             SELECT key FROM idempotency WHERE expires <= $1 ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED)",
    ] {
        sqlx::query(statement).bind(now).bind(2 * owed).execute(&mut *connection).await?;
    }
    Ok(0)
}

impl Apply for Upkeep {
    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::Expired);
        needs.also(Also::Lapsed);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Vec<LeaseId>> {
        for decision in std::mem::take(&mut batch.held.expired) {
            let Some(expired) = batch.held.authorisations.remove(&decision) else { continue };
            let closed = Closed { code: None, dead: true };
            batch.append_body(Kind::Expired, &expired.tenant, &decision, &closed, |data| {
                About::Authorisation { decision: DecisionId::from_bytes(decision), data }
            })?;
        }
        forget_lapsed(batch)
    }
}
