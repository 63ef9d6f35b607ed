//! One sink's task: read, send, move on; when the receiver fails, wait and try again, for as long as it takes.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::batch::Batch;
use super::cursor::{Cursor, Place};
use super::health::{Flow, Health, Stop};
use super::message::Message;
use super::record::Record;
use super::row::StreamRow;
use super::send::Transport;
use crate::config::SinkFormat;
use crate::ledger::intent::KeepCursor;
use crate::ledger::{Ledger, LedgerError};

/// Records per batch: all that a sink holds in memory.
const BATCH: usize = 500;
/// Bytes of records per batch, about.
const BATCH_BYTES: usize = 512 * 1024;
/// Pause after a commit in which others join the batch.
const LINGER: Duration = Duration::from_millis(250);
/// Pause between two notes of the cursor: what a crash sends twice.
const KEEP_EVERY: Duration = Duration::from_secs(3);
/// Pause between two looks at what other servers have written.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Pause between two attempts to take over a sink that another server runs.
const STAND_BY: Duration = Duration::from_secs(2);

/// The permission to read the store, which all sinks share.
pub(super) type Reads = Arc<Semaphore>;

/// One sink with its place in the stream.
pub(super) struct Runner {
    health: Health,
    ledger: Arc<Ledger>,
    transport: Transport,
    format: SinkFormat,
    reads: Reads,
    commits: watch::Receiver<()>,
    cursor: Cursor,
    /// The session of the store's writer by which this server has the right to run the sink.
    held_in: Option<u64>,
    /// When the cursor was noted last, and whether it has moved since.
    kept: Instant,
    moved: bool,
}

impl Runner {
    pub(super) fn new(
        health: Health,
        ledger: Arc<Ledger>,
        transport: Transport,
        format: SinkFormat,
        reads: Reads,
    ) -> Self {
        let commits = ledger.store.commits();
        let (cursor, kept) = (Cursor::default(), Instant::now());
        let (held_in, moved) = (None, false);
        Self { health, ledger, transport, format, reads, commits, cursor, held_in, kept, moved }
    }

    /// Runs until `stop`.
    pub(super) async fn run(mut self, stop: Stop) {
        while self.turn(&stop).await.is_continue() {}
        self.keep().await;
    }

    /// Sends one batch, or waits for one.
    async fn turn(&mut self, stop: &Stop) -> Flow {
        match self.hold().await {
            Ok(true) => {}
            Ok(false) => return self.stand_by(stop).await,
            Err(error) => return self.wait_for_store(&error, stop).await,
        }
        // What is committed from here on wakes the task again.
        self.commits.borrow_and_update();
        let cursor = self.cursor.clone();
        match self.read(self.ledger.store.reader().ahead(cursor, BATCH, BATCH_BYTES)).await {
            Err(error) => self.wait_for_store(&error, stop).await,
            Ok(ahead) if ahead.rows.is_empty() => self.idle(stop).await,
            Ok(ahead) => self.deliver(ahead.rows, ahead.records, stop).await,
        }
    }

    /// Sees to it that this server runs the sink, and knows how far it had come; false if another server runs it.
    async fn hold(&mut self) -> Result<bool, LedgerError> {
        if self.holds() {
            return Ok(true);
        }
        let (session, name) = (self.ledger.store.session(), self.health.name.clone());
        self.held_in = None;
        if !self.ledger.store.hold_sink(name.clone()).await? {
            return Ok(false);
        }
        let noted = self.read(self.ledger.store.reader().sink_cursor(name)).await?;
        self.cursor.join(&noted);
        self.held_in = Some(session);
        Ok(true)
    }

    /// True until the session ends by which the sink is held.
    fn holds(&self) -> bool {
        self.held_in == Some(self.ledger.store.session())
    }

    /// Waits until the server that runs the sink may be gone.
    async fn stand_by(&self, stop: &Stop) -> Flow {
        self.health.lags(0, Duration::ZERO);
        match stop.drain.run_until_cancelled(sleep(STAND_BY)).await {
            Some(()) => Flow::Continue(()),
            None => Flow::Break(()),
        }
    }

    async fn wait_for_store(&mut self, error: &LedgerError, stop: &Stop) -> Flow {
        self.health.unread(error);
        self.health.wait(stop, None).await
    }

    /// Everything is delivered: waits for a commit.
    async fn idle(&mut self, stop: &Stop) -> Flow {
        self.health.lags(0, Duration::ZERO);
        if stop.drain.is_cancelled() {
            return Flow::Break(());
        }
        let due = self.kept + KEEP_EVERY;
        tokio::select! {
            () = stop.drain.cancelled() => {}
            () = sleep_until(due), if self.moved => self.keep().await,
            () = sleep(LOOK_EVERY), if self.ledger.store.is_shared() => {}
            changed = self.commits.changed() => {
                // Without a writer nothing comes any more, and the server is about to end.
                let pause = if changed.is_ok() { LINGER } else { KEEP_EVERY };
                let _ = stop.drain.run_until_cancelled(sleep(pause)).await;
            }
        }
        Flow::Continue(())
    }

    /// Sends `rows` until the receiver has judged each, then moves the cursor past them.
    async fn deliver(&mut self, rows: Vec<StreamRow>, records: i64, stop: &Stop) -> Flow {
        let places: Vec<Place> = rows.iter().map(|row| row.place).collect();
        let mut batch = Batch::new(self.messages(rows));
        self.measure(records, &batch);
        while batch.oldest().is_some() {
            let sending = self.transport.send(batch.chunk());
            let Some(sent) = stop.cut.run_until_cancelled(sending).await else {
                return Flow::Break(());
            };
            if let Some((why, asked)) = batch.settle(sent, &mut self.health) {
                self.health.failed(&why);
                self.measure_again(&batch).await;
                if self.health.wait(stop, asked).await.is_break() {
                    return Flow::Break(());
                }
                if !self.holds() {
                    // Another server may have taken over.
                    return Flow::Continue(());
                }
            }
        }
        for place in places {
            self.cursor.advance(place);
        }
        self.moved = true;
        if self.kept.elapsed() >= KEEP_EVERY {
            self.keep().await;
        }
        Flow::Continue(())
    }

    /// The records in the sink's format. One that cannot be read is named and passed over: verification finds it too.
    fn messages(&self, rows: Vec<StreamRow>) -> Vec<Message> {
        let mut messages = Vec::with_capacity(rows.len());
        for row in rows {
            let place = row.place;
            match Record::read(row).map(|record| Message::new(&record, self.format)) {
                Ok(Ok(message)) => messages.push(message),
                Ok(Err(error)) => self.health.given_up(place, &error.to_string()),
                Err(error) => self.health.given_up(place, &error.to_string()),
            }
        }
        messages
    }

    /// Notes the cursor in the ledger.
    async fn keep(&mut self) {
        self.kept = Instant::now();
        if !self.moved {
            return;
        }
        let intent = KeepCursor { sink: self.health.name.clone(), cursor: self.cursor.clone() };
        match self.ledger.store.run(intent).await {
            Ok(noted) => {
                self.moved = false;
                match noted {
                    Some(first) => self.cursor.settle(first),
                    None => self.held_in = None,
                }
            }
            Err(why) => tracing::warn!(sink = self.health.name, %why, "a sink's place cannot be noted yet"),
        }
    }

    /// Tells how much waits, and for how long.
    fn measure(&self, records: i64, batch: &Batch) {
        let Some(oldest) = batch.oldest() else { return };
        let age = self.ledger.clock.now().duration_since(oldest.at);
        // A clock that went back says nothing about the age.
        self.health.lags(records, Duration::try_from(age).unwrap_or_default());
    }

    /// The same while nothing moves.
    async fn measure_again(&self, batch: &Batch) {
        let cursor = self.cursor.clone();
        if let Ok(records) = self.read(self.ledger.store.reader().lag(cursor)).await {
            self.measure(records, batch);
        }
    }

    /// Reads once it is this sink's turn.
    async fn read<T>(&self, reading: impl Future<Output = Result<T, LedgerError>>) -> Result<T, LedgerError> {
        // The semaphore is never closed.
        let _turn = self.reads.acquire().await.ok();
        reading.await
    }
}
