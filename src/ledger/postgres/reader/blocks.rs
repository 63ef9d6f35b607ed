//! Blocks, and what they are about.

use jiff::Timestamp;
use sqlx::Connection as _;

use super::Reader;
use crate::domain::BlockId;
use crate::ledger::error::LedgerError;
use crate::ledger::intent::BlockRow;
use crate::ledger::postgres::block_queries;
use crate::ledger::toll::Toll;
use crate::ledger::touched::Pattern;

impl Reader {
    /// The epoch: it grows with every block that is set or lifted.
    pub(in crate::ledger) async fn epoch(&self) -> Result<i64, LedgerError> {
        self.run(|pool| async move { block_queries::epoch(&mut *pool.acquire().await?).await }).await
    }

    /// The epoch, and every block in force at `now`.
    pub(in crate::ledger) async fn in_force(&self, now: i64) -> Result<(i64, Vec<BlockRow>), LedgerError> {
        let read = self.run(move |pool| async move {
            let mut connection = pool.acquire().await?;
            // One snapshot: an epoch without its block would never be looked at again.
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
            let mut snapshot = connection.begin_with(begin).await?;
            let epoch = block_queries::epoch(&mut snapshot).await?;
            Ok((epoch, block_queries::in_force(&mut snapshot, now).await?))
        });
        read.await
    }

    /// The newest blocks that `tenant` may see.
    pub(in crate::ledger) async fn blocks(
        &self,
        tenant: String,
        now: Option<i64>,
    ) -> Result<Vec<BlockRow>, LedgerError> {
        let read = self.run(move |pool| async move {
            block_queries::blocks(&mut *pool.acquire().await?, &tenant, now).await
        });
        read.await
    }

    /// What a block of this pattern would be about.
    pub(in crate::ledger) async fn toll_of_subject(
        &self,
        pattern: Pattern,
        now: Timestamp,
    ) -> Result<Toll, LedgerError> {
        let read = self.run(move |pool| async move {
            let mut toll = Toll::default();
            let each = |one| {
                toll.add(one, now, true);
                true
            };
            let at = now.as_millisecond();
            block_queries::touched(&mut *pool.acquire().await?, at, &pattern, None, each).await?;
            Ok(toll.sorted())
        });
        read.await
    }

    /// One block, if `tenant` may see it, and what became of all that it was about.
    pub(in crate::ledger) async fn toll_of_block(
        &self,
        tenant: String,
        id: BlockId,
        now: Timestamp,
    ) -> Result<Option<(BlockRow, Toll)>, LedgerError> {
        let read = self.run(move |pool| async move {
            let mut connection = pool.acquire().await?;
            let Some(row) = block_queries::one_block(&mut connection, &tenant, id).await? else {
                return Ok(None);
            };
            let mut toll = Toll::default();
            block_queries::effects(&mut connection, id, |one| toll.add(one, now, false)).await?;
            Ok(Some((row, toll.sorted())))
        });
        read.await
    }
}
