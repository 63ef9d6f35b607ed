//! What a batch's steps will look at, collected before anything is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{BlockId, DecisionId, LeaseId};
use crate::ledger::Record;
use crate::ledger::intent::BlockRow;
use crate::ledger::sinks::Cursor;
use crate::secret::Fingerprint;

/// Keys of rows, per table.
#[derive(Default)]
pub(in crate::ledger) struct Needs {
    pub(super) replay: BTreeSet<[u8; 32]>,
    pub(super) idempotency: BTreeSet<[u8; 32]>,
    pub(super) authorisations: BTreeSet<[u8; 16]>,
    pub(super) leases: BTreeSet<[u8; 16]>,
    /// Attempts to end something, by the id of the lease or the authorisation.
    pub(super) endings: BTreeSet<[u8; 16]>,
    /// By lease.
    pub(super) heartbeats: BTreeSet<[u8; 16]>,
    /// The time at which whoever was silent too long is looked for.
    pub(super) silent_at: Option<i64>,
    /// Authorisations that are to be used, whether or not a block stops them meanwhile.
    pub(super) using: BTreeSet<[u8; 16]>,
    /// What is to be marked for blocks, in order.
    pub(super) marking: Vec<Marking>,
    /// Decisions that a retry may take the place of; found while loading.
    pub(super) decisions: BTreeSet<[u8; 16]>,
    pub(super) issuers: BTreeSet<String>,
    /// Sinks to be run by this server, with what each has delivered.
    pub(super) sinks: BTreeMap<String, Cursor>,
    /// The writer whose chain is to be cut.
    pub(super) pruning: Option<i64>,
    also: BTreeSet<Also>,
}

/// What lives and has to be marked.
pub(super) enum Marking {
    /// For a block that is about to be set.
    New(BlockRow),
    /// For a block in force.
    Known(BlockId),
}

/// What is needed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Also {
    /// The block epoch, and the blocks in force.
    Blocks,
    /// Every signing key, which nobody else may change meanwhile.
    SigningKeys,
    /// The number of the newest checkpoint, which nobody else may follow meanwhile.
    LastCheckpoint,
    /// Authorisations that are dead by themselves.
    Expired,
    /// Attempts to end what is dead by itself.
    Lapsed,
}

impl Needs {
    /// The claim on a token.
    pub(super) fn replay(&mut self, token: &Fingerprint) {
        self.replay.insert(*token.as_bytes());
    }

    /// The attempt that holds a client's key, with all that it left.
    pub(super) fn attempt(&mut self, key: &Fingerprint) {
        self.idempotency.insert(*key.as_bytes());
    }

    /// An open authorisation that is to lead to something, and the blocks that were set since.
    pub(super) fn using(&mut self, decision: DecisionId) {
        self.also(Also::Blocks);
        self.authorisation(decision);
        self.using.insert(*decision.as_bytes());
    }

    /// An authorisation without a lease.
    pub(super) fn authorisation(&mut self, decision: DecisionId) {
        self.authorisations.insert(*decision.as_bytes());
    }

    /// An issuer's remembered keys.
    pub(super) fn issuer(&mut self, issuer: &str) {
        self.issuers.insert(issuer.to_owned());
    }

    /// The right to run a sink that has delivered `cursor`.
    pub(super) fn sink(&mut self, name: &str, cursor: &Cursor) {
        self.sinks.entry(name.to_owned()).or_default().join(cursor);
    }

    /// Something as a whole.
    pub(super) fn also(&mut self, what: Also) {
        self.also.insert(what);
    }

    /// True if it was asked for.
    pub(super) fn wants(&self, what: Also) -> bool {
        self.also.contains(&what)
    }

    /// A lease.
    pub(super) fn lease(&mut self, lease: LeaseId) {
        self.leases.insert(*lease.as_bytes());
    }

    /// Something that is to be ended, with the attempts at it.
    pub(super) fn ending(&mut self, record: Record) {
        match record {
            Record::Lease(lease) => self.lease(lease),
            Record::Authorisation(decision) => self.authorisation(decision),
        }
        self.endings.insert(*record.as_bytes());
    }

    /// The heartbeat of a lease.
    pub(super) fn heartbeat(&mut self, lease: LeaseId) {
        self.heartbeats.insert(*lease.as_bytes());
    }

    /// The leases whose turn to be looked at has come at `now`, with their heartbeats.
    pub(super) fn silent(&mut self, now: i64) {
        self.silent_at = self.silent_at.max(Some(now));
    }
}
