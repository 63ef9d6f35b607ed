//! The writing connection, which comes back by itself after it broke.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, timeout};

use super::{connect, notes};
use crate::causes;
use crate::ledger::chain::Head;
use crate::ledger::error::{LedgerError, Unavailable};

/// Longest that an attempt to connect may take.
const CONNECT: Duration = Duration::from_secs(8);

/// Pause after an attempt that failed: meanwhile everybody is told at once.
const PAUSE: Duration = Duration::from_millis(500);

/// Where to connect to, and the connection while there is one.
pub(super) struct Session {
    options: PgConnectOptions,
    store: [u8; 16],
    connection: Option<PgConnection>,
    failed: Option<(Instant, Unavailable)>,
    lost: bool,
    up: Arc<AtomicBool>,
}

impl Session {
    pub(super) fn new(options: PgConnectOptions, store: [u8; 16], connection: PgConnection) -> Self {
        let up = Arc::new(AtomicBool::new(true));
        Self { options, store, connection: Some(connection), failed: None, lost: false, up }
    }

    /// The store's id.
    pub(super) const fn store(&self) -> &[u8; 16] {
        &self.store
    }

    /// True while there is a connection, for whoever asks from elsewhere.
    pub(super) fn up(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.up)
    }

    /// True once the database was found not to hold what it had committed.
    pub(super) const fn is_lost(&self) -> bool {
        self.lost
    }

    /// The connection.
    pub(super) fn connection(&mut self) -> sqlx::Result<&mut PgConnection> {
        self.connection.as_mut().ok_or_else(|| sqlx::Error::Io(std::io::ErrorKind::NotConnected.into()))
    }

    /// Sees to it that there is a connection. If it is a new one, returns the chain's newest record in the database: the
    /// batch that broke may have been committed.
    pub(super) async fn ensure(&mut self, head: Head) -> Result<Option<Head>, Unavailable> {
        if self.connection.is_some() {
            return Ok(None);
        }
        if let Some((at, why)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(why.clone());
        }
        let resumed = timeout(CONNECT, self.resume(head)).await;
        let resumed = resumed.unwrap_or_else(|_| Err(Unavailable::Unreachable("no answer".into()).into()));
        match resumed {
            Ok((connection, head)) => {
                tracing::info!("the ledger's connection is back");
                (self.connection, self.failed) = (Some(connection), None);
                self.up.store(true, Ordering::Relaxed);
                Ok(Some(head))
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

    async fn resume(&self, head: Head) -> Result<(PgConnection, Head), LedgerError> {
        let (mut connection, _) = connect::writable(&self.options).await?;
        let head = notes::resume(&mut connection, &self.store, head).await?;
        Ok((connection, head))
    }

    /// Gives up a connection in an unknown state.
    pub(super) fn drop_connection(&mut self) {
        self.connection = None;
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
