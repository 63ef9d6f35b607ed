//! What pruning reads.

use sqlx::Connection as _;

use super::Reader;
use crate::ledger::LedgerError;
use crate::ledger::postgres::retention;
use crate::ledger::retention::{Candidate, Chains};

impl Reader {
    /// All chains, and what says how far each is proven, at one moment.
    pub(in crate::ledger) async fn chains(&self, now: i64) -> Result<Chains, LedgerError> {
        let read = self.run(move |pool| async move {
            let mut connection = pool.acquire().await?;
            let mut snapshot =
                connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            retention::chains(&mut snapshot, now).await
        });
        read.await
    }

    /// Records of a chain with what is there of what each is about.
    pub(in crate::ledger) async fn candidates(
        &self,
        bounds: [i64; 4],
    ) -> Result<Vec<Candidate>, LedgerError> {
        self.run(move |pool| async move { retention::candidates(&mut *pool.acquire().await?, bounds).await })
            .await
    }

    /// Bodies of all seals.
    pub(in crate::ledger) async fn seals(&self) -> Result<Vec<String>, LedgerError> {
        self.run(|pool| async move { retention::seals(&mut *pool.acquire().await?).await }).await
    }
}
