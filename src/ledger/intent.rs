//! What the ledger is asked to do, as data: each intent is one all-or-nothing step, whatever store carries it out.
//!
//! Everything that costs time (JSON, sealing, hashing rows) is done before an intent is made; a store's one writer
//! only compares, stores and chains. SQLite carries them out in `sqlite/`, PostgreSQL in `postgres/`, whose module says
//! what a new intent needs.

use std::sync::Arc;

use jiff::Timestamp;

use super::EndHow;
use super::counts::Counted;
use super::kind::Kind;
use super::record::DecisionRow;
use super::sinks::Cursor;
use crate::domain::{DecisionId, LeaseId};
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
    Close => bool;
    Decide => (), grants: false;
    Operate => ();
    Count => (), grants: false;
    AskEnd => bool;
    End => bool;
    Revise => ();
    InsertKeys => bool;
    StoreKeys => ();
    KeepIssuerKeys => ();
    ResealIssuerKeys => bool;
    StoreCheckpoint => bool;
    HoldSink => bool;
    KeepCursor => Option<i64>;
    Upkeep => ();
}

/// Records an authorisation; settles replay and idempotency.
#[derive(Debug)]
pub(super) struct Authorise {
    pub(super) row: DecisionRow,
    /// Hash of token and role, and when the token is dead for certain; none if its issuer's tokens may be used again.
    pub(super) replay: Option<(Fingerprint, i64)>,
    pub(super) idempotency: Option<Idempotency>,
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
    Recorded { at: i64, superseded: Option<SupersededRow> },
    Replayed,
    IdempotencyConflict,
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
    /// Of the client's key, so that a retry finds this lease.
    pub(super) idempotency: Option<Fingerprint>,
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

/// Closes an authorisation without a lease.
#[derive(Debug)]
pub(super) struct Close {
    pub(super) decision: DecisionId,
    pub(super) why: Closing,
    /// True if nothing lives any more; false keeps it listed until it is dead by itself.
    pub(super) dead: bool,
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

/// Records that an operation is permitted.
#[derive(Debug)]
pub(super) struct Operate {
    pub(super) row: Arc<DecisionRow>,
}

/// Records counts of refusals.
#[derive(Debug)]
pub(super) struct Count {
    pub(super) rows: Arc<Vec<Counted>>,
}

/// Marks a lease as to be ended; the answer is false if there is no such lease.
#[derive(Debug)]
pub(super) struct AskEnd {
    pub(super) lease: LeaseId,
}

/// Records that a lease was ended, or that nothing more can be done.
#[derive(Debug)]
pub(super) struct End {
    pub(super) lease: LeaseId,
    pub(super) how: EndHow,
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

/// Closes what is dead by itself and forgets what is no longer needed, a bounded amount at a time.
#[derive(Debug)]
pub(super) struct Upkeep;
