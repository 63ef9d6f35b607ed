//! What both stores tell about the chains and their records, for pruning.

use crate::ledger::rows::StoredKey;

/// All chains, and what says how far each is proven.
pub(in crate::ledger) struct Chains {
    /// The store's id.
    pub(in crate::ledger) store: [u8; 16],
    pub(in crate::ledger) ends: Vec<ChainEnds>,
    /// Writer and body of the first record of every chain that has it.
    pub(in crate::ledger) starts: Vec<(i64, String)>,
    /// Bodies of all seals.
    pub(in crate::ledger) seals: Vec<String>,
    /// The newest checkpoint.
    pub(in crate::ledger) checkpoint: Option<(i64, String)>,
    /// Every signing key as stored.
    pub(in crate::ledger) keys: Vec<StoredKey>,
    /// The oldest decision whose token or idempotency key is remembered.
    pub(in crate::ledger) remembered: Option<[u8; 16]>,
}

/// One chain.
#[derive(Debug, Clone, Copy)]
pub(in crate::ledger) struct ChainEnds {
    pub(in crate::ledger) writer: i64,
    pub(in crate::ledger) instance: [u8; 16],
    pub(in crate::ledger) started_at: i64,
    /// Its first record that is there, and when that was made.
    pub(in crate::ledger) first: i64,
    pub(in crate::ledger) first_at: i64,
    /// Its newest record.
    pub(in crate::ledger) newest: i64,
}

/// A record, and what is there of what it is about.
#[derive(Debug)]
pub(in crate::ledger) struct Candidate {
    pub(in crate::ledger) seq: i64,
    pub(in crate::ledger) at: i64,
    pub(in crate::ledger) kind: String,
    pub(in crate::ledger) tenant: String,
    pub(in crate::ledger) subject: Vec<u8>,
    pub(in crate::ledger) payload: [u8; 32],
    pub(in crate::ledger) hash: [u8; 32],
    pub(in crate::ledger) body: Option<String>,
    /// True if its decision is there.
    pub(in crate::ledger) is_decision: bool,
    /// True if its decision is an authorisation that may have led to something alive.
    pub(in crate::ledger) is_open: bool,
    /// Its lease: the decision that it came from, and when it is over.
    pub(in crate::ledger) lease: Option<([u8; 16], i64)>,
    /// The lease that its decision led to, if there is one, and when it is over.
    pub(in crate::ledger) led_to: Option<([u8; 16], i64)>,
    /// True if its end is being tried.
    pub(in crate::ledger) is_ending: bool,
    /// When its block was over; never for one that holds until it is lifted.
    pub(in crate::ledger) block: Option<i64>,
}
