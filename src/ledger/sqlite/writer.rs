//! The one thread that writes: takes one step, then all that wait, and commits them together.
//!
//! Replies go out after the commit, never before. A transaction that fails fails every step in it; the
//! next one tries again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rusqlite::{Connection, ErrorCode, TransactionBehavior};
use tokio::sync::{mpsc, watch};

use super::batch::{Batch, Committed};
use super::open::{Opened, StoreLock};
use super::patience::Patience;
use super::reserve::Reserve;
use super::{Apply, notes, upkeep};
use crate::clock::Clock;
use crate::ledger::chain::Head;
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::event::Events;
use crate::ledger::gather::{BATCH, Gathering};
use crate::ledger::in_flight::Exchanges;
use crate::ledger::pending::{Pending, Step, failpoints};
use crate::ledger::settings::LedgerSettings;
use crate::secret::Fingerprint;
use crate::telemetry;

/// A moment in which others may ask.
const MOMENT: Duration = Duration::from_micros(200);

/// Most moments that a batch is gathered for.
const MOMENTS: u32 = 10;

/// Frames whose numbers are remembered; then the memory starts over.
const FRAMES: usize = 4096;

/// What arrives at the writer.
pub(super) enum Message {
    /// A step.
    Work(Box<dyn Work>),
    /// A test's look at the connection, outside any transaction.
    #[cfg(test)]
    Poke(Box<dyn FnOnce(&Connection) + Send>),
}

/// A step that SQLite can carry out.
pub(super) trait Work: Step {
    /// True for what may use the reserve.
    fn grants(&self) -> bool;
    /// Carries it out and keeps the answer.
    fn apply(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()>;
}

impl<A: Apply> Work for Pending<A> {
    fn grants(&self) -> bool {
        A::GRANTS
    }

    fn apply(&mut self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        self.carry_out(|intent| intent.apply(batch))
    }
}

/// The writer's state.
pub(super) struct Writer {
    connection: Connection,
    head: Head,
    shared_head: Arc<ArcSwap<Head>>,
    frames: HashMap<Fingerprint, i64>,
    reserve: Reserve,
    patience: Patience,
    sweep: upkeep::Sweep,
    events: Option<Events>,
    commits: watch::Sender<()>,
    clock: Clock,
    in_flight: Exchanges,
    /// Held until the connection is closed: fields are dropped in this order.
    _lock: StoreLock,
}

impl Writer {
    /// Registers this start as a writer of its own chain, which vouches for the chains before it.
    ///
    /// Also returns the store's id.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(super) fn start(
        opened: Opened,
        path: &Path,
        settings: &LedgerSettings,
        clock: Clock,
        in_flight: Exchanges,
    ) -> Result<(Self, [u8; 16]), LedgerError> {
        let Opened { mut connection, lock } = opened;
        let reserve = Reserve::lay(path, settings, &connection);
        let patience = Patience::new(settings.busy_timeout);
        let mut events =
            Events::start(settings).map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
        let now = clock.now().as_millisecond();
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let (head, store) = notes::register_writer(&transaction, now)?;
        let nothing = HashMap::new();
        let mut batch = Batch::new(&transaction, head, now, &nothing, events.is_some());
        notes::started(&mut batch)?;
        let Committed { head, lines, .. } = batch.into_committed();
        transaction.commit()?;
        if let Some(events) = &mut events {
            for line in lines {
                events.send(line);
            }
        }
        let shared_head = Arc::new(ArcSwap::from_pointee(head));
        let frames = HashMap::new();
        let sweep = upkeep::Sweep::default();
        let commits = watch::Sender::new(());
        let writer = Self {
            connection,
            head,
            shared_head,
            frames,
            reserve,
            patience,
            sweep,
            events,
            commits,
            clock,
            in_flight,
            _lock: lock,
        };
        Ok((writer, store))
    }

    /// The newest durable head, for checkpoints.
    pub(super) fn shared_head(&self) -> Arc<ArcSwap<Head>> {
        Arc::clone(&self.shared_head)
    }

    /// Hears of each commit that gave the stream of events something new.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        self.commits.subscribe()
    }

    /// Writes until nobody can ask any more.
    pub(super) fn run(mut self, mut messages: mpsc::Receiver<Message>) {
        let _obituary = Obituary;
        while let Some(first) = messages.blocking_recv() {
            let works = self.gather(first, &mut messages);
            self.carry_out(works);
        }
        if let Some(events) = self.events.take() {
            events.finish();
        }
        self.fold_log();
    }

    /// Takes all that wait, and for a bounded time those who are about to ask.
    fn gather(&self, first: Message, messages: &mut mpsc::Receiver<Message>) -> Vec<Box<dyn Work>> {
        let mut works = Vec::new();
        let mut next = Some(first);
        let mut gathering = Gathering::begin(&self.in_flight, MOMENTS);
        loop {
            while let Some(message) = next {
                match message {
                    Message::Work(work) => works.push(work),
                    #[cfg(test)]
                    Message::Poke(poke) => poke(&self.connection),
                }
                next = if works.len() < BATCH { messages.try_recv().ok() } else { None };
            }
            if !gathering.goes_on(works.len()) {
                return works;
            }
            std::thread::sleep(MOMENT);
            next = messages.try_recv().ok();
        }
    }

    /// Moves the write-ahead log into the file, so that after an orderly end the one file is all of the store. SQLite does
    /// so by itself only if the last connection to close may write.
    fn fold_log(&self) {
        let folded = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match folded {
            Ok(0) => {}
            Ok(_busy) => tracing::warn!("a reader kept the write-ahead log from being moved into the store"),
            Err(error) => tracing::warn!(%error, "the write-ahead log stays beside the store"),
        }
    }

    /// Commits the steps together, and settles each.
    fn carry_out(&mut self, mut works: Vec<Box<dyn Work>>) {
        if !self.reserve.is_kept() {
            self.reserve.retry(&self.connection, self.clock.now().as_second());
        }
        if !self.reserve.is_kept() {
            works = Self::turn_away_refusals(works);
        }
        if works.is_empty() {
            return;
        }
        let committed = self.commit(&mut works);
        self.patience.learn(&self.connection, committed.as_ref().err());
        let Err(error) = committed else {
            for work in works {
                work.settle(Ok(()));
            }
            return;
        };
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull)
                if self.reserve.release(&self.connection, self.clock.now().as_second()) =>
            {
                self.carry_out(works);
            }
            // One bad record must not fail the others.
            Some(ErrorCode::ConstraintViolation) if works.len() > 1 => {
                for work in works {
                    self.carry_out(vec![work]);
                }
            }
            // The environment's fault, or the only step's own.
            Some(_) | None => Self::fail(works, &error),
        }
    }

    fn fail(works: Vec<Box<dyn Work>>, error: &rusqlite::Error) {
        let why = Unavailable::from(error);
        telemetry::commit_failed();
        tracing::error!(%error, steps = works.len(), "the ledger cannot record");
        for work in works {
            work.settle(Err(why.clone()));
        }
    }

    fn turn_away_refusals(works: Vec<Box<dyn Work>>) -> Vec<Box<dyn Work>> {
        let (grants, refusals): (Vec<_>, Vec<_>) = works.into_iter().partition(|work| work.grants());
        for work in refusals {
            work.settle(Err(Unavailable::Reserved));
        }
        grants
    }

    /// One transaction. The chain's head moves only if it commits.
    fn commit(&mut self, works: &mut [Box<dyn Work>]) -> rusqlite::Result<()> {
        let (now, started) = (self.clock.now().as_millisecond(), Instant::now());
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut batch = Batch::new(&transaction, self.head, now, &self.frames, self.events.is_some());
        for work in works.iter_mut() {
            work.apply(&mut batch)?;
        }
        self.sweep.run(&mut batch)?;
        let committed = batch.into_committed();
        failpoints("before_commit", works);
        transaction.commit()?;
        failpoints("after_commit", works);
        let records = committed.head.seq - self.head.seq;
        telemetry::batch_committed(u32::try_from(records).unwrap_or(u32::MAX), started.elapsed());
        self.keep(committed);
        Ok(())
    }

    fn keep(&mut self, committed: Committed) {
        let Committed { head, new_frames, lines, authorised, grew } = committed;
        self.head = head;
        self.shared_head.store(Arc::new(head));
        if self.frames.len() + new_frames.len() > FRAMES {
            self.frames.clear();
        }
        self.frames.extend(new_frames);
        self.sweep.owe(authorised);
        if let Some(events) = &mut self.events {
            for line in lines {
                events.send(line);
            }
        }
        if grew {
            self.commits.send_replace(());
        }
    }
}

/// Says in the log that the writer died; whoever waits, and whoever asks later, is told `store_unavailable`.
struct Obituary;

impl Drop for Obituary {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the ledger's writer panicked: nothing more is issued until a restart");
        }
    }
}
