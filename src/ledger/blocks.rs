//! Blocks: the kill switch. A block stops issuing from the commit that sets it, and what lived then is ended.
//!
//! The transaction that authorises looks at the blocks; the copy in memory may only refuse earlier, before anything
//! upstream is asked.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::explained::time;
use super::intent::{BlockRow, Blocking, LiftBlock, MarkBlocked, Marked, SetBlocks, Stopping};
use super::matching::{Keys, Subjects, subjects_of};
use super::{Ledger, LedgerError};
use crate::clock::random_bytes;
use crate::domain::{BlockId, BlockKind, BlockReason, BlockSubject, Code, Refusal, RoleName, TenantName};
use crate::identity::{Caller, Runner};
use crate::secret::Fingerprint;

/// Nothing that was issued before a block lives longer: twice the longest lifetime, and the time that a mint may take.
const MARKED_AGAIN: Duration = Duration::from_hours(25);

/// A block that somebody sets.
#[derive(Debug, Clone)]
pub struct NewBlock {
    /// Where it holds; none means in every tenant.
    pub tenant: Option<TenantName>,
    /// What it stops.
    pub subject: BlockSubject,
    /// Why.
    pub reason: BlockReason,
    /// Who sets it.
    pub by: String,
    /// How long it holds; none means until it is lifted.
    pub lasts: Option<Duration>,
}

/// A message that must not set its blocks twice.
#[derive(Debug, Clone, Copy)]
pub struct Once {
    /// Hash of the message.
    pub key: Fingerprint,
    /// Until when it would be accepted again.
    pub until: Timestamp,
}

/// What came of setting blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlocksSet {
    /// In force, in the order asked for. An earlier block on the same subject that lasts as long stands for a new one.
    InForce(Vec<BlockId>),
    /// The message was used before; nothing changed.
    SeenBefore,
}

/// A recorded block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its id.
    pub id: BlockId,
    /// Where it holds; absent means in every tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantName>,
    /// What it stops.
    pub subject: BlockSubject,
    /// Why, as the blocker wrote it.
    pub reason: BlockReason,
    /// Who set it.
    pub by: String,
    /// When.
    pub set_at: Timestamp,
    /// When it ends by itself; absent if it holds until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// When it was lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_at: Option<Timestamp>,
    /// Who lifted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifted_by: Option<String>,
}

impl Block {
    /// Whether it stops anything at `now`.
    pub fn is_in_force(&self, now: Timestamp) -> bool {
        self.lifted_at.is_none() && self.expires_at.is_none_or(|expires| expires > now)
    }

    /// None if a stored value is damaged.
    pub(super) fn read(row: BlockRow) -> Option<Self> {
        Some(Self {
            id: row.id,
            tenant: if row.tenant.is_empty() { None } else { Some(row.tenant.parse().ok()?) },
            subject: row.subject.parse().ok()?,
            reason: row.reason.parse().ok()?,
            by: row.set_by,
            set_at: time(row.set_at),
            expires_at: row.expires_at.map(time),
            lifted_at: row.lifted_at.map(time),
            lifted_by: row.lifted_by,
        })
    }
}

/// What of the blocks is in memory.
pub(super) struct Blocks {
    in_force: ArcSwap<HashMap<String, Vec<BlockRow>>>,
    epoch: AtomicI64,
    /// Blocks of which not all matches are marked yet.
    marking: Mutex<VecDeque<BlockId>>,
    wake: Notify,
    tell_reasons: bool,
}

impl Blocks {
    /// The blocks in force. What a former run may not have marked to its end is marked again.
    pub(super) fn new((epoch, rows): (i64, Vec<BlockRow>), now: Timestamp, tell_reasons: bool) -> Self {
        let recent = now.saturating_sub(MARKED_AGAIN).map_or(i64::MIN, Timestamp::as_millisecond);
        let marking = rows.iter().filter(|row| row.set_at >= recent).map(|row| row.id).collect();
        let blocks = Self {
            in_force: ArcSwap::default(),
            epoch: AtomicI64::new(epoch),
            marking: Mutex::new(marking),
            wake: Notify::new(),
            tell_reasons,
        };
        blocks.put(epoch, rows);
        blocks
    }

    fn put(&self, epoch: i64, rows: Vec<BlockRow>) {
        let mut by_subject: HashMap<String, Vec<BlockRow>> = HashMap::new();
        for row in rows {
            by_subject.entry(row.subject.clone()).or_default().push(row);
        }
        self.in_force.store(by_subject.into());
        self.epoch.store(epoch, Ordering::Relaxed);
    }

    fn stopping(&self, tenant: &str, subjects: &Subjects, now: Timestamp) -> Option<Stopping> {
        let in_force = self.in_force.load();
        if in_force.is_empty() {
            return None;
        }
        let now = now.as_millisecond();
        let holds = |row: &&BlockRow| {
            (row.tenant.is_empty() || row.tenant == tenant)
                && row.expires_at.is_none_or(|expires| expires > now)
        };
        let mut rows = subjects.0.iter().filter_map(|subject| in_force.get(subject)).flatten();
        let row = rows.find(holds)?;
        Some(Stopping { block: row.id, subject: row.subject.clone(), reason: row.reason.clone() })
    }

    /// What a blocked caller is told, and what the record holds.
    pub(super) fn refusal(&self, stopping: &Stopping) -> Refusal {
        let Stopping { block, subject, reason } = stopping;
        let message = if self.tell_reasons {
            format!("this is blocked: {reason}")
        } else {
            "this is blocked".to_owned()
        };
        Refusal::new(Code::Blocked, message).with_detail(format!("block {block} on {subject}: {reason}"))
    }

    fn queue(&self) -> MutexGuard<'_, VecDeque<BlockId>> {
        self.marking.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    /// Sets blocks, all or none. On return nothing that they match can be authorised or leased any more, and all that
    /// lives is marked as to be ended.
    ///
    /// # Errors
    /// `blocks_full`, `store_unavailable`, `internal`.
    pub async fn block(&self, new: Vec<NewBlock>, once: Option<Once>) -> Result<BlocksSet, Refusal> {
        let rows = new.into_iter().map(|new| self.row(new)).collect::<Result<_, _>>()?;
        let once = once.map(|once| (once.key, once.until.as_millisecond()));
        let set = SetBlocks { blocks: rows, once };
        let marked = match self.store.run(set).await.map_err(|why| why.refusal())? {
            Blocking::Set(marked) => marked,
            Blocking::Replayed => return Ok(BlocksSet::SeenBefore),
            Blocking::Full => {
                let message = "as many blocks are in force as are held; block something wider, or lift some";
                return Err(Refusal::new(Code::BlocksFull, message));
            }
        };
        self.refresh_blocks().await;
        self.blocks.wake.notify_one();
        self.blocks.queue().extend(marked.iter().filter(|one| one.more).map(|one| one.block));
        self.mark_rest().await;
        Ok(BlocksSet::InForce(marked.iter().map(|one| one.block).collect()))
    }

    fn row(&self, new: NewBlock) -> Result<BlockRow, Refusal> {
        let NewBlock { tenant, subject, reason, by, lasts } = new;
        let now = self.clock.now();
        let random =
            random_bytes().map_err(|_| Refusal::new(Code::Internal, "no random bytes for a block"))?;
        let set_at = now.as_millisecond();
        Ok(BlockRow {
            id: BlockId::new(set_at.unsigned_abs(), &random),
            tenant: tenant.as_ref().map(ToString::to_string).unwrap_or_default(),
            subject: subject.to_string(),
            reason: reason.into(),
            set_by: by,
            set_at,
            expires_at: lasts
                .map(|lasts| now.saturating_add(lasts).unwrap_or(Timestamp::MAX).as_millisecond()),
            lifted_at: None,
            lifted_by: None,
        })
    }

    /// Lifts a block; false if none of that id is in force that `tenant` may lift. What it ended stays ended.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn lift_block(
        &self,
        block: BlockId,
        tenant: Option<&TenantName>,
        by: String,
    ) -> Result<bool, Refusal> {
        let lift = LiftBlock { block, tenant: tenant.map(ToString::to_string).unwrap_or_default(), by };
        let lifted = self.store.run(lift).await.map_err(|why| why.refusal())?;
        self.refresh_blocks().await;
        Ok(lifted)
    }

    /// The blocks that `tenant` may see, newest first; only those in force, or also what is over.
    ///
    /// # Errors
    /// The store cannot be read, or a block is damaged.
    pub async fn blocks(&self, tenant: Option<&TenantName>, all: bool) -> Result<Vec<Block>, LedgerError> {
        let tenant = tenant.map(ToString::to_string).unwrap_or_default();
        let now = (!all).then(|| self.clock.now().as_millisecond());
        let rows = self.store.reader().blocks(tenant, now).await?;
        let blocks: Option<_> = rows.into_iter().map(Block::read).collect();
        blocks.ok_or(LedgerError::Damaged { what: "block" })
    }

    /// How many blocks are in force.
    pub fn blocks_in_force(&self) -> u32 {
        let now = self.clock.now().as_millisecond();
        let in_force = self.blocks.in_force.load();
        let rows = in_force.values().flatten();
        let count = rows.filter(|row| row.expires_at.is_none_or(|expires| expires > now)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// The refusal of a request that a block in force stops, as far as memory and what is known before there are facts
    /// say. None permits nothing: [`Self::authorise`] looks again.
    pub fn blocked(&self, caller: &Caller, runner: Option<&Runner>, role: &RoleName) -> Option<Refusal> {
        if self.blocks.in_force.load().is_empty() {
            return None;
        }
        let subjects = subjects_of(caller, runner, role);
        let stopping = self.blocks.stopping(caller.tenant().as_str(), &subjects, self.clock.now())?;
        Some(self.blocks.refusal(&stopping))
    }

    /// The refusal of an operation of `caller`, which a block may be about as such. A block on everything stops issuing
    /// alone: somebody must be able to lift it.
    pub fn blocked_operator(&self, caller: &Caller) -> Option<Refusal> {
        let mut subjects =
            Keys::of(caller, None).subjects(caller.tenant().as_str(), caller.principal().as_str(), "");
        subjects.0.retain(|subject| subject != BlockKind::Everything.as_str());
        let stopping = self.blocks.stopping(caller.tenant().as_str(), &subjects, self.clock.now())?;
        Some(self.blocks.refusal(&stopping))
    }

    /// Waits until a block has marked something as to be ended.
    pub async fn end_wanted(&self) {
        self.blocks.wake.notified().await;
    }

    /// Reads the blocks again if somebody set or lifted one, here or on another replica.
    pub(super) async fn refresh_blocks(&self) {
        let (known, now) = (self.blocks.epoch.load(Ordering::Relaxed), self.clock.now().as_millisecond());
        match self.store.reader().blocks_in_force(Some(known), now).await {
            Ok(None) => {}
            Ok(Some((epoch, rows))) => {
                self.blocks.put(epoch, rows);
                self.blocks.wake.notify_one();
            }
            Err(error) => tracing::error!(%error, "the blocks in memory are not up to date"),
        }
    }

    /// Goes on marking where one transaction was not enough.
    pub(super) async fn mark_rest(&self) {
        loop {
            let Some(block) = self.blocks.queue().front().copied() else { return };
            match self.store.run(MarkBlocked { block }).await {
                Ok(Some(Marked { more: true, .. })) => {}
                Ok(_) => {
                    self.blocks.queue().retain(|waiting| *waiting != block);
                    self.blocks.wake.notify_one();
                }
                Err(why) => {
                    return tracing::error!(%block, %why, "not all that a block ends is marked yet");
                }
            }
        }
    }
}
