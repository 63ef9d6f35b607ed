//! Reading: a few read-only connections, never more, each used by one reader at a time.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::{audit_list, lists, open, queries};
use crate::domain::{DecisionId, Tenants};
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::explained::DecisionRecord;
use crate::ledger::search::{AuditPage, AuditPlace, DecisionEntry, LeaseEntry, Look, Page, UnleasedEntry};
use crate::ledger::verify::{self, Report};
use crate::signing::KeyRecord;

/// Connections for reading; more readers than these wait.
const CONNECTIONS: usize = 4;

/// Reads a store, also one that a server is running on.
#[derive(Clone)]
pub struct Reader(Arc<Pool>);

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
    pub fn open(path: &Path) -> Result<Self, LedgerError> {
        let idle = Mutex::new(vec![open::read_only(path)?]);
        Ok(Self(Arc::new(Pool { path: path.to_owned(), idle, permits: Semaphore::new(CONNECTIONS) })))
    }

    /// The record of a decision, if there is one. Blocks; a server uses [`Ledger::decision`](crate::ledger::Ledger::decision).
    ///
    /// # Errors
    /// The store failed, or the record is damaged.
    pub fn decision(&self, id: DecisionId) -> Result<Option<DecisionRecord>, LedgerError> {
        let stored = self.with(|connection| Ok(queries::decision(connection, id)?))?;
        let joined = stored.map(crate::ledger::explained::Stored::join).transpose();
        joined.map_err(|_| LedgerError::Damaged { what: "decision record" })
    }

    /// Leases of `tenants`, newest first, at most `limit` of those `before` a decision; `now` says which are alive. Blocks,
    /// as [`Self::decision`] does.
    ///
    /// # Errors
    /// The store failed.
    pub fn leases(&self, wanted: &Look<'_>) -> Result<Page<LeaseEntry>, LedgerError> {
        self.with(|connection| Ok(lists::leases(connection, wanted)?))
    }

    /// Authorisations without a lease, likewise.
    ///
    /// # Errors
    /// The store failed.
    pub fn unleased(&self, wanted: &Look<'_>) -> Result<Page<UnleasedEntry>, LedgerError> {
        self.with(|connection| Ok(lists::unleased(connection, wanted)?))
    }

    /// Decisions, likewise.
    ///
    /// # Errors
    /// The store failed.
    pub fn decisions(&self, wanted: &Look<'_>) -> Result<Page<DecisionEntry>, LedgerError> {
        self.with(|connection| Ok(lists::decisions(connection, wanted)?))
    }

    /// Where the records begin that were made at `since` or later; without it, those that are yet to come. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn audit_place(&self, since: Option<Timestamp>) -> Result<AuditPlace, LedgerError> {
        self.with(|connection| Ok(audit_list::place_at(connection, since)?))
    }

    /// Records of the audit chain beyond `place`. Blocks.
    ///
    /// # Errors
    /// The store failed.
    pub fn audit(
        &self,
        tenants: &Tenants,
        place: &AuditPlace,
        limit: usize,
    ) -> Result<AuditPage, LedgerError> {
        self.with(|connection| Ok(audit_list::audit(connection, tenants, place, limit)?))
    }

    /// Every signing key, oldest first, private parts sealed. Blocks, as [`Self::decision`] does.
    ///
    /// # Errors
    /// The store failed, or a key is damaged.
    pub fn signing_keys(&self) -> Result<Vec<KeyRecord>, LedgerError> {
        self.with(queries::signing_keys)
    }

    /// Recomputes every chain. `checkpoint` is one kept elsewhere: a compact JWS, or the line of events that holds it.
    ///
    /// Blocks for as long as it takes: about a minute for a million records.
    ///
    /// # Errors
    /// The store cannot be read, or `checkpoint` is none. What verification finds is in the report.
    pub fn verify(&self, checkpoint: Option<&str>) -> Result<Report, LedgerError> {
        self.with(|connection| verify::verify(connection, checkpoint))
    }

    /// Runs `read` on an idle connection.
    pub(in crate::ledger) fn with<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open::read_only(&self.0.path)?,
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
