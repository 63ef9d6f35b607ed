//! What pruning reads, and what tells that something was pruned.

use super::{Kind, Reader};
use crate::domain::DecisionId;
use crate::ledger::LedgerError;
use crate::ledger::retention::{Candidate, Chains, is_before};
use crate::ledger::seal::Sealed;
use crate::ledger::sqlite;

impl Reader {
    /// All chains, and what says how far each is proven; `now` is Unix milliseconds.
    pub(in crate::ledger) async fn chains(&self, now: i64) -> Result<Chains, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::retention::chains(store, now)?)).await
            }
            Kind::Postgres(reader) => reader.chains(now).await,
        }
    }

    /// At most `limit` records of `writer` from `first` to `last`, each with what is there of what it is about.
    pub(in crate::ledger) async fn candidates(
        &self,
        writer: i64,
        first: i64,
        last: i64,
        limit: usize,
    ) -> Result<Vec<Candidate>, LedgerError> {
        let bounds = [writer, first, last, i64::try_from(limit).unwrap_or(i64::MAX)];
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::retention::candidates(store, bounds)?)).await
            }
            Kind::Postgres(reader) => reader.candidates(bounds).await,
        }
    }

    /// Until when records were pruned, Unix milliseconds; none if none ever were.
    pub(in crate::ledger) async fn pruned_until(&self) -> Result<Option<i64>, LedgerError> {
        let seals = match &self.0 {
            Kind::Sqlite(reader) => reader.read(|store| Ok(sqlite::retention::seals(store)?)).await?,
            Kind::Postgres(reader) => reader.seals().await?,
        };
        Ok(newest(&seals))
    }

    /// True if records of the time at which `id` was made were pruned: whether there was such a decision cannot be told.
    ///
    /// # Errors
    /// The store failed.
    pub fn is_pruned(&self, id: DecisionId) -> Result<bool, LedgerError> {
        let seals = match &self.0 {
            Kind::Sqlite(reader) => reader.with(|store| Ok(sqlite::retention::seals(store)?))?,
            Kind::Postgres(reader) => reader.wait(|reader| async move { reader.seals().await })?,
        };
        Ok(is_before(id, newest(&seals)))
    }
}

fn newest(seals: &[String]) -> Option<i64> {
    let seals = seals.iter().filter_map(|body| serde_json::from_str::<Sealed>(body).ok());
    seals.map(|sealed| sealed.seal.until).max()
}
