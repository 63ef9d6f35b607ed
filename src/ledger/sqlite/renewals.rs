//! Renewals: recorded, or settled by what they allowed at most.

use rusqlite::{OptionalExtension, params};

use super::batch::Batch;
use super::endings::{forget, holds};
use super::{Apply, blocks};
use crate::domain::LeaseId;
use crate::ledger::Record;
use crate::ledger::event::About;
use crate::ledger::intent::{Adopt, Close, Closing, Renew, Renewing, Settled};
use crate::ledger::kind::{Kind, RenewedBody};

/// True if nobody wants `lease` ended and its time is not over.
pub(super) fn goes_on(batch: &Batch<'_>, lease: LeaseId) -> rusqlite::Result<bool> {
    batch
        .sql("SELECT 1 FROM leases WHERE id = ?1 AND end_asked_at IS NULL AND end_how IS NULL AND dies_at > ?2")?
        .exists(params![lease.as_bytes(), batch.now()])
}

impl Apply for Renew {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Renewing> {
        let authorisation: Option<(String, bool)> = batch
            .sql("SELECT a.state, a.epoch = s.epoch FROM authorisations a, store s WHERE a.decision = ?1")?
            .query_row([self.decision.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        match authorisation {
            Some((state, true)) if state == "open" => {}
            // A block was set or lifted since: was it about this one?
            Some((state, false)) if state == "open" => {
                if blocks::stops_decision(batch, self.decision)? {
                    return Ok(Renewing::Blocked);
                }
            }
            // The sweep may have settled what a block marked.
            Some(_) | None if blocks::is_marked(batch, self.decision)? => return Ok(Renewing::Blocked),
            Some(_) | None => return Ok(Renewing::NotOpen),
        }
        let wanted = batch
            .sql("SELECT 1 FROM leases WHERE id = ?1 AND end_asked_at IS NULL AND end_how IS NULL")?
            .exists([self.lease.as_bytes()])?;
        if !wanted {
            return Ok(Renewing::LeaseOver);
        }
        batch.sql("DELETE FROM authorisations WHERE decision = ?1")?.execute([self.decision.as_bytes()])?;
        let body =
            RenewedBody { decision: self.decision.to_string(), dies_at: self.dies_at, confirmed: true };
        Ok(Renewing::Recorded(prolong(batch, self.lease, body)?))
    }
}

impl Apply for Adopt {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Settled> {
        let record = Record::Authorisation(self.decision);
        if let Some(fence) = self.fence
            && !holds(batch, record, fence)?
        {
            return Ok(Settled::Stale);
        }
        let dies_by: Option<i64> = batch
            .sql("SELECT dies_by FROM authorisations WHERE decision = ?1")?
            .query_row([self.decision.as_bytes()], |row| row.get(0))
            .optional()?;
        let Some(dies_by) = dies_by else { return Ok(Settled::Before) };
        let end_how: Option<String> = batch
            .sql("SELECT end_how FROM leases WHERE id = ?1")?
            .query_row([self.lease.as_bytes()], |row| row.get(0))?;
        if let Some(how) = end_how {
            // What its target ended is dead, however long it was allowed to live; what nothing can end may live.
            let dead = how == crate::ledger::EndHow::AtTarget.as_str();
            let (decision, fence) = (self.decision, self.fence);
            return Close { decision, why: Closing::Resolved, dead, fence }.apply(batch);
        }
        forget(batch, record)?;
        batch.sql("DELETE FROM authorisations WHERE decision = ?1")?.execute([self.decision.as_bytes()])?;
        let body = RenewedBody { decision: self.decision.to_string(), dies_at: dies_by, confirmed: false };
        prolong(batch, self.lease, body)?;
        Ok(Settled::Recorded)
    }
}

/// Lets `lease` die when `body` says, if that is later than it did; returns when it dies now.
fn prolong(batch: &mut Batch<'_>, lease: LeaseId, body: RenewedBody) -> rusqlite::Result<i64> {
    let (tenant, dies_at): (String, i64) = batch
        .sql(
            "UPDATE leases SET first_dies_at = coalesce(first_dies_at, dies_at), dies_at = max(dies_at, ?2)
             WHERE id = ?1 RETURNING tenant, dies_at",
        )?
        .query_row(params![lease.as_bytes(), body.dies_at], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let body = RenewedBody { dies_at, ..body };
    batch
        .append_body(Kind::Renewed, &tenant, lease.as_bytes(), &body, |data| About::Change { lease, data })?;
    Ok(dies_at)
}
