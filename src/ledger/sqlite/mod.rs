//! The ledger on SQLite: one writer thread, group commit, a few read-only connections.
//!
//! One file, WAL, `synchronous=FULL`, one server process. The settings are read back at start: a store that would
//! lose a commit at power loss must not be believed durable.

pub(in crate::ledger) mod audit_list;
mod batch;
pub(in crate::ledger) mod block_queries;
pub(in crate::ledger) mod blocks;
mod claims;
mod cursors;
mod decisions;
mod durability;
mod endings;
mod heartbeats;
mod issue;
pub(in crate::ledger) mod keys;
mod leases;
pub(in crate::ledger) mod lists;
mod notes;
pub(in crate::ledger) mod open;
mod patience;
pub(in crate::ledger) mod queries;
mod reader;
mod renewals;
mod reserve;
pub(in crate::ledger) mod retention;
pub(in crate::ledger) mod stream;
mod upkeep;
mod writer;

pub use durability::FileDurability;
pub(super) use reader::Reader;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{mpsc, watch};

use self::batch::Batch;
use self::writer::{Message, Writer};
use super::chain::Head;
use super::error::{LedgerError, Unavailable};
use super::in_flight::Exchanges;
use super::intent::Intent;
use super::pending::Pending;
use super::rows::{LeaseRow, UnleasedRow};
use super::settings::LedgerSettings;
use crate::clock::Clock;

/// Steps that wait for the writer before the next ones wait for a place.
const QUEUE: usize = 1024;

/// An intent that SQLite can carry out. Runs inside the batch's transaction, twice if the first one fails.
pub(super) trait Apply: Intent {
    /// Carries it out.
    ///
    /// # Errors
    /// Any; the whole batch is rolled back.
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Self::Output>;
}

/// An open store.
pub(super) struct Store {
    queue: Option<mpsc::Sender<Message>>,
    thread: Option<JoinHandle<()>>,
    reader: Reader,
    head: Arc<arc_swap::ArcSwap<Head>>,
    commits: watch::Receiver<()>,
    durability: FileDurability,
    id: [u8; 16],
    earlier: i64,
}

impl Store {
    /// Opens the store, brings its schema up to date, and starts its writer.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(super) fn open(
        path: &Path,
        settings: &LedgerSettings,
        clock: Clock,
        in_flight: Exchanges,
    ) -> Result<Self, LedgerError> {
        let opened = open::writable(path, settings.busy_timeout)?;
        let durability = FileDurability::of(&opened.connection, path)?;
        let earlier = queries::last_decision(&opened.connection)?;
        let reader = Reader::open(path)?;
        let (queue, messages) = mpsc::channel(QUEUE);
        let (writer, id) = Writer::start(opened, path, settings, clock, in_flight)?;
        let head = writer.shared_head();
        let commits = writer.commits();
        let thread = std::thread::Builder::new()
            .name("ledger-writer".into())
            .spawn(move || writer.run(messages))
            .map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
        Ok(Self { queue: Some(queue), thread: Some(thread), reader, head, commits, durability, id, earlier })
    }

    /// Has the writer carry out `intent`, and waits until it is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: nothing was recorded.
    pub(super) async fn run<A: Apply>(&self, intent: A) -> Result<A::Output, Unavailable> {
        let (pending, answer) = Pending::new(intent);
        self.send(Message::Work(pending)).await?;
        answer.await.map_err(|_| Unavailable::Stopped)?
    }

    async fn send(&self, message: Message) -> Result<(), Unavailable> {
        let queue = self.queue.as_ref().ok_or(Unavailable::Stopped)?;
        queue.send(message).await.map_err(|_| Unavailable::Stopped)
    }

    /// Connections for reading.
    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What SQLite and the kernel say about durability.
    pub(super) const fn durability(&self) -> &FileDurability {
        &self.durability
    }

    /// The newest durable record of this writer.
    pub(super) fn head(&self) -> Head {
        **self.head.load()
    }

    /// Leases that somebody asked to end and that may still live, longest waiting first.
    pub(super) async fn leases_to_end(&self, now: i64) -> Result<Vec<LeaseRow>, LedgerError> {
        let writer = self.head().writer;
        self.reader.read(move |connection| Ok(queries::leases_to_end(connection, now, writer)?)).await
    }

    /// Authorisations without a lease that may have led to something that lives, oldest first.
    pub(super) async fn unleased(&self, now: i64) -> Result<Vec<UnleasedRow>, LedgerError> {
        let (before, writer) = (self.earlier, self.head().writer);
        self.reader.read(move |connection| Ok(queries::unleased(connection, now, writer, before)?)).await
    }

    /// Hears of each commit that gave the stream of events something new.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        self.commits.clone()
    }

    /// The store's own id.
    pub(super) const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// True while the writer lives.
    pub(super) fn is_alive(&self) -> bool {
        self.thread.as_ref().is_some_and(|thread| !thread.is_finished())
    }

    /// Lets a test reach the writer's own connection.
    #[cfg(test)]
    pub(super) async fn poke(&self, poke: impl FnOnce(&rusqlite::Connection) + Send + 'static) {
        let (done, wait) = tokio::sync::oneshot::channel();
        let poke = Box::new(move |connection: &_| {
            poke(connection);
            let _ = done.send(());
        });
        assert!(self.send(Message::Poke(poke)).await.is_ok());
        let _ = wait.await;
    }
}

impl Drop for Store {
    /// Waits for the writer to end, so that the file is closed and its lock free afterwards.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the ledger's writer had panicked");
        }
    }
}
