//! Leases: asked to end, and ended. Two steps, because ending at the target happens in between.

use rusqlite::{OptionalExtension, params};

use super::Apply;
use super::batch::Batch;
use crate::domain::LeaseId;
use crate::ledger::EndHow;
use crate::ledger::event::About;
use crate::ledger::intent::{AskEnd, End};
use crate::ledger::kind::{EndAsked, EndedBody, Kind};

impl Apply for AskEnd {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        ask_end(batch, self.lease)
    }
}

/// Marks a lease as to be ended, once; true if there is something left to end.
pub(super) fn ask_end(batch: &mut Batch<'_>, lease: LeaseId) -> rusqlite::Result<bool> {
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
        batch.append_body(Kind::EndAsked, &tenant, lease.as_bytes(), &EndAsked { at }, |data| {
            About::Change { lease, data }
        })?;
    }
    Ok(true)
}

impl Apply for End {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
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
        let Some(tenant) = tenant else { return Ok(false) };
        let body = EndedBody { at, how: how.to_owned() };
        batch
            .append_body(Kind::Ended, &tenant, id, &body, |data| About::Change { lease: self.lease, data })?;
        Ok(true)
    }
}
