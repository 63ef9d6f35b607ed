//! Decisions that lead to no mint, operations included, and counts of refusals.

use rusqlite::params;

use super::Apply;
use super::batch::{Batch, Entry};
use super::claims::claim;
use crate::ledger::counts::payload;
use crate::ledger::event::About;
use crate::ledger::intent::{Count, Decide, Operate};
use crate::ledger::kind::Kind;

impl Apply for Decide {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let kind = if self.row.outcome == "would_allow" { Kind::WouldAllow } else { Kind::Refused };
        batch.insert_decision(&self.row, kind)
    }
}

/// May use the storage that is reserved for grants: whoever looks into an incident, or stops one, must not be stopped
/// by a full disk. Policy has let them in, and their rate is limited.
impl Apply for Operate {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        if let Some(proof) = &self.proof
            && !claim(batch, &self.row, proof, None)?
        {
            return Ok(false);
        }
        if !self.goes_on {
            batch.insert_decision(&self.row, Kind::Permitted)?;
        }
        Ok(true)
    }
}

impl Apply for Count {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let entry = Entry {
            kind: Kind::Counted,
            tenant: "",
            subject: &[],
            payload: payload(self.rows.iter().map(AsRef::as_ref)),
            body: None,
        };
        let data = serde_json::value::to_raw_value(&*self.rows)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        batch.append(&entry, || About::Server { data })?;
        let head = batch.head();
        for row in self.rows.iter() {
            batch
                .sql(
                    "INSERT INTO refusal_counts (writer, seq, minute, tenant, code, source, count)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    head.writer,
                    head.seq,
                    row.minute,
                    row.tenant,
                    row.code,
                    row.source,
                    row.count
                ])?;
        }
        Ok(())
    }
}
