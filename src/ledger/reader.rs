//! Reading a store, also one that servers are running on. Never writes.

mod blocks;
mod lists;
mod retention;

use std::io::BufRead;

use super::error::LedgerError;
use super::explained::{DecisionRecord, Stored};
use super::rows::LeaseRow;
use super::sinks::{Ahead, Cursor};
use super::verify::Report;
use super::{Waiting, postgres, sqlite};
use crate::config::StorePlace;
use crate::domain::{DecisionId, LeaseId};
use crate::signing::KeyRecord;

/// An issuer's remembered keys, sealed, and when they were fetched.
type IssuerKeys = (Vec<u8>, i64);

/// Reads a store.
#[derive(Clone)]
pub struct Reader(Kind);

#[derive(Clone)]
enum Kind {
    Sqlite(sqlite::Reader),
    Postgres(postgres::Reader),
}

impl Reader {
    pub(super) const fn of_sqlite(reader: sqlite::Reader) -> Self {
        Self(Kind::Sqlite(reader))
    }

    pub(super) const fn of_postgres(reader: postgres::Reader) -> Self {
        Self(Kind::Postgres(reader))
    }

    /// Opens an existing store without ever writing to it. Blocks, as the functions without `async` do: commands use
    /// them, a server has [`Ledger`](super::Ledger).
    ///
    /// # Errors
    /// It is missing, unreadable or not ours.
    pub fn open(place: &StorePlace) -> Result<Self, LedgerError> {
        match place {
            StorePlace::Sqlite(path) => sqlite::Reader::open(path).map(Self::of_sqlite),
            StorePlace::Postgres(place) => postgres::Reader::open(place).map(Self::of_postgres),
        }
    }

    /// The record of a decision, if there is one.
    ///
    /// # Errors
    /// The store failed, or the record is damaged.
    pub fn decision(&self, id: DecisionId) -> Result<Option<DecisionRecord>, LedgerError> {
        let stored = match &self.0 {
            Kind::Sqlite(reader) => reader.with(|store| Ok(sqlite::queries::decision(store, id)?)),
            Kind::Postgres(reader) => reader.wait(|reader| async move { reader.stored(id).await }),
        };
        let joined = stored?.map(Stored::join).transpose();
        joined.map_err(|_| LedgerError::Damaged { what: "decision record" })
    }

    /// Every signing key, oldest first, private parts sealed.
    ///
    /// # Errors
    /// The store failed, or a key is damaged.
    pub fn stored_keys(&self) -> Result<Vec<KeyRecord>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.with(sqlite::queries::signing_keys),
            Kind::Postgres(reader) => reader.wait(|reader| async move { reader.signing_keys().await }),
        }
    }

    /// Recomputes every chain. `kept` are the checkpoints kept elsewhere: compact JWSs, a line each, or the lines of
    /// events that hold them.
    ///
    /// Blocks for as long as it takes: seconds for a million records. A database is read once, in one
    /// snapshot, into a private temporary file that takes as much room as the ledger does.
    ///
    /// # Errors
    /// The store cannot be read, or `kept` holds no checkpoint. What verification finds is in the report.
    pub fn verify(&self, kept: Option<&mut dyn BufRead>) -> Result<Report, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.verify(kept),
            Kind::Postgres(reader) => reader.verify(kept),
        }
    }

    /// A decision's stored parts.
    pub(super) async fn stored(&self, id: DecisionId) -> Result<Option<Stored>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(sqlite::queries::decision(store, id)?)).await,
            Kind::Postgres(reader) => reader.stored(id).await,
        }
    }

    /// Every signing key, oldest first.
    pub(super) async fn signing_keys(&self) -> Result<Vec<KeyRecord>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(sqlite::queries::signing_keys).await,
            Kind::Postgres(reader) => reader.signing_keys().await,
        }
    }

    /// A lease.
    pub(super) async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRow>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(sqlite::queries::lease(store, id)?)).await,
            Kind::Postgres(reader) => reader.lease(id).await,
        }
    }

    /// How many leases are alive.
    pub(super) async fn live_leases(&self, now: i64) -> Result<u32, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::queries::live_leases(store, now)?)).await
            }
            Kind::Postgres(reader) => reader.live_leases(now).await,
        }
    }

    /// True if a lease has a heartbeat.
    pub(super) async fn any_heartbeat(&self) -> Result<bool, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(|store| Ok(sqlite::queries::any_heartbeat(store)?)).await,
            Kind::Postgres(reader) => reader.any_heartbeat().await,
        }
    }

    /// What was tried to be ended, or is being tried.
    pub(super) async fn endings(&self) -> Result<Waiting, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(|store| Ok(sqlite::queries::endings(store)?)).await,
            Kind::Postgres(reader) => reader.endings().await,
        }
    }

    /// An issuer's remembered keys.
    pub(super) async fn issuer_keys(&self, issuer: String) -> Result<Option<IssuerKeys>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::queries::issuer_keys(store, &issuer)?)).await
            }
            Kind::Postgres(reader) => reader.issuer_keys(issuer).await,
        }
    }

    /// The sealed keys of the issuers that follow `after` by name, with when they were fetched; a page of them.
    pub(super) async fn issuer_keys_after(
        &self,
        after: String,
    ) -> Result<Vec<(String, Vec<u8>, i64)>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::queries::issuer_keys_after(store, &after)?)).await
            }
            Kind::Postgres(reader) => reader.issuer_keys_after(after).await,
        }
    }

    /// The first bytes of the handles of what may be alive, how many begin so, and when the last of them is dead.
    pub(super) async fn living_seals(
        &self,
        now: i64,
        length: i64,
    ) -> Result<Vec<(Vec<u8>, u32, i64)>, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::queries::living_seals(store, now, length)?)).await
            }
            Kind::Postgres(reader) => reader.living_seals(now, length).await,
        }
    }

    /// How far a sink has come.
    pub(super) async fn sink_cursor(&self, sink: String) -> Result<Cursor, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(sqlite::stream::cursor(store, &sink)?)).await,
            Kind::Postgres(reader) => reader.sink_cursor(sink).await,
        }
    }

    /// How many records lie beyond `cursor`.
    pub(super) async fn lag(&self, cursor: Cursor) -> Result<i64, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(move |store| Ok(sqlite::stream::lag(store, &cursor)?)).await,
            Kind::Postgres(reader) => reader.lag(cursor).await,
        }
    }

    /// The next records beyond `cursor`: at most `limit`, or about `bytes`. Chains that are behind take turns.
    pub(super) async fn ahead(
        &self,
        cursor: Cursor,
        limit: usize,
        bytes: usize,
    ) -> Result<Ahead, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => {
                reader.read(move |store| Ok(sqlite::stream::ahead(store, &cursor, limit, bytes)?)).await
            }
            Kind::Postgres(reader) => reader.ahead(cursor, limit, bytes).await,
        }
    }

    /// The number of the newest checkpoint; 0 without one.
    pub(super) async fn last_checkpoint(&self) -> Result<i64, LedgerError> {
        match &self.0 {
            Kind::Sqlite(reader) => reader.read(|store| Ok(sqlite::queries::last_checkpoint(store)?)).await,
            Kind::Postgres(reader) => reader.last_checkpoint().await,
        }
    }
}
