//! Reading: a pool of read-only connections, also to a database that servers are running on.

mod blocks;
mod lists;
mod retention;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgPool};

use super::background::Background;
use super::connect::Way;
use super::{connect, copy, queries, schema, stream};
use crate::config::PostgresPlace;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::Waiting;
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::explained::Stored;
use crate::ledger::kind::HeadText;
use crate::ledger::rows::{LeaseRow, UnleasedRow, as_recorded};
use crate::ledger::sinks::{Ahead, Cursor};
use crate::ledger::verify::{self, Report};
use crate::net::Svid;
use crate::signing::KeyRecord;

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads a database.
#[derive(Clone)]
pub(in crate::ledger) struct Reader(Arc<Inner>);

struct Inner {
    pool: PgPool,
    way: Way,
    /// The SVID that new connections show.
    shown: ArcSwapOption<Svid>,
    background: Arc<Background>,
    /// Writers up to this one have ended and are vouched for.
    settled: AtomicI64,
}

impl Reader {
    /// Opens an existing store without ever writing to it.
    ///
    /// # Errors
    /// The database cannot be reached, or holds no ledger that this version can read.
    pub(in crate::ledger) fn open(place: &PostgresPlace) -> Result<Self, LedgerError> {
        let background = Arc::new(Background::start("ledger-reader")?);
        let way = Way::new(place, &background)?;
        let (connecting, name) = (way.clone(), place.to_string());
        background
            .wait(async move { schema::check(&mut connect::connect(&connecting).await?, &name).await })?;
        Ok(Self::of(way, place.pool, background))
    }

    /// Reads over at most `connections`, which are made when they are needed.
    pub(super) fn of(way: Way, connections: u32, background: Arc<Background>) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .after_connect(|connection, _| Box::pin(connect::for_reading(connection)));
        let shown = way.svid();
        let pool = background.inside(|| pool.connect_lazy_with(way.options(shown.as_deref())));
        let shown = ArcSwapOption::new(shown);
        Self(Arc::new(Inner { pool, way, shown, background, settled: AtomicI64::new(0) }))
    }

    /// The connections, of which new ones show the SVID of now.
    fn pool(&self) -> PgPool {
        let Inner { pool, way, shown, .. } = &*self.0;
        let svid = way.svid();
        if svid.as_ref().map(Arc::as_ptr) != shown.load().as_ref().map(Arc::as_ptr) {
            pool.set_connect_options(way.options(svid.as_deref()));
            shown.store(svid);
        }
        pool.clone()
    }

    /// Blocks until `read` is done, for commands.
    pub(in crate::ledger) fn wait<T: Send + 'static, F>(
        &self,
        read: impl FnOnce(Self) -> F,
    ) -> Result<T, LedgerError>
    where
        F: Future<Output = Result<T, LedgerError>> + Send + 'static,
    {
        self.0.background.wait(read(self.clone()))
    }

    /// Runs `read` on the database's thread.
    async fn run<T: Send + 'static, F>(&self, read: impl FnOnce(PgPool) -> F) -> Result<T, LedgerError>
    where
        F: Future<Output = sqlx::Result<T>> + Send + 'static,
    {
        let done = self.0.background.spawn(read(self.pool())).await;
        Ok(done.map_err(|_| Unavailable::Stopped)??)
    }

    /// A decision's stored parts.
    pub(in crate::ledger) async fn stored(&self, id: DecisionId) -> Result<Option<Stored>, LedgerError> {
        self.run(|pool| async move { queries::decision(&mut *pool.acquire().await?, id).await }).await
    }

    /// A lease.
    pub(in crate::ledger) async fn lease(&self, id: LeaseId) -> Result<Option<LeaseRow>, LedgerError> {
        self.run(|pool| async move { queries::lease(&mut *pool.acquire().await?, id).await }).await
    }

    /// Leases that somebody asked to end and that may still live.
    pub(in crate::ledger) async fn leases_to_end(&self, now: i64) -> Result<Vec<LeaseRow>, LedgerError> {
        self.run(|pool| async move { queries::leases_to_end(&mut *pool.acquire().await?, now).await }).await
    }

    /// How many leases are alive.
    pub(in crate::ledger) async fn live_leases(&self, now: i64) -> Result<u32, LedgerError> {
        let count =
            self.run(|pool| async move { queries::live_leases(&mut *pool.acquire().await?, now).await });
        Ok(u32::try_from(count.await?).unwrap_or(u32::MAX))
    }

    /// True if a lease has a heartbeat.
    pub(in crate::ledger) async fn any_heartbeat(&self) -> Result<bool, LedgerError> {
        self.run(|pool| async move { queries::any_heartbeat(&mut *pool.acquire().await?).await }).await
    }

    /// What was tried to be ended, or is being tried.
    pub(in crate::ledger) async fn endings(&self) -> Result<Waiting, LedgerError> {
        let counts = self.run(|pool| async move { queries::endings(&mut *pool.acquire().await?).await });
        let (all, dead) = counts.await?;
        let narrow = |count| u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Waiting { all: narrow(all), dead: narrow(dead) })
    }

    /// Authorisations without a lease that may have led to something that lives.
    pub(in crate::ledger) async fn unleased(&self, now: i64) -> Result<Vec<UnleasedRow>, LedgerError> {
        self.run(|pool| async move { queries::unleased(&mut *pool.acquire().await?, now).await }).await
    }

    /// Every signing key, oldest first.
    pub(in crate::ledger) async fn signing_keys(&self) -> Result<Vec<KeyRecord>, LedgerError> {
        // One snapshot for rows and records: a server may write both meanwhile.
        let read = self.run(|pool| async move {
            let mut connection = pool.acquire().await?;
            let mut snapshot =
                connection.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            let recorded = queries::recorded_keys(&mut snapshot).await?;
            Ok((queries::stored_keys(&mut snapshot).await?, recorded))
        });
        let (keys, recorded) = read.await?;
        as_recorded(keys, recorded)
    }

    /// An issuer's remembered keys.
    pub(in crate::ledger) async fn issuer_keys(
        &self,
        issuer: String,
    ) -> Result<Option<(Vec<u8>, i64)>, LedgerError> {
        self.run(|pool| async move { queries::issuer_keys(&mut *pool.acquire().await?, &issuer).await }).await
    }

    /// The sealed keys of the issuers that follow `after` by name.
    pub(in crate::ledger) async fn issuer_keys_after(
        &self,
        after: String,
    ) -> Result<Vec<(String, Vec<u8>, i64)>, LedgerError> {
        self.run(|pool| async move { queries::issuer_keys_after(&mut *pool.acquire().await?, &after).await })
            .await
    }

    /// The first bytes of the handles of what may be alive.
    pub(in crate::ledger) async fn living_seals(
        &self,
        now: i64,
        length: i64,
    ) -> Result<Vec<(Vec<u8>, u32, i64)>, LedgerError> {
        let seals = self.run(move |pool| async move {
            queries::living_seals(&mut *pool.acquire().await?, now, length).await
        });
        let narrow = |(prefix, count, until)| (prefix, u32::try_from(count).unwrap_or(u32::MAX), until);
        Ok(seals.await?.into_iter().map(narrow).collect())
    }

    /// The number of the newest checkpoint; 0 without one.
    pub(in crate::ledger) async fn last_checkpoint(&self) -> Result<i64, LedgerError> {
        self.run(|pool| async move { queries::last_checkpoint(&mut *pool.acquire().await?).await }).await
    }

    /// How far a sink has come.
    pub(in crate::ledger) async fn sink_cursor(&self, sink: String) -> Result<Cursor, LedgerError> {
        self.run(|pool| async move { stream::cursor(&mut *pool.acquire().await?, &sink).await }).await
    }

    /// How many records lie beyond `cursor`.
    pub(in crate::ledger) async fn lag(&self, cursor: Cursor) -> Result<i64, LedgerError> {
        self.run(|pool| async move { stream::lag(&mut *pool.acquire().await?, &cursor).await }).await
    }

    /// The next records beyond `cursor`.
    pub(in crate::ledger) async fn ahead(
        &self,
        cursor: Cursor,
        limit: usize,
        bytes: usize,
    ) -> Result<Ahead, LedgerError> {
        let read = self.run(move |pool| async move {
            stream::ahead(&mut *pool.acquire().await?, &cursor, limit, bytes).await
        });
        read.await
    }

    /// The heads of writers other than `own` that no start of a server vouches for.
    pub(super) async fn open_heads(&self, own: i64) -> Result<Vec<HeadText>, LedgerError> {
        let settled = self.0.settled.load(Ordering::Relaxed);
        let heads = self.run(move |pool| async move {
            queries::open_heads(&mut *pool.acquire().await?, own, settled).await
        });
        let heads = heads.await?;
        self.0.settled.fetch_max(heads.settled, Ordering::Relaxed);
        Ok(heads.open)
    }

    /// Recomputes every chain; see [`Reader::verify`](crate::ledger::Reader::verify).
    ///
    /// # Errors
    /// The store cannot be read, or `checkpoint` is none.
    pub(in crate::ledger) fn verify(&self, checkpoint: Option<&str>) -> Result<Report, LedgerError> {
        let folder = tempfile::tempdir().map_err(LedgerError::Snapshot)?;
        let file = folder.path().join("snapshot.db");
        let way = self.0.way.clone();
        let copied = self.0.background.wait(async move { copy::snapshot(&way, &file).await })?;
        verify::verify(&copied, checkpoint)
    }
}
