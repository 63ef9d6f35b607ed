//! Renewals: recorded, or settled by what they allowed at most.

use super::Apply;
use super::batch::Batch;
use super::endings::{forget, holds};
use super::needs::Needs;
use crate::domain::LeaseId;
use crate::ledger::event::About;
use crate::ledger::intent::{Adopt, Close, Closing, Renew, Renewing, Settled};
use crate::ledger::kind::{Kind, RenewedBody};
use crate::ledger::{EndHow, Record};

/// True if nobody wants `lease` ended and its time is not over.
pub(super) fn goes_on(batch: &Batch, lease: LeaseId) -> bool {
    let found = batch.held.leases.get(lease.as_bytes());
    found.is_some_and(|lease| lease.goes_on() && lease.dies_at > batch.now())
}

impl Apply for Renew {
    fn needs(&self, needs: &mut Needs) {
        needs.using(self.decision);
        needs.lease(self.lease);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Renewing> {
        let (id, now) = (self.decision.as_bytes(), batch.now());
        match batch.held.authorisations.get(id) {
            Some(found) if found.state == "open" && found.epoch == batch.held.epoch() => {}
            // A block was set or lifted since: was it about this one?
            Some(found) if found.state == "open" => {
                if batch.held.stops(id, now) {
                    return Ok(Renewing::Blocked);
                }
            }
            // The sweep may have settled what a block marked.
            Some(_) | None if batch.held.is_marked(id) => return Ok(Renewing::Blocked),
            Some(_) | None => return Ok(Renewing::NotOpen),
        }
        if batch.held.leases.get(self.lease.as_bytes()).is_none_or(|lease| !lease.goes_on()) {
            return Ok(Renewing::LeaseOver);
        }
        batch.held.authorisations.remove(id);
        let body =
            RenewedBody { decision: self.decision.to_string(), dies_at: self.dies_at, confirmed: true };
        Ok(Renewing::Recorded(prolong(batch, self.lease, body)?))
    }
}

impl Apply for Adopt {
    fn needs(&self, needs: &mut Needs) {
        needs.lease(self.lease);
        needs.ending(Record::Authorisation(self.decision));
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Settled> {
        let record = Record::Authorisation(self.decision);
        if let Some(fence) = self.fence
            && !holds(batch, record, fence)
        {
            return Ok(Settled::Stale);
        }
        let Some(found) = batch.held.authorisations.get(self.decision.as_bytes()) else {
            return Ok(Settled::Before);
        };
        let dies_by = found.dies_by;
        let lease = batch.held.leases.get(self.lease.as_bytes()).ok_or(sqlx::Error::RowNotFound)?;
        if let Some(how) = &lease.end_how {
            // What its target ended is dead, however long it was allowed to live; what nothing can end may live.
            let dead = how == EndHow::AtTarget.as_str();
            let (decision, fence) = (self.decision, self.fence);
            return Close { decision, why: Closing::Resolved, dead, fence }.apply(batch);
        }
        forget(batch, record);
        batch.held.authorisations.remove(self.decision.as_bytes());
        let body = RenewedBody { decision: self.decision.to_string(), dies_at: dies_by, confirmed: false };
        prolong(batch, self.lease, body)?;
        Ok(Settled::Recorded)
    }
}

/// Lets `lease` die when `body` says, if that is later than it did; returns when it dies now.
fn prolong(batch: &mut Batch, lease: LeaseId, body: RenewedBody) -> sqlx::Result<i64> {
    let row = batch.held.leases.change(lease.as_bytes()).ok_or(sqlx::Error::RowNotFound)?;
    row.first_dies_at = row.first_dies_at.or(Some(row.dies_at));
    row.dies_at = row.dies_at.max(body.dies_at);
    let (tenant, dies_at) = (row.tenant.clone(), row.dies_at);
    let body = RenewedBody { dies_at, ..body };
    batch
        .append_body(Kind::Renewed, &tenant, lease.as_bytes(), &body, |data| About::Change { lease, data })?;
    Ok(dies_at)
}
