//! Rows of the stream, as both stores give them.

use super::cursor::Place;
use crate::ledger::counts::Counted;

/// What a record weighs in a batch besides its body, bytes.
const RECORD_BYTES: usize = 512;

/// A record as stored, with what of other tables it is about.
#[derive(Debug)]
pub(in crate::ledger) struct StreamRow {
    pub(in crate::ledger) place: Place,
    pub(in crate::ledger) at: i64,
    pub(in crate::ledger) content: Content,
}

/// What a row of the stream holds.
#[derive(Debug)]
pub(in crate::ledger) enum Content {
    Record(Box<StoredRecord>),
    Checkpoint { jws: String },
}

/// A row of the audit table.
#[derive(Debug)]
pub(in crate::ledger) struct StoredRecord {
    pub(in crate::ledger) kind: String,
    pub(in crate::ledger) tenant: String,
    pub(in crate::ledger) subject: Vec<u8>,
    pub(in crate::ledger) hash: [u8; 32],
    pub(in crate::ledger) body: Option<String>,
    /// If it is about a lease: its decision, and when it died before any renewal.
    pub(in crate::ledger) lease: Option<([u8; 16], i64)>,
    /// The decision that it is about or came from.
    pub(in crate::ledger) decision: Option<DecisionParts>,
    /// How many leases and authorisations a block marked, if it covers those.
    pub(in crate::ledger) marked: (i64, i64),
    /// What was counted, if it covers counts.
    pub(in crate::ledger) counted: Vec<Counted>,
}

/// What a record tells of its decision.
#[derive(Debug)]
pub(in crate::ledger) struct DecisionParts {
    pub(in crate::ledger) principal: String,
    pub(in crate::ledger) role: String,
    pub(in crate::ledger) operation: String,
    pub(in crate::ledger) outcome: String,
}

/// What lies beyond a cursor.
#[derive(Debug)]
pub(in crate::ledger) struct Ahead {
    /// The next rows; each chain's in order.
    pub(in crate::ledger) rows: Vec<StreamRow>,
    /// How many there are in all.
    pub(in crate::ledger) records: i64,
}

impl StreamRow {
    /// What it weighs in a batch, bytes, about.
    pub(in crate::ledger) fn weight(&self) -> usize {
        let content = match &self.content {
            Content::Record(record) => record.body.as_ref().map_or(0, String::len),
            Content::Checkpoint { jws } => jws.len(),
        };
        RECORD_BYTES + content
    }
}

impl StoredRecord {
    /// True if it may cover counts of refusals, or what a block marked.
    pub(in crate::ledger) const fn may_count(&self) -> bool {
        self.body.is_none() && self.decision.is_none()
    }
}
