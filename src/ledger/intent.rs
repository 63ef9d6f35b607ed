//! What the ledger is asked to do, as data: each intent is one all-or-nothing step, whatever store carries it out.
//!
//! Everything that costs time (JSON, sealing, hashing rows) is done before an intent is made; a store's one writer
//! only compares, stores and chains. SQLite carries them out in `sqlite/`, PostgreSQL in `postgres/`, whose module says
//! what a new intent needs.

use std::sync::Arc;

use jiff::Timestamp;

use super::counts::Counted;
use super::heartbeats::Interval;
use super::kind::Kind;
use super::record::DecisionRow;
use super::sinks::Cursor;
use super::{EndHow, Record, endings};
use crate::domain::{BlockId, DecisionId, LeaseId, Thumbprint};
use crate::secret::Fingerprint;
use crate::signing::KeyRecord;

/// How long the same `Idempotency-Key` makes a retry safe, counted from the first attempt: retries do not prolong it.
pub(super) const RETRY_MILLIS: i64 = 60_000;

/// What the ledger can be asked.
pub(super) trait Intent: Send + Sync + 'static {
    /// What it answers, after the commit.
    type Output: Send + 'static;

    /// True for what may use the storage that is reserved for grants: all but refusals.
    const GRANTS: bool = true;
}

macro_rules! intents {
    ($($intent:ty => $output:ty $(, grants: $grants:literal)?;)+) => {
        $(impl Intent for $intent {
            type Output = $output;
            $(const GRANTS: bool = $grants;)?
        })+
    };
}

intents! {
    Authorise => Authorisation;
    Lease => Leasing;
    Renew => Renewing;
    Adopt => Settled;
    Close => Settled;
    Decide => (), grants: false;
    Operate => bool;
    Count => (), grants: false;
    AskEnd => Asked;
    Claim => Vec<endings::Claim>;
    Postpone => Vec<Record>;
    End => Settled;
    Hear => Vec<LeaseId>;
    Revise => ();
    InsertKeys => bool;
    StoreKeys => ();
    KeepIssuerKeys => ();
    ResealIssuerKeys => bool;
    StoreCheckpoint => bool;
    HoldSink => bool;
    KeepCursor => Option<i64>;
    Upkeep => Vec<LeaseId>;
    SetBlocks => Blocking;
    MarkBlocked => Option<Marked>;
    LiftBlock => bool;
    Prune => bool;
}

/// Records an authorisation; settles replay and idempotency.
#[derive(Debug)]
pub(super) struct Authorise {
    pub(super) row: DecisionRow,
    /// For every token shown whose issuer's may not be used again: hash of token and role, and when it is dead for certain.
    pub(super) replay: Vec<(Fingerprint, i64)>,
    /// The proof of possession that came with it, and until when it is remembered: used once, whatever its token is.
    pub(super) proof: Option<(Fingerprint, i64)>,
    pub(super) idempotency: Option<Idempotency>,
    /// The lease that it renews, which must not be over.
    pub(super) renews: Option<LeaseId>,
}

/// A client's key for retries.
#[derive(Debug, Clone)]
pub(super) struct Idempotency {
    /// Hash of tenant, principal and the client's key.
    pub(super) key: Fingerprint,
    /// Hash of what was asked.
    pub(super) request: Fingerprint,
}

/// How [`Authorise`] ends.
#[derive(Debug)]
pub(super) enum Authorisation {
    Recorded {
        at: i64,
        superseded: Option<SupersededRow>,
    },
    Replayed,
    ProofReplayed,
    IdempotencyConflict,
    /// The lease to be renewed is over.
    LeaseOver,
    Blocked(Stopping),
}

/// What a retry takes the place of.
#[derive(Debug)]
pub(super) struct SupersededRow {
    pub(super) decision: [u8; 16],
    pub(super) lease: Option<[u8; 16]>,
    pub(super) target: String,
    pub(super) role: String,
    pub(super) handle: Vec<u8>,
}

/// Records a lease for an authorisation that is still open.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) id: LeaseId,
    pub(super) decision: DecisionId,
    pub(super) tenant: String,
    pub(super) secret: Fingerprint,
    pub(super) issued_at: i64,
    pub(super) dies_at: Timestamp,
    pub(super) revocable: bool,
    /// The key, or the SPIFFE ID, that it is bound to.
    pub(super) bound_to: Option<Thumbprint>,
    /// Of the client's key, so that a retry finds this lease.
    pub(super) idempotency: Option<Fingerprint>,
    /// Silence after which it is ended, milliseconds.
    pub(super) heartbeat: Option<i64>,
}

/// How [`Lease`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leasing {
    Recorded,
    /// The authorisation is leased, abandoned or expired already.
    NotOpen,
    /// A retry took its place.
    Superseded,
    /// A block was set since the authorisation.
    Blocked,
}

/// Records that a lease lives longer, by an authorisation that is still open.
#[derive(Debug)]
pub(super) struct Renew {
    pub(super) lease: LeaseId,
    pub(super) decision: DecisionId,
    pub(super) dies_at: i64,
}

/// How [`Renew`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Renewing {
    /// With when the lease dies now.
    Recorded(i64),
    /// The authorisation is used, abandoned or expired already.
    NotOpen,
    /// A block was set since the authorisation.
    Blocked,
    /// Somebody wants the lease ended.
    LeaseOver,
}

/// Settles an authorised renewal of which nobody knows what came of it: the lease may live as long as it allowed.
#[derive(Debug)]
pub(super) struct Adopt {
    pub(super) lease: LeaseId,
    pub(super) decision: DecisionId,
    /// Of the claim under which it is looked after; the path of its own request has none.
    pub(super) fence: Option<i64>,
}

/// Closes an authorisation without a lease.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) decision: DecisionId,
    pub(super) why: Closing,
    /// True if nothing lives any more; false keeps it listed until it is dead by itself.
    pub(super) dead: bool,
    /// Of the claim under which it was looked after; the path of its own request has none.
    pub(super) fence: Option<i64>,
}

/// Why an authorisation is closed.
#[derive(Debug)]
pub(super) enum Closing {
    /// The path of its request failed.
    Abandoned { code: &'static str },
    /// Recovery looked after it.
    Resolved,
}

impl Closing {
    /// The state that it leaves, the kind of its record, and the code that the record holds.
    pub(super) fn recorded(&self) -> (&'static str, Kind, Option<String>) {
        match self {
            Self::Abandoned { code } => ("abandoned", Kind::Abandoned, Some((*code).to_owned())),
            Self::Resolved => ("unknown", Kind::Resolved, None),
        }
    }
}

/// Records a decision that leads to no mint.
#[derive(Debug)]
pub(super) struct Decide {
    pub(super) row: Arc<DecisionRow>,
}

/// Records that an operation is permitted; does not if the proof was used before.
#[derive(Debug)]
pub(super) struct Operate {
    pub(super) row: Arc<DecisionRow>,
    /// True if it goes on with one that is on record: its proof is used up, and nothing is recorded.
    pub(super) goes_on: bool,
    /// As [`Authorise::proof`].
    pub(super) proof: Option<(Fingerprint, i64)>,
}

/// Records counts of refusals.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) rows: Arc<Vec<Counted>>,
}

/// Marks a lease as to be ended, and claims its end for whoever asks.
#[derive(Debug)]
pub(super) struct AskEnd {
    pub(super) lease: LeaseId,
    pub(super) ticket: i64,
}

/// How [`AskEnd`] ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// Nothing is left to end.
    Settled,
    /// Another worker is at it.
    Busy,
    /// The asker ends it, under this fence.
    Claimed(i64),
}

/// Claims what still has to be ended, is due, and is free; the answer is what was claimed.
#[derive(Debug)]
pub(super) struct Claim {
    pub(super) records: Vec<Record>,
    /// True if it is due whatever its pause says.
    pub(super) urgent: bool,
    pub(super) ticket: i64,
}

/// Gives claims back after attempts that failed; the answer is what has now failed too often.
#[derive(Debug)]
pub(super) struct Postpone {
    pub(super) items: Vec<Postponed>,
    /// Why, as a refusal code.
    pub(super) code: &'static str,
}

/// A claim that is given back.
#[derive(Debug)]
pub(super) struct Postponed {
    pub(super) record: Record,
    pub(super) fence: i64,
    /// False if its turn did not come.
    pub(super) tried: bool,
    /// Spreads the pause.
    pub(super) jitter: u8,
}

/// Records that a lease was ended, or that nothing more can be done.
#[derive(Debug)]
pub(super) struct End {
    pub(super) lease: LeaseId,
    pub(super) how: EndHow,
    /// Of the claim under which it was ended.
    pub(super) fence: i64,
}

/// How [`End`] and [`Close`] end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    Recorded,
    /// It was so before.
    Before,
    /// The fence is not that of the newest claim.
    Stale,
}

/// Records heartbeats and that this writer was ready; marks leases that were silent too long as to be ended, which are
/// the answer.
#[derive(Debug)]
pub(super) struct Hear {
    /// Lease and time, Unix milliseconds.
    pub(super) beats: Vec<(LeaseId, i64)>,
    /// None for heartbeats alone: nobody is ended then.
    pub(super) ready: Option<Interval>,
}

/// The block that stops a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stopping {
    pub(super) block: BlockId,
    pub(super) subject: String,
    pub(super) reason: String,
}

/// Sets blocks, all or none, and marks what they match as to be ended.
#[derive(Debug)]
pub(super) struct SetBlocks {
    pub(super) blocks: Vec<BlockRow>,
    /// Hash of the message that asks for them, and until when it could be sent again.
    pub(super) once: Option<(Fingerprint, i64)>,
}

/// A block as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct BlockRow {
    pub(super) id: BlockId,
    /// Empty for every tenant.
    pub(super) tenant: String,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) set_by: String,
    pub(super) set_at: i64,
    pub(super) expires_at: Option<i64>,
    pub(super) lifted_at: Option<i64>,
    pub(super) lifted_by: Option<String>,
}

/// How [`SetBlocks`] ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Blocking {
    /// For each in order: the block in force, which is an earlier one if that lasts as long.
    Set(Vec<Marked>),
    /// The message was used before.
    Replayed,
    /// As many blocks are in force as are held.
    Full,
}

/// A block whose matches are being marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marked {
    pub(super) block: BlockId,
    /// True if not all could be marked in one transaction.
    pub(super) more: bool,
}

/// Goes on marking what a block matches; the answer is none if it is no longer in force.
#[derive(Debug)]
pub(super) struct MarkBlocked {
    pub(super) block: BlockId,
}

/// Lifts a block that is in force; the answer is the block, if there was one.
#[derive(Debug)]
pub(super) struct LiftBlock {
    pub(super) block: BlockId,
    /// The lifter's tenant; empty for the server itself.
    pub(super) tenant: String,
    pub(super) by: String,
}

/// Records that another configuration is in force.
#[derive(Debug)]
pub(super) struct Revise {
    pub(super) configuration: Fingerprint,
    pub(super) policy: Fingerprint,
}

/// Adds signing keys if there are none; the answer is whether they were added.
pub(super) struct InsertKeys {
    pub(super) keys: Vec<KeyRecord>,
}

/// Adds signing keys, or replaces those with their ids, together. A key that is revoked stays as it is.
pub(super) struct StoreKeys {
    pub(super) keys: Vec<KeyRecord>,
}

/// Remembers an issuer's keys.
#[derive(Clone)]
pub(super) struct KeepIssuerKeys {
    pub(super) issuer: String,
    pub(super) sealed: Vec<u8>,
    pub(super) fetched_at: i64,
}

/// Replaces the seal of an issuer's keys, unless they were fetched anew meanwhile; the answer is whether it did.
#[derive(Clone)]
pub(super) struct ResealIssuerKeys {
    pub(super) issuer: String,
    pub(super) former: Vec<u8>,
    pub(super) sealed: Vec<u8>,
}

/// Stores a signed checkpoint; the answer is false if another server took its number.
#[derive(Clone)]
pub(super) struct StoreCheckpoint {
    pub(super) n: i64,
    pub(super) at: i64,
    pub(super) jws: String,
}

/// Takes the right to run a sink of events, which a server keeps as long as its session lasts; the answer is false if
/// another server has it. Nobody asks a SQLite store, which has one server.
#[derive(Debug)]
pub(super) struct HoldSink {
    pub(super) sink: String,
}

/// Notes how far a sink of events has come, and which writers are over and delivered. No place moves back. The answer is
/// the first writer that may still have something to send; none, and nothing noted, if another server runs the sink.
#[derive(Debug)]
pub(super) struct KeepCursor {
    pub(super) sink: String,
    pub(super) cursor: Cursor,
}

/// Closes what is dead by itself and forgets what is no longer needed, a bounded amount at a time; the answer is leases
/// that died before any target confirmed their end.
#[derive(Debug)]
pub(super) struct Upkeep;

/// Removes the beginning of a chain with what it is about, and records the seal; the answer is false, and nothing is removed,
/// if the chain or a signing key changed since it was planned.
#[derive(Debug, Clone)]
pub(super) struct Prune {
    pub(super) writer: i64,
    /// The first record that is there, and the last one to go.
    pub(super) first: i64,
    pub(super) last: i64,
    pub(super) leases: Vec<[u8; 16]>,
    pub(super) decisions: Vec<[u8; 16]>,
    pub(super) blocks: Vec<[u8; 16]>,
    /// Signing keys whose last record goes: id and body, to be recorded again.
    pub(super) keys: Vec<(String, String)>,
    /// Seals of other chains that go: writer and body, to be recorded again.
    pub(super) seals: Vec<(i64, String)>,
    /// Of the new seal's record.
    pub(super) body: String,
}
