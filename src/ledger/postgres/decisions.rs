//! Decisions that lead to no mint, operations included, and counts of refusals.

use super::Apply;
use super::batch::{Batch, Entry};
use super::claims::claim;
use super::needs::Needs;
use crate::ledger::counts::payload;
use crate::ledger::event::About;
use crate::ledger::intent::{Count, Decide, Operate};
use crate::ledger::kind::Kind;

impl Apply for Decide {
    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<()> {
        let kind = if self.row.outcome == "would_allow" { Kind::WouldAllow } else { Kind::Refused };
        batch.insert_decision(&self.row, kind);
        Ok(())
    }
}

impl Apply for Operate {
    fn needs(&self, needs: &mut Needs) {
        if let Some((proof, _)) = &self.proof {
            needs.replay(proof);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        if let Some(proof) = &self.proof
            && !claim(batch, &self.row, proof)
        {
            return Ok(false);
        }
        if !self.goes_on {
            batch.insert_decision(&self.row, Kind::Permitted);
        }
        Ok(true)
    }
}

impl Apply for Count {
    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<()> {
        let data = serde_json::value::to_raw_value(&*self.rows)
            .map_err(|error| sqlx::Error::Encode(error.into()))?;
        let payload = payload(self.rows.iter().map(AsRef::as_ref));
        let entry = Entry { kind: Kind::Counted, tenant: "", subject: &[], payload, body: None };
        batch.append(entry, || About::Server { data });
        let seq = batch.head().seq;
        batch.added.counts.extend(self.rows.iter().map(|row| (seq, row.clone())));
        Ok(())
    }
}
