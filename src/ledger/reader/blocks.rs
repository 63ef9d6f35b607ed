//! Blocks, and what they are about.

use jiff::Timestamp;

use super::{Kind, Reader};
use crate::domain::BlockId;
use crate::ledger::error::LedgerError;
use crate::ledger::intent::BlockRow;
use crate::ledger::sqlite::block_queries as sqlite;
use crate::ledger::toll::Toll;
use crate::ledger::touched::Pattern;

/// The epoch, and every block in force in it.
pub(in crate::ledger) type InForce = (i64, Vec<BlockRow>);

impl Reader {
    /// The blocks in force at `now`. Blocks, for a store that is being opened.
    pub(in crate::ledger) fn blocks_in_force_now(&self, now: i64) -> Result<InForce, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.with(|store| Ok(sqlite::in_force(store, now)?)),
            Kind::Postgres(reader) => reader.wait(move |reader| async move { reader.in_force(now).await }),
        }
    }

    /// The blocks in force at `now`, unless the epoch is still the `known` one.
    pub(in crate::ledger) async fn blocks_in_force(
        &self,
        known: Option<i64>,
        now: i64,
    ) -> Result<Option<InForce>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                let read = reader.read(move |store| {
                    let is_known = known == Some(sqlite::epoch(store)?);
                    Ok(if is_known { None } else { Some(sqlite::in_force(store, now)?) })
                });
                read.await
            }
            Kind::Postgres(reader) if known == Some(reader.epoch().await?) => Ok(None),
            Kind::Postgres(reader) => reader.in_force(now).await.map(Some),
        }
    }

    /// The newest blocks that `tenant` may see, or all if that is empty; those in force at `now`, or also those that are
    /// over if that is none.
    pub(in crate::ledger) async fn blocks(
        &self,
        tenant: String,
        now: Option<i64>,
    ) -> Result<Vec<BlockRow>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(sqlite::blocks(store, &tenant, now)?)).await,
            Kind::Postgres(reader) => reader.blocks(tenant, now).await,
        }
    }

    /// What a block of this pattern would be about.
    pub(in crate::ledger) async fn toll_of_subject(
        &self,
        pattern: Pattern,
        now: Timestamp,
    ) -> Result<Toll, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                let read = reader.read(move |store| {
                    let mut toll = Toll::default();
                    sqlite::touched(store, now.as_millisecond(), &pattern, None, |one| {
                        toll.add(one, now, true);
                        true
                    })?;
                    Ok(toll.sorted())
                });
                read.await
            }
            Kind::Postgres(reader) => reader.toll_of_subject(pattern, now).await,
        }
    }

    /// One block, if `tenant` may see it, and what became of all that it was about.
    pub(in crate::ledger) async fn toll_of_block(
        &self,
        tenant: String,
        id: BlockId,
        now: Timestamp,
    ) -> Result<Option<(BlockRow, Toll)>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                let read = reader.read(move |store| {
                    let Some(row) = sqlite::one_block(store, &tenant, id)? else { return Ok(None) };
                    let mut toll = Toll::default();
                    sqlite::effects(store, id, |one| toll.add(one, now, false))?;
                    Ok(Some((row, toll.sorted())))
                });
                read.await
            }
            Kind::Postgres(reader) => reader.toll_of_block(tenant, id, now).await,
        }
    }
}
