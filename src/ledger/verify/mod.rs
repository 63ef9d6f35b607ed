//! Recomputes the chains and everything they vouch for, over a read-only connection.
//!
//! It finds a changed byte, a deletion, a swap, an insertion; against a checkpoint kept elsewhere also a cut tail and
//! a store that was rolled back. Without one it says from when the tail is not proven: whoever can rewrite the whole
//! file can also drop its newest records together with the checkpoints in it.

mod authorisations;
mod chains;
mod orphans;
mod proofs;
mod rows;
mod seals;

use std::fmt;
use std::io::BufRead;

use jiff::Timestamp;
use rusqlite::Connection;
use serde::Serialize;

use super::error::LedgerError;

/// Findings that are listed; the rest is only counted.
const LISTED: usize = 100;

/// What verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Chains, one per start of a server.
    pub writers: u64,
    /// Records in them.
    pub records: u64,
    /// Checkpoints in the store.
    pub checkpoints: u64,
    /// Records that were pruned, as their seals say.
    pub pruned: u64,
    /// Decisions whose input was erased; the chain holds its hash, and stays whole.
    pub erased_inputs: u64,
    /// What is wrong, the first hundred.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub found: u64,
    /// The newest time up to which the tail is proven by a checkpoint, and by which one.
    pub proven: Option<Proven>,
    /// When the first record after that was made; none if the checkpoint covers everything.
    pub unproven_since: Option<Timestamp>,
}

/// What proves the chain's length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Proven {
    /// Number of the checkpoint.
    pub checkpoint: i64,
    /// When it was signed.
    pub at: Timestamp,
    /// True if it was kept elsewhere. One in the store itself can be deleted with the records it covers.
    pub kept_elsewhere: bool,
}

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing.
    pub kind: FindingKind,
    /// The chain's writer, where one is known.
    pub writer: Option<i64>,
    /// The record's sequence number, where one is known.
    pub seq: Option<i64>,
    /// What exactly, for people.
    pub detail: String,
}

/// Kinds of findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Something differs from what the chain holds.
    Changed,
    /// Something is gone.
    Missing,
    /// Something is there that the chain does not hold.
    Inserted,
    /// A checkpoint or a later writer saw records that are not there: the tail was cut, or the store rolled back.
    CutOrRolledBack,
    /// A checkpoint, or a seal, is not signed by a key of this store.
    Signature,
}

impl Report {
    /// True if nothing is wrong.
    pub const fn is_sound(&self) -> bool {
        self.found == 0
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.writer, self.seq) {
            (Some(writer), Some(seq)) => write!(f, "writer {writer}, record {seq}: {}", self.detail),
            (Some(writer), None) => write!(f, "writer {writer}: {}", self.detail),
            (None, _) => f.write_str(&self.detail),
        }
    }
}

/// Where a finding is.
#[derive(Debug, Clone, Copy)]
struct At {
    writer: Option<i64>,
    seq: Option<i64>,
}

impl At {
    const STORE: Self = Self { writer: None, seq: None };

    const fn record(writer: i64, seq: i64) -> Self {
        Self { writer: Some(writer), seq: Some(seq) }
    }

    const fn writer(writer: i64) -> Self {
        Self { writer: Some(writer), seq: None }
    }
}

impl Report {
    const fn empty() -> Self {
        Self {
            writers: 0,
            records: 0,
            checkpoints: 0,
            pruned: 0,
            erased_inputs: 0,
            findings: Vec::new(),
            found: 0,
            proven: None,
            unproven_since: None,
        }
    }

    fn find(&mut self, kind: FindingKind, at: At, detail: impl Into<String>) {
        self.found += 1;
        if self.findings.len() < LISTED {
            let At { writer, seq } = at;
            self.findings.push(Finding { kind, writer, seq, detail: detail.into() });
        }
    }
}

/// Verifies the store; `kept` are checkpoints kept elsewhere.
pub(super) fn verify(connection: &Connection, kept: Option<&mut dyn BufRead>) -> Result<Report, LedgerError> {
    // One snapshot for all queries: a running server goes on writing meanwhile.
    let snapshot = connection.unchecked_transaction()?;
    let mut report = Report::empty();
    let rows = rows::Rows::load(&snapshot, &mut report)?;
    let state = chains::verify(&snapshot, &rows, &mut report)?;
    orphans::verify(&snapshot, &rows, &state, &mut report)?;
    proofs::verify(&snapshot, &state, kept, &mut report)?;
    Ok(report)
}
