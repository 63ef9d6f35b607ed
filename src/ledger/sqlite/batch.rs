//! One transaction of the writer: what intents see of the store while they are carried out.

use std::collections::HashMap;

use rusqlite::{CachedStatement, OptionalExtension, Transaction, params};

use crate::ledger::chain::{Head, Link, body_payload};
use crate::ledger::event::{About, Event, Line};
use crate::ledger::explained::time;
use crate::ledger::kind::Kind;
use crate::ledger::record::{DecisionRow, Text};
use crate::secret::Fingerprint;

/// A record to be chained.
pub(super) struct Entry<'a> {
    pub(super) kind: Kind,
    pub(super) tenant: &'a str,
    pub(super) subject: &'a [u8],
    pub(super) payload: Fingerprint,
    pub(super) body: Option<&'a str>,
}

/// A transaction in the making, with the head that the chain will have once it commits.
pub(in crate::ledger) struct Batch<'t> {
    transaction: &'t Transaction<'t>,
    head: Head,
    now: i64,
    known_frames: &'t HashMap<Fingerprint, i64>,
    new_frames: HashMap<Fingerprint, i64>,
    lines: Option<Vec<Line>>,
    authorised: i64,
    grew: bool,
}

/// What a committed batch leaves for the writer.
pub(super) struct Committed {
    pub(super) head: Head,
    pub(super) new_frames: HashMap<Fingerprint, i64>,
    pub(super) lines: Vec<Line>,
    pub(super) authorised: i64,
    /// True if the stream of events has something new.
    pub(super) grew: bool,
}

impl<'t> Batch<'t> {
    pub(super) fn new(
        transaction: &'t Transaction<'t>,
        head: Head,
        now: i64,
        known_frames: &'t HashMap<Fingerprint, i64>,
        with_lines: bool,
    ) -> Self {
        let lines = with_lines.then(Vec::new);
        let new_frames = HashMap::new();
        Self { transaction, head, now, known_frames, new_frames, lines, authorised: 0, grew: false }
    }

    pub(super) fn into_committed(self) -> Committed {
        let Self { head, new_frames, lines, authorised, grew, .. } = self;
        Committed { head, new_frames, lines: lines.unwrap_or_default(), authorised, grew }
    }

    /// The batch's time, Unix milliseconds.
    pub(super) const fn now(&self) -> i64 {
        self.now
    }

    /// The chain's head, this batch included.
    pub(super) const fn head(&self) -> Head {
        self.head
    }

    /// Counts an authorisation, for the sweep of what expires with it.
    pub(super) const fn count_authorised(&mut self) {
        self.authorised += 1;
    }

    /// A prepared statement.
    pub(super) fn sql(&self, sql: &str) -> rusqlite::Result<CachedStatement<'_>> {
        self.transaction.prepare_cached(sql)
    }

    /// Appends a record to the chain.
    pub(super) fn append(
        &mut self,
        entry: &Entry<'_>,
        about: impl FnOnce() -> About,
    ) -> rusqlite::Result<()> {
        let Entry { kind, tenant, subject, payload, body } = *entry;
        let Head { writer, seq, hash: previous } = self.head;
        let (seq, at) = (seq + 1, self.now);
        let hash =
            Link { writer, seq, at, kind: kind.as_str(), tenant, subject, payload: &payload }.hash(&previous);
        self.sql(
            "INSERT INTO audit (writer, seq, at, kind, tenant, subject, payload, hash, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            writer,
            seq,
            at,
            kind.as_str(),
            tenant,
            subject,
            payload.as_bytes(),
            hash.as_bytes(),
            body
        ])?;
        self.head = Head { writer, seq, hash };
        self.grew = true;
        if let Some(lines) = &mut self.lines {
            let (tenant, hash, about) = (tenant.to_owned(), hash.to_string(), about());
            lines.push(Line::Event(Box::new(Event { writer, seq, at: time(at), kind, tenant, hash, about })));
        }
        Ok(())
    }

    /// Appends a record whose content is its body.
    pub(super) fn append_body(
        &mut self,
        kind: Kind,
        tenant: &str,
        subject: &[u8],
        body: &impl serde::Serialize,
        about: impl FnOnce(Box<serde_json::value::RawValue>) -> About,
    ) -> rusqlite::Result<()> {
        let raw = serde_json::value::to_raw_value(body)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let body = raw.get().to_owned();
        let entry = Entry { kind, tenant, subject, payload: body_payload(&body), body: Some(&body) };
        self.append(&entry, || about(raw))
    }

    /// Hands a line to the copies that is no record of the chain.
    pub(super) fn push(&mut self, line: Line) {
        self.grew = true;
        if let Some(lines) = &mut self.lines {
            lines.push(line);
        }
    }

    /// Stores a decision with its frame and input, and chains it as `kind`.
    pub(super) fn insert_decision(&mut self, row: &DecisionRow, kind: Kind) -> rusqlite::Result<()> {
        let frame = self.frame(&row.tenant, &row.frame)?;
        let planned = row.planned.as_ref();
        let n = self
            .sql(
                "INSERT INTO decisions (id, tenant, principal, role, at, operation, outcome, token, frame, body, input,
                     target, handle, dies_by)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
            )?
            .insert(params![
                row.id.as_bytes(),
                row.tenant,
                row.principal,
                row.role,
                row.at,
                row.operation,
                row.outcome,
                row.token.as_bytes(),
                frame,
                row.body,
                row.input.hash.as_bytes(),
                planned.map(|p| &p.target),
                planned.map(|p| &p.handle),
                planned.map(|p| p.dies_by),
            ])?;
        self.sql("INSERT INTO inputs (decision, tenant, body) VALUES (?1, ?2, ?3)")?.execute(params![
            n,
            row.tenant,
            row.input.text
        ])?;
        let subject = row.id.as_bytes();
        self.append(&Entry { kind, tenant: &row.tenant, subject, payload: row.payload(), body: None }, || {
            About::Decision {
                decision: row.id,
                principal: row.principal.clone(),
                role: row.role.clone(),
                operation: row.operation.into(),
                result: row.outcome.into(),
            }
        })
    }

    /// The number of a frame, stored if it is new.
    fn frame(&mut self, tenant: &str, frame: &Text) -> rusqlite::Result<i64> {
        let known = self.known_frames.get(&frame.hash).or_else(|| self.new_frames.get(&frame.hash));
        if let Some(id) = known {
            return Ok(*id);
        }
        let stored = self
            .sql("SELECT id FROM frames WHERE hash = ?1")?
            .query_row([frame.hash.as_bytes()], |row| row.get(0))
            .optional()?;
        let id = match stored {
            Some(id) => id,
            None => self
                .sql("INSERT INTO frames (tenant, hash, body) VALUES (?1, ?2, ?3)")?
                .insert(params![tenant, frame.hash.as_bytes(), frame.text])?,
        };
        self.new_frames.insert(frame.hash, id);
        Ok(id)
    }
}
