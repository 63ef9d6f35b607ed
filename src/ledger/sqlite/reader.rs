//! Reading: a few read-only connections, never more, each used by one reader at a time.

use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::open;
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::verify::{self, Report};

/// Connections for reading; more readers than these wait.
const CONNECTIONS: usize = 4;

/// Pages that each of them keeps in memory, as negative KiB: little, for the system keeps the file's pages too, and the more
/// leases live, the more of them would be kept a fifth time.
const CACHE_KIB: i64 = -256;

/// Reads a file, also one that a server is running on.
#[derive(Clone)]
pub(in crate::ledger) struct Reader(Arc<Pool>);

struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    permits: Semaphore,
}

impl Reader {
    /// Opens an existing store without ever writing to it.
    ///
    /// # Errors
    /// The file is missing, unreadable or not ours.
    pub(in crate::ledger) fn open(path: &Path) -> Result<Self, LedgerError> {
        let idle = Mutex::new(vec![connect(path)?]);
        Ok(Self(Arc::new(Pool { path: path.to_owned(), idle, permits: Semaphore::new(CONNECTIONS) })))
    }

    /// Recomputes every chain; see [`Reader::verify`](crate::ledger::Reader::verify).
    ///
    /// # Errors
    /// The store cannot be read, or `kept` holds no checkpoint.
    pub(in crate::ledger) fn verify(&self, kept: Option<&mut dyn BufRead>) -> Result<Report, LedgerError> {
        // It reads all there is, so that a connection with SQLite's usual cache is worth having.
        verify::verify(&open::read_only(&self.0.path)?, kept)
    }

    /// Runs `read` on an idle connection.
    pub(in crate::ledger) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => connect(&self.0.path)?,
        };
        let answer = read(&connection);
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        answer
    }

    /// The same off the asynchronous threads, at most [`CONNECTIONS`] at once.
    pub(in crate::ledger) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let _permit = self.0.permits.acquire().await.map_err(|_| Unavailable::Stopped)?;
        let reader = self.clone();
        let done = tokio::task::spawn_blocking(move || reader.with(read)).await;
        done.map_err(|_| Unavailable::Stopped)?
    }
}

fn connect(path: &Path) -> Result<Connection, LedgerError> {
    let connection = open::read_only(path)?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    Ok(connection)
}
