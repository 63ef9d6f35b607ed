//! A batch in the making: what its steps see, and what they leave to be written.

use crate::domain::BlockId;
use crate::ledger::chain::{Head, Link, body_payload};
use crate::ledger::counts::Counted;
use crate::ledger::event::{About, Event, Line};
use crate::ledger::explained::time;
use crate::ledger::heartbeats::Interval;
use crate::ledger::intent::{BlockRow, KeepIssuerKeys, Prune, ResealIssuerKeys, StoreCheckpoint};
use crate::ledger::kind::Kind;
use crate::ledger::record::DecisionRow;
use crate::ledger::rows::StoredKey;
use crate::ledger::sinks::Cursor;
use crate::secret::Fingerprint;

use super::held::Held;

/// A record to be chained.
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) tenant: &'a str,
    pub(super) subject: &'a [u8],
    pub(super) payload: Fingerprint,
    pub(super) body: Option<String>,
}

/// A row of `audit`, but for its writer.
pub(super) struct Record {
    pub(super) seq: i64,
    pub(super) kind: Kind,
    pub(super) tenant: String,
    pub(super) subject: Vec<u8>,
    pub(super) payload: Fingerprint,
    pub(super) hash: Fingerprint,
    pub(super) body: Option<String>,
}

/// A block that was lifted.
pub(super) struct Lifted {
    pub(super) block: BlockId,
    pub(super) at: i64,
    pub(super) by: String,
}

/// A row of `block_effects`, but for its writer.
pub(super) struct Effect {
    pub(super) subject: [u8; 16],
    pub(super) block: BlockId,
    pub(super) tenant: String,
    pub(super) leased: bool,
    pub(super) seq: i64,
}

/// Rows that are only added.
#[derive(Default)]
pub(super) struct Added {
    pub(super) records: Vec<Record>,
    pub(super) decisions: Vec<DecisionRow>,
    pub(super) counts: Vec<(i64, Counted)>,
    pub(super) signing_keys: Vec<StoredKey>,
    pub(super) issuer_keys: Vec<KeepIssuerKeys>,
    pub(super) resealed: Vec<ResealIssuerKeys>,
    pub(super) checkpoints: Vec<StoreCheckpoint>,
    pub(super) blocks: Vec<BlockRow>,
    pub(super) lifted: Vec<Lifted>,
    pub(super) effects: Vec<Effect>,
    /// How often the epoch grew.
    pub(super) epochs: i64,
    /// When this server was ready to hear heartbeats.
    pub(super) ready: Vec<Interval>,
    pub(super) cursors: Vec<(String, Cursor)>,
    pub(super) pruned: Vec<Prune>,
}

/// What the steps of a batch work on.
pub(in crate::ledger) struct Batch {
    pub(super) held: Held,
    pub(super) added: Added,
    pub(super) authorised: i64,
    head: Head,
    now: i64,
    lines: Option<Vec<Line>>,
}

impl Batch {
    pub(super) fn new(rows: Held, head: Head, now: i64, with_lines: bool) -> Self {
        let lines = with_lines.then(Vec::new);
        Self { held: rows, added: Added::default(), authorised: 0, head, now, lines }
    }

    /// The batch's time, Unix milliseconds.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    /// The chain's head, this batch included.
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// True if it gives the stream of events something new.
    pub(super) fn grew(&self) -> bool {
        !self.added.records.is_empty() || !self.added.checkpoints.is_empty()
    }

    /// The lines for the sinks, once it is committed.
    pub(super) fn into_lines(self) -> Vec<Line> {
        self.lines.unwrap_or_default()
    }

    /// Appends a record to the chain.
    pub(super) fn append(&mut self, entry: Entry<'_>, about: impl FnOnce() -> About) {
        let Entry { kind, tenant, subject, payload, body } = entry;
        let Head { writer, seq, hash: previous } = self.head;
        let (seq, at) = (seq + 1, self.now);
        let hash =
            Link { writer, seq, at, kind: kind.as_str(), tenant, subject, payload: &payload }.hash(&previous);
        self.head = Head { writer, seq, hash };
        let tenant = tenant.to_owned();
        if let Some(lines) = &mut self.lines {
            let (tenant, hash, about) = (tenant.clone(), hash.to_string(), about());
            lines.push(Line::Event(Box::new(Event { writer, seq, at: time(at), kind, tenant, hash, about })));
        }
        let subject = subject.to_vec();
        self.added.records.push(Record { seq, kind, tenant, subject, payload, hash, body });
    }

    /// Appends a record whose content is its body.
    pub(super) fn append_body(
        &mut self,
        kind: Kind,
        tenant: &str,
        subject: &[u8],
        body: &impl serde::Serialize,
        about: impl FnOnce(Box<serde_json::value::RawValue>) -> About,
    ) -> sqlx::Result<()> {
        let raw = serde_json::value::to_raw_value(body).map_err(|error| sqlx::Error::Encode(error.into()))?;
        let payload = body_payload(raw.get());
        let entry = Entry { kind, tenant, subject, payload, body: Some(raw.get().to_owned()) };
        self.append(entry, || about(raw));
        Ok(())
    }

    /// Hands a line to the sinks that is no record of the chain.
    pub(super) fn push(&mut self, line: Line) {
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Stores a decision with its frame and input, and chains it as `kind`.
    pub(super) fn insert_decision(&mut self, row: &DecisionRow, kind: Kind) {
        self.added.decisions.push(row.clone());
        let subject = row.id.as_bytes();
        let entry = Entry { kind, tenant: &row.tenant, subject, payload: row.payload(), body: None };
        self.append(entry, || About::Decision {
            decision: row.id,
            principal: row.principal.clone(),
            role: row.role.clone(),
            operation: row.operation.into(),
            result: row.outcome.into(),
        });
    }
}
