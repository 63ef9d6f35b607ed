//! Leases: asked to end, and ended. Two steps, because ending at the target happens in between.

use rusqlite::{OptionalExtension, params};

use super::Apply;
use super::batch::Batch;
use super::endings::{claim, forget, holds};
use crate::domain::LeaseId;
use crate::ledger::event::About;
use crate::ledger::intent::{AskEnd, Asked, End, Settled};
use crate::ledger::kind::{EndAsked, EndedBody, Kind};
use crate::ledger::{EndHow, Record};

impl Apply for AskEnd {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Asked> {
        if !ask_end(batch, self.lease, None)? {
            return Ok(Asked::Settled);
        }
        Ok(claim(batch, Record::Lease(self.lease), true, self.ticket)?.map_or(Asked::Busy, Asked::Claimed))
    }
}

/// Marks a lease as to be ended, once; true if there is something left to end. `why` is said if nobody asked for it.
pub(super) fn ask_end(
    batch: &mut Batch<'_>,
    lease: LeaseId,
    why: Option<&'static str>,
) -> rusqlite::Result<bool> {
    let found: Option<(String, Option<i64>)> = batch
        .sql("SELECT tenant, end_asked_at FROM leases WHERE id = ?1 AND end_how IS NULL AND dies_at > ?2")?
        .query_row(params![lease.as_bytes(), batch.now()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((tenant, asked)) = found else { return Ok(false) };
    if asked.is_none() {
        let at = batch.now();
        batch
            .sql("UPDATE leases SET end_asked_at = ?2 WHERE id = ?1")?
            .execute(params![lease.as_bytes(), at])?;
        batch.append_body(
            Kind::EndAsked,
            &tenant,
            lease.as_bytes(),
            &EndAsked { at, why: why.map(str::to_owned) },
            |data| About::Change { lease, data },
        )?;
    }
    Ok(true)
}

impl Apply for End {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Settled> {
        let record = Record::Lease(self.lease);
        let open = batch
            .sql("SELECT 1 FROM leases WHERE id = ?1 AND end_how IS NULL")?
            .exists([self.lease.as_bytes()])?;
        if !open {
            return Ok(Settled::Before);
        }
        if !holds(batch, record, self.fence)? {
            return Ok(Settled::Stale);
        }
        let at = match self.how {
            EndHow::AtTarget => Some(batch.now()),
            EndHow::DiesAtExpiry => None,
        };
        let how = self.how.as_str();
        let id = self.lease.as_bytes();
        let tenant: Option<String> = batch
            .sql(
                "UPDATE leases SET ended_at = ?2, end_how = ?3 WHERE id = ?1 AND end_how IS NULL RETURNING tenant",
            )?
            .query_row(params![id, at, how], |row| row.get(0))
            .optional()?;
        let Some(tenant) = tenant else { return Ok(Settled::Before) };
        forget(batch, record)?;
        batch.sql("DELETE FROM heartbeats WHERE lease = ?1")?.execute([id])?;
        let body = EndedBody { at, how: how.to_owned() };
        batch
            .append_body(Kind::Ended, &tenant, id, &body, |data| About::Change { lease: self.lease, data })?;
        Ok(Settled::Recorded)
    }
}
