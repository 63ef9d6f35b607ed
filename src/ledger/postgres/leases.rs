//! Leases: asked to end, and ended. Two steps, because ending at the target happens in between.

use super::Apply;
use super::batch::Batch;
use super::endings::{claim, forget, holds};
use super::needs::Needs;
use crate::domain::LeaseId;
use crate::ledger::event::About;
use crate::ledger::intent::{AskEnd, Asked, End, Settled};
use crate::ledger::kind::{EndAsked, EndedBody, Kind};
use crate::ledger::{EndHow, Record};

impl Apply for AskEnd {
    fn needs(&self, needs: &mut Needs) {
        needs.ending(Record::Lease(self.lease));
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Asked> {
        if !ask_end(batch, self.lease, None)? {
            return Ok(Asked::Settled);
        }
        Ok(claim(batch, Record::Lease(self.lease), true, self.ticket).map_or(Asked::Busy, Asked::Claimed))
    }
}

/// Marks a lease as to be ended, once; true if there is something left to end. `why` is said if nobody asked for it.
pub(super) fn ask_end(batch: &mut Batch, lease: LeaseId, why: Option<&'static str>) -> sqlx::Result<bool> {
    let (id, at) = (lease.as_bytes(), batch.now());
    let alive = batch.held.leases.get(id).filter(|row| row.end_how.is_none() && row.dies_at > at);
    let Some(alive) = alive else { return Ok(false) };
    if alive.end_asked_at.is_none() {
        let tenant = alive.tenant.clone();
        if let Some(row) = batch.held.leases.change(id) {
            row.end_asked_at = Some(at);
        }
        let body = EndAsked { at, why: why.map(str::to_owned) };
        batch.append_body(Kind::EndAsked, &tenant, id, &body, |data| About::Change { lease, data })?;
    }
    Ok(true)
}

impl Apply for End {
    fn needs(&self, needs: &mut Needs) {
        needs.ending(Record::Lease(self.lease));
        needs.heartbeat(self.lease);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Settled> {
        let (record, id, now) = (Record::Lease(self.lease), self.lease.as_bytes(), batch.now());
        if batch.held.leases.get(id).is_none_or(|row| row.end_how.is_some()) {
            return Ok(Settled::Before);
        }
        if !holds(batch, record, self.fence) {
            return Ok(Settled::Stale);
        }
        let Some(row) = batch.held.leases.change(id) else { return Ok(Settled::Before) };
        let at = match self.how {
            EndHow::AtTarget => Some(now),
            EndHow::DiesAtExpiry => None,
        };
        let how = self.how.as_str();
        (row.ended_at, row.end_how) = (at, Some(how.to_owned()));
        let (tenant, body) = (row.tenant.clone(), EndedBody { at, how: how.to_owned() });
        forget(batch, record);
        batch.held.heartbeats.remove(id);
        batch
            .append_body(Kind::Ended, &tenant, id, &body, |data| About::Change { lease: self.lease, data })?;
        Ok(Settled::Recorded)
    }
}
