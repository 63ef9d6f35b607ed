//! What a batch's steps will look at, collected before anything is read.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{DecisionId, LeaseId};
use crate::ledger::sinks::Cursor;
use crate::secret::Fingerprint;

/// Keys of rows, per table.
#[derive(Default)]
pub(in crate::ledger) struct Needs {
    pub(super) replay: BTreeSet<[u8; 32]>,
    pub(super) idempotency: BTreeSet<[u8; 32]>,
    pub(super) authorisations: BTreeSet<[u8; 16]>,
    pub(super) leases: BTreeSet<[u8; 16]>,
    /// Decisions that a retry may take the place of; found while loading.
    pub(super) decisions: BTreeSet<[u8; 16]>,
    pub(super) issuers: BTreeSet<String>,
    /// Sinks to be run by this server, with what each has delivered.
    pub(super) sinks: BTreeMap<String, Cursor>,
    also: BTreeSet<Also>,
}

/// What is needed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Also {
    /// The block epoch.
    Epoch,
    /// Every signing key, which nobody else may change meanwhile.
    SigningKeys,
    /// The number of the newest checkpoint, which nobody else may follow meanwhile.
    LastCheckpoint,
    /// Authorisations that are dead by themselves.
    Expired,
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
}
