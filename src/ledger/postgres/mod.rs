//! The ledger on PostgreSQL: one writing connection per process, group commit, any number of processes, no leader.
//!
//! A batch is one transaction of four parts, the same for every intent:
//!
//! 1. **needs**: each step names the rows that it will look at ([`Needs`](needs::Needs));
//! 2. **load**: they are read, one statement per table, and locked against other servers until the commit ([`held`]);
//! 3. **apply**: the steps run in memory, in order, each seeing what those before it changed ([`batch::Batch`]);
//! 4. **flush**: what changed is written, one multi-row statement per table.
//!
//! What two servers can both create (a replay claim, an idempotency key, an authorisation) is inserted, never upserted:
//! of two, the second one's insert waits for the first one's commit, fails, and its batch runs again with the row in
//! view. Statements lock rows in key order, so that batches queue rather than block each other; a deadlock runs again.
//!
//! What sets or lifts a block is carried out alone ([`Apply::ALONE`]): it waits for the batches of all servers that have
//! begun, and those that begin later wait for it and find the epoch grown.
//!
//! **To add an intent**: list it in `intent.rs`; implement [`Apply`] beside its SQLite counterpart's name here: `needs`
//! names its rows, `apply` decides as the SQLite one does. A new table takes a struct and a field in `held.rs`, a read in
//! `load.rs`, a write in `flush.rs`, and a line in `copy/tables.rs`. A query for reading goes into `queries.rs`.

mod audit_list;
mod background;
mod batch;
mod block_queries;
mod blocks;
mod connect;
mod copy;
mod decisions;
mod endings;
mod fault;
mod flush;
mod flush_blocks;
mod flush_ends;
mod flush_held;
mod heartbeats;
mod held;
mod issue;
mod keys;
mod leases;
mod lists;
mod load;
mod load_blocks;
mod load_ends;
mod lock;
mod needs;
mod notes;
mod queries;
mod reader;
mod renewals;
mod retention;
mod schema;
mod session;
mod sinks;
mod stream;
mod upkeep;
mod writer;

pub use connect::ServerDurability;
pub use copy::Copied;
pub(super) use copy::copy;
pub(super) use reader::Reader;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use self::background::Background;
use self::batch::Batch;
use self::connect::Way;
use self::needs::Needs;
use self::writer::{Work, Writer};
use super::chain::Head;
use super::error::{LedgerError, Unavailable};
use super::intent::Intent;
use super::kind::HeadText;
use super::pending::Pending;
use super::settings::LedgerSettings;
use crate::clock::Clock;
use crate::config::PostgresPlace;

/// Steps that wait for the writer before the next ones wait for a place.
const QUEUE: usize = 1024;

/// Longest that a shutdown waits for the writer.
const LAST_BATCH: Duration = Duration::from_secs(15);

/// An intent that PostgreSQL can carry out. Runs in memory, again if another server came first.
pub(super) trait Apply: Intent {
    /// True for what is carried out while no other batch is, on any server: what sets or lifts a block.
    const ALONE: bool = false;

    /// Names the rows that [`Self::apply`] looks at.
    fn needs(&self, needs: &mut Needs);

    /// Carries it out on what was loaded.
    ///
    /// # Errors
    /// What cannot be encoded; the whole batch is rolled back.
    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Self::Output>;
}

/// An open store.
pub(super) struct Store {
    queue: Option<mpsc::Sender<Box<dyn Work>>>,
    writing: Option<JoinHandle<()>>,
    /// The writer's own, which nothing that reads holds up.
    thread: Background,
    head: Arc<ArcSwap<Head>>,
    up: Arc<AtomicBool>,
    sessions: Arc<AtomicU64>,
    commits: watch::Receiver<()>,
    reader: Reader,
    durability: ServerDurability,
    id: [u8; 16],
}

impl Store {
    /// Connects, brings the schema up to date, registers this start as a writer, and begins to write.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(super) fn open(
        place: &PostgresPlace,
        settings: &LedgerSettings,
        clock: Clock,
    ) -> Result<Self, LedgerError> {
        let thread = Background::start("ledger-writer")?;
        let way = Way::new(place, &thread)?;
        let (lines, begun) = (settings.clone(), way.clone());
        let writer = thread.wait(async move { Writer::start(begun, &lines, clock).await })?;
        let (durability, id, head) = (writer.durability().clone(), *writer.store(), writer.shared_head());
        let (up, sessions, commits) = (writer.up(), writer.sessions(), writer.commits());
        let (queue, messages) = mpsc::channel(QUEUE);
        let writing = thread.spawn(writer.run(messages));
        let reader = Reader::of(way, place.pool, Arc::new(Background::start("ledger-reader")?));
        let (queue, writing) = (Some(queue), Some(writing));
        Ok(Self { queue, writing, thread, head, up, sessions, commits, reader, durability, id })
    }

    /// Has the writer carry out `intent`, and waits until it is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not known to be recorded.
    pub(super) async fn run<A: Apply>(&self, intent: A) -> Result<A::Output, Unavailable> {
        let (pending, answer) = Pending::new(intent);
        let queue = self.queue.as_ref().ok_or(Unavailable::Stopped)?;
        queue.send(pending).await.map_err(|_| Unavailable::Stopped)?;
        answer.await.map_err(|_| Unavailable::Stopped)?
    }

    /// Connections for reading.
    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the server says about durability.
    pub(super) const fn durability(&self) -> &ServerDurability {
        &self.durability
    }

    /// The newest durable record of this writer.
    pub(super) fn head(&self) -> Head {
        **self.head.load()
    }

    /// Heads of the other writers' chains that no start has vouched for.
    pub(super) async fn heads_beside(&self) -> Result<Vec<HeadText>, LedgerError> {
        self.reader.open_heads(self.head().writer).await
    }

    /// Hears of each commit of this server that gave the stream of events something new.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        self.commits.clone()
    }

    /// The number of the writer's session: with another one, what the former one held is free.
    pub(super) fn session(&self) -> u64 {
        self.sessions.load(Ordering::SeqCst)
    }

    /// The store's own id.
    pub(super) const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// True while the writer lives and reaches the database: a replica that is cut off is not ready.
    pub(super) fn is_alive(&self) -> bool {
        let lives = self.writing.as_ref().is_some_and(|writing| !writing.is_finished());
        lives && self.up.load(Ordering::Relaxed)
    }
}

impl Drop for Store {
    /// Waits for the writer to end, so that what was asked is recorded and its lock free afterwards.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writing) = self.writing.take() {
            let ended = self.thread.wait_at_most(LAST_BATCH, writing);
            if !matches!(ended, Some(Ok(()))) {
                tracing::error!("the ledger's writer did not end in order");
            }
        }
    }
}
