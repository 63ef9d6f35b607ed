//! The one task that writes: takes one step, then all that wait, and commits them together.
//!
//! Nothing else forms the batches. Under load they form by themselves while one is carried out, which takes several answers
//! of the database: waiting for more, as the SQLite writer does, was measured and made exchanges slower. Replies go out
//! after the commit, never before. If the connection breaks, nobody in the batch is told that it succeeded, and the
//! next session finds out what became of it before it writes anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use sqlx::Connection;
use tokio::sync::{mpsc, watch};

use super::batch::Batch;
use super::connect::{self, ServerDurability, Way};
use super::fault::Fault;
use super::flush::{self, Frames};
use super::load::load;
use super::load_blocks::Known;
use super::needs::Needs;
use super::notes::Start;
use super::session::Session;
use super::{Apply, lock, notes, schema, upkeep};
use crate::clock::Clock;
use crate::ledger::chain::Head;
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::event::{Events, Line};
use crate::ledger::gather::BATCH;
use crate::ledger::pending::{Pending, Step, failpoints};
use crate::ledger::settings::LedgerSettings;
use crate::telemetry;

/// Frames whose numbers are remembered; then the memory starts over.
const FRAMES: usize = 4096;

/// How often a batch runs again because another server came first.
const RACES: u32 = 8;

/// Longest that a batch may take.
const PATIENCE: Duration = Duration::from_secs(12);

/// A step that PostgreSQL can carry out.
pub(super) trait Work: Step {
    /// True if no other batch may be carried out meanwhile, on any server.
    fn is_alone(&self) -> bool;
    /// Names the rows that it looks at.
    fn needs(&self, needs: &mut Needs);
    /// Carries it out and keeps the answer.
    fn apply(&mut self, batch: &mut Batch) -> sqlx::Result<()>;
}

impl<A: Apply> Work for Pending<A> {
    fn is_alone(&self) -> bool {
        A::ALONE
    }

    fn needs(&self, needs: &mut Needs) {
        self.intent().needs(needs);
    }

    fn apply(&mut self, batch: &mut Batch) -> sqlx::Result<()> {
        self.carry_out(|intent| intent.apply(batch))
    }
}

type Works = Vec<Box<dyn Work>>;

/// The writer's state.
pub(super) struct Writer {
    session: Session,
    head: Head,
    shared_head: Arc<ArcSwap<Head>>,
    frames: Frames,
    blocks: Known,
    owed: i64,
    events: Option<Events>,
    commits: watch::Sender<()>,
    clock: Clock,
    durability: ServerDurability,
}

/// Why steps could not be committed together, and whether each may be tried alone.
struct Failed {
    why: Unavailable,
    alone: bool,
}

impl Writer {
    /// Connects, brings the schema up to date, and registers this start.
    pub(super) async fn start(
        way: Way,
        settings: &LedgerSettings,
        clock: Clock,
    ) -> Result<Self, LedgerError> {
        let mut migrating = connect::connect(&way).await?;
        schema::bring_up(&mut migrating, &settings.place.to_string()).await?;
        migrating.close().await?;
        let (mut connection, durability) = connect::writable(&way).await?;
        let mut events = Events::start(settings).map_err(LedgerError::Events)?;
        let now = clock.now().as_millisecond();
        let registered = notes::register(&mut connection, now, events.is_some()).await?;
        send(&mut events, registered.lines);
        let head = registered.head;
        Ok(Self {
            session: Session::new(way, registered.store, connection),
            head,
            shared_head: Arc::new(ArcSwap::from_pointee(head)),
            frames: Frames::new(),
            blocks: Known::default(),
            owed: 0,
            events,
            commits: watch::Sender::new(()),
            clock,
            durability,
        })
    }

    pub(super) const fn durability(&self) -> &ServerDurability {
        &self.durability
    }

    pub(super) const fn store(&self) -> &[u8; 16] {
        self.session.store()
    }

    /// True while the database is reached.
    pub(super) fn up(&self) -> Arc<AtomicBool> {
        self.session.up()
    }

    /// How many sessions have ended.
    pub(super) fn sessions(&self) -> Arc<AtomicU64> {
        self.session.sessions()
    }

    /// Hears of each commit that gave the stream of events something new.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        self.commits.subscribe()
    }

    /// The newest durable head, for checkpoints.
    pub(super) fn shared_head(&self) -> Arc<ArcSwap<Head>> {
        Arc::clone(&self.shared_head)
    }

    /// Writes until nobody can ask any more, or the database lost what it had committed.
    pub(super) async fn run(mut self, mut messages: mpsc::Receiver<Box<dyn Work>>) {
        let mut works = Works::new();
        while !self.session.is_lost() && messages.recv_many(&mut works, BATCH).await > 0 {
            for works in groups(std::mem::take(&mut works)) {
                self.carry_out(works).await;
            }
        }
        if let Some(events) = self.events.take() {
            events.finish();
        }
        self.session.close().await;
    }

    /// Commits the steps together, and settles each.
    async fn carry_out(&mut self, mut works: Works) {
        match self.together(&mut works).await {
            Ok(()) => settle(works, &Ok(())),
            // One bad record must not fail the others.
            Err(Failed { alone: true, .. }) if works.len() > 1 => {
                for work in works {
                    let mut alone = vec![work];
                    let done = self.together(&mut alone).await.map_err(|failed| failed.why);
                    settle(alone, &done);
                }
            }
            Err(Failed { why, .. }) => settle(works, &Err(why)),
        }
    }

    /// Commits the steps in one transaction, again as long as other servers come first.
    async fn together(&mut self, works: &mut Works) -> Result<(), Failed> {
        let mut races = 0;
        loop {
            let (head, now) = (self.head, self.clock.now().as_millisecond());
            let start = Start { head, now, with_lines: self.events.is_some() };
            let resumed = self.session.ensure(start).await;
            if let Some(registered) = resumed.map_err(|why| Failed { why, alone: false })? {
                self.frames.clear();
                self.blocks = Known::default();
                self.reach(registered.head);
                send(&mut self.events, registered.lines);
            }
            let committed = tokio::time::timeout(PATIENCE, self.commit(works)).await;
            let error = match committed {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => error,
                Err(_) => sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()),
            };
            let fault = Fault::of(&error);
            if fault == Fault::Broken {
                self.session.drop_connection();
            }
            races += 1;
            if fault != Fault::Race || races > RACES {
                let alone = matches!(fault, Fault::Race | Fault::Record);
                return Err(Failed { why: Unavailable::from(&error), alone });
            }
            tracing::debug!(%error, "another server came first");
        }
    }

    /// One transaction. The chain's head moves only if it commits.
    async fn commit(&mut self, works: &mut Works) -> sqlx::Result<()> {
        let (now, started) = (self.clock.now().as_millisecond(), Instant::now());
        let mut needs = Needs::default();
        for work in works.iter() {
            work.needs(&mut needs);
        }
        let begin = if works.iter().any(|work| work.is_alone()) { lock::BEGIN_ALONE } else { lock::BEGIN };
        let mut transaction = self.session.connection()?.begin_with(begin).await?;
        let held = load(&mut transaction, needs, now, &self.blocks).await?;
        let mut batch = Batch::new(held, self.head, now, self.events.is_some());
        works.iter_mut().try_for_each(|work| work.apply(&mut batch))?;
        let new = flush::flush(&mut transaction, &batch, &self.frames).await?;
        let owed = upkeep::sweep(&mut transaction, self.owed, now).await?;
        failpoints("before_commit", works);
        transaction.commit().await?;
        failpoints("after_commit", works);
        self.owed = owed + batch.authorised;
        self.keep(batch, new, started.elapsed());
        Ok(())
    }

    fn keep(&mut self, batch: Batch, new: Frames, took: Duration) {
        let head = batch.head();
        telemetry::batch_committed(u32::try_from(head.seq - self.head.seq).unwrap_or(u32::MAX), took);
        self.reach(head);
        if self.frames.len() + new.len() > FRAMES {
            self.frames.clear();
        }
        self.frames.extend(new);
        if let Some(blocks) = &batch.held.blocks {
            self.blocks = blocks.clone();
        }
        if batch.grew() {
            self.commits.send_replace(());
        }
        send(&mut self.events, batch.into_lines());
    }

    fn reach(&mut self, head: Head) {
        self.head = head;
        self.shared_head.store(Arc::new(head));
    }
}

fn send(events: &mut Option<Events>, lines: Vec<Line>) {
    if let Some(events) = events {
        for line in lines {
            events.send(line);
        }
    }
}

/// The steps in order, in as few transactions as may be: what is carried out alone has one of its own.
fn groups(works: Works) -> Vec<Works> {
    let mut groups: Vec<Works> = Vec::new();
    for work in works {
        match groups.last_mut() {
            Some(last) if !work.is_alone() && !last.first().is_some_and(|first| first.is_alone()) => {
                last.push(work);
            }
            Some(_) | None => groups.push(vec![work]),
        }
    }
    groups
}

fn settle(works: Works, done: &Result<(), Unavailable>) {
    if let Err(why) = done {
        telemetry::commit_failed();
        tracing::error!(%why, steps = works.len(), "the ledger cannot record");
    }
    for work in works {
        work.settle(done.clone());
    }
}
