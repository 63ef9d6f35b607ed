//! The writing connection, which comes back by itself after it broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};

use super::connect::Way;
use super::notes::{Registered, Start};
use super::{connect, notes};
use crate::causes;
use crate::ledger::error::{LedgerError, Unavailable};

/// Longest that an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(8);

/// Pause after an attempt that failed: meanwhile everybody is told at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Where to connect to, and the connection while there is one.
pub(super) struct Session {
    way: Way,
    store: [u8; 16],
    connection: Option<PgConnection>,
    failed: Option<(Instant, Unavailable)>,
    lost: bool,
    up: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
}

impl Session {
    pub(super) fn new(way: Way, store: [u8; 16], connection: PgConnection) -> Self {
        let (up, sessions) = (Arc::new(AtomicBool::new(true)), Arc::default());
        Self { way, store, connection: Some(connection), failed: None, lost: false, up, sessions }
    }

    /// The store's id.
    pub(super) const fn store(&self) -> &[u8; 16] {
        &self.store
    }

    /// True while there is a connection, for whoever asks from elsewhere.
    pub(super) fn up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.up)
    }

    /// How many sessions have ended, for whoever asks from elsewhere.
    pub(super) fn sessions(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.sessions)
    }

    /// True once the database was found not to hold what it had committed.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The connection.
    pub(super) fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        self.connection.as_mut().ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()))
    }

    /// Sees to it that there is a connection. If it is a new one, returns the chain's newest record in the database, as the
    /// batch that broke may have been committed; or the beginning of another chain.
    pub(super) async fn ensure(&mut self, start: Start) -> Result<Option<Registered>, Unavailable> {
        if self.connection.is_some() {
            return Ok(None);
        }
        if let Some((at, why)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        let resumed = timeout(CONNECT, self.resume(start)).await;
        let resumed = resumed.unwrap_or_else(|_| Err(Unavailable::Unreachable("no answer".into()).into()));
        match resumed {
            Ok((connection, registered)) => {
                tracing::info!("the ledger's connection is back");
                (self.connection, self.failed) = (Some(connection), None);
                self.up.store(true, Ordering::Relaxed);
                Ok(Some(registered))
            }
            Err(error) => {
                let why = match error {
                    LedgerError::Unavailable(why) => why,
                    other => Unavailable::Unreachable(causes::in_full(&other)),
                };
                self.lost = why == Unavailable::RolledBack;
                self.failed = Some((Instant::now(), why.clone()));
                Err(why)
            }
        }
    }

    async fn resume(&self, start: Start) -> Result<(PgConnection, Registered), LedgerError> {
        let (mut connection, _) = connect::writable(&self.way).await?;
        let registered = notes::resume(&mut connection, &self.store, start).await?;
        Ok((connection, registered))
    }

    /// Gives up a connection in an unknown state.
    pub(super) fn drop_connection(&mut self) {
        self.connection = None;
        self.sessions.fetch_add(1, Ordering::SeqCst);
        self.up.store(false, Ordering::Relaxed);
    }

    /// Ends the session in order, so that others find its lock free at once.
    pub(super) async fn close(self) {
        if let Some(connection) = self.connection
            && let Err(error) = connection.close().await
        {
            tracing::debug!(%error, "the ledger's connection had broken before it was closed");
        }
    }
}
