//! The rows that records vouch for: decisions with their frames and inputs, leases with their ends, counts.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::chains::Record;
use super::{At, FindingKind, Report};
use crate::domain::BlockId;
use crate::ledger::counts::{self, Counted};
use crate::ledger::error::LedgerError;
use crate::ledger::kind::{EndAsked, EndedBody};
use crate::ledger::matching::Keys;
use crate::ledger::record::Columns;
use crate::ledger::rows::LeaseColumns;
use crate::ledger::seal::Seals;
use crate::ledger::sqlite::blocks;
use crate::ledger::touched::effects_payload;
use crate::secret::Fingerprint;

/// Looks rows up, with the frames in memory.
pub(super) struct Rows<'c> {
    connection: &'c Connection,
    frames: HashMap<i64, Fingerprint>,
}

/// A decision as stored, with its input.
struct DecisionColumns {
    id: [u8; 16],
    tenant: String,
    principal: String,
    role: String,
    at: i64,
    operation: String,
    outcome: String,
    token: Vec<u8>,
    frame: i64,
    body: String,
    input: [u8; 32],
    target: Option<String>,
    handle: Option<Vec<u8>>,
    dies_by: Option<i64>,
    values: Option<String>,
    values_tenant: Option<String>,
    keys: Option<Keys>,
    keys_tenant: Option<String>,
}

const DECISION: &str =
    "SELECT d.id, d.tenant, d.principal, d.role, d.at, d.operation, d.outcome, d.token, d.frame, d.body,
        d.input, d.target, d.handle, d.dies_by, i.body, i.tenant,
        k.issuer, k.subject, k.repository_id, k.repository, k.runner, k.tenant
     FROM decisions d LEFT JOIN inputs i ON i.decision = d.n LEFT JOIN decision_keys k ON k.decision = d.n
     WHERE d.id = ?1";

impl DecisionColumns {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            tenant: row.get(1)?,
            principal: row.get(2)?,
            role: row.get(3)?,
            at: row.get(4)?,
            operation: row.get(5)?,
            outcome: row.get(6)?,
            token: row.get(7)?,
            frame: row.get(8)?,
            body: row.get(9)?,
            input: row.get(10)?,
            target: row.get(11)?,
            handle: row.get(12)?,
            dies_by: row.get(13)?,
            values: row.get(14)?,
            values_tenant: row.get(15)?,
            keys: blocks::keys(row, 16)?,
            keys_tenant: row.get(21)?,
        })
    }

    fn payload(&self, frame: &Fingerprint) -> Fingerprint {
        Columns {
            id: &self.id,
            tenant: &self.tenant,
            principal: &self.principal,
            role: &self.role,
            at: self.at,
            operation: &self.operation,
            outcome: &self.outcome,
            token: &self.token,
            frame: frame.as_bytes(),
            body: &self.body,
            input: &self.input,
            target: self.target.as_deref(),
            handle: self.handle.as_deref(),
            dies_by: self.dies_by,
            keys: self.keys.as_ref(),
        }
        .payload()
    }
}

impl<'c> Rows<'c> {
    /// Reads the frames and checks that each is what its hash says.
    pub(super) fn load(connection: &'c Connection, report: &mut Report) -> Result<Self, LedgerError> {
        let mut frames = HashMap::new();
        let mut select = connection.prepare("SELECT id, hash, body, tenant FROM frames")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (id, stored, body): (i64, [u8; 32], String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let hash = Fingerprint::of(body.as_bytes());
            let tenant = format!("\"tenant\":{}", serde_json::Value::from(row.get::<_, String>(3)?));
            if hash != Fingerprint::from_bytes(stored) || !body.contains(&tenant) {
                report.find(FindingKind::Changed, At::STORE, format!("frame {id} differs from its hash"));
            }
            frames.insert(id, hash);
        }
        Ok(Self { connection, frames })
    }

    /// The decision that `record` is about.
    pub(super) fn decision(&self, record: &Record, report: &mut Report) -> Result<(), LedgerError> {
        let found = self
            .connection
            .prepare_cached(DECISION)?
            .query_row([&record.subject], DecisionColumns::read)
            .optional()?;
        let Some(decision) = found else {
            report.find(FindingKind::Missing, record.place(), "its decision is gone");
            return Ok(());
        };
        let Some(frame) = self.frames.get(&decision.frame) else {
            report.find(FindingKind::Missing, record.place(), "the frame of its decision is gone");
            return Ok(());
        };
        if decision.payload(frame) != record.payload
            || decision.tenant != record.tenant
            || decision.keys_tenant.as_ref().is_some_and(|tenant| *tenant != decision.tenant)
            || record.body.is_some()
        {
            report.find(FindingKind::Changed, record.place(), "its decision differs from what was recorded");
        }
        match &decision.values {
            None => report.erased_inputs += 1,
            Some(values) => {
                let intact = Fingerprint::of(values.as_bytes()) == Fingerprint::from_bytes(decision.input);
                if !intact || decision.values_tenant.as_ref() != Some(&decision.tenant) {
                    report.find(
                        FindingKind::Changed,
                        record.place(),
                        "the input of its decision was changed",
                    );
                }
            }
        }
        Ok(())
    }

    /// The hash of a decision's row; none if it is gone.
    pub(super) fn payload_of(&self, decision: &[u8]) -> Result<Option<Fingerprint>, LedgerError> {
        let mut select = self.connection.prepare_cached(DECISION)?;
        let found = select.query_row([decision], DecisionColumns::read).optional()?;
        Ok(found.and_then(|found| Some(found.payload(self.frames.get(&found.frame)?))))
    }

    /// The lease that `record` is about; returns its decision.
    pub(super) fn lease(
        &self,
        record: &Record,
        report: &mut Report,
    ) -> Result<Option<[u8; 16]>, LedgerError> {
        let found = self
            .connection
            .prepare_cached(
                "SELECT id, tenant, decision, secret, issued_at, coalesce(first_dies_at, dies_at), revocable,
                     bound_to
                 FROM leases WHERE id = ?1",
            )?
            .query_row([&record.subject], |row| {
                let (id, tenant, decision): ([u8; 16], String, [u8; 16]) =
                    (row.get(0)?, row.get(1)?, row.get(2)?);
                let (secret, bound_to): ([u8; 32], Option<Vec<u8>>) = (row.get(3)?, row.get(7)?);
                let columns = LeaseColumns {
                    id: &id,
                    tenant: &tenant,
                    decision: &decision,
                    secret: &secret,
                    issued_at: row.get(4)?,
                    dies_at: row.get(5)?,
                    revocable: row.get(6)?,
                    bound_to: bound_to.as_deref(),
                };
                Ok((decision, columns.payload()))
            })
            .optional()?;
        let Some((decision, payload)) = found else {
            report.find(FindingKind::Missing, record.place(), "its lease is gone");
            return Ok(None);
        };
        if payload != record.payload || record.body.is_some() {
            report.find(FindingKind::Changed, record.place(), "its lease differs from what was recorded");
        }
        Ok(Some(decision))
    }

    /// The lease that somebody asked to end.
    pub(super) fn end_asked(
        &self,
        record: &Record,
        asked: &EndAsked,
        seals: &Seals,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        let stored: Option<Option<i64>> = self
            .connection
            .prepare_cached("SELECT end_asked_at FROM leases WHERE id = ?1")?
            .query_row([&record.subject], |row| row.get(0))
            .optional()?;
        // A lease that is gone is found by its own record, unless that was pruned, and the lease with it.
        let pruned = stored.is_none() && !seals.is_empty();
        if !pruned && stored != Some(Some(asked.at)) {
            report.find(
                FindingKind::Changed,
                record.place(),
                "its lease no longer says when its end was asked for",
            );
        }
        Ok(())
    }

    /// The lease that ended.
    pub(super) fn ended(
        &self,
        record: &Record,
        ended: &EndedBody,
        seals: &Seals,
        report: &mut Report,
    ) -> Result<(), LedgerError> {
        let stored: Option<(Option<i64>, Option<String>)> = self
            .connection
            .prepare_cached("SELECT ended_at, end_how FROM leases WHERE id = ?1")?
            .query_row([&record.subject], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let pruned = stored.is_none() && !seals.is_empty();
        if !pruned && stored != Some((ended.at, Some(ended.how.clone()))) {
            report.find(FindingKind::Changed, record.place(), "its lease differs from how it ended");
        }
        Ok(())
    }

    /// What lived when a block was set, as far as `record` covers it; true if there is nothing of it.
    pub(super) fn block_effects(&self, record: &Record, report: &mut Report) -> Result<bool, LedgerError> {
        let mut select = self.connection.prepare_cached(
            "SELECT e.subject, e.leased, e.tenant, e.block FROM block_effects e
             WHERE e.writer = ?1 AND e.seq = ?2 ORDER BY e.subject",
        )?;
        let rows: Vec<(Vec<u8>, i64, String, Vec<u8>)> = select
            .query_map([record.writer, record.seq], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })?
            .collect::<Result<_, _>>()?;
        let id = |bytes: &[u8]| <[u8; 16]>::try_from(bytes).unwrap_or_default();
        let fits =
            rows.iter().all(|(_, leased, _, block)| *block == record.subject && (0..=1).contains(leased));
        let effects =
            rows.iter().map(|(subject, leased, tenant, _)| (id(subject), *leased == 1, tenant.as_str()));
        let payload = effects_payload(BlockId::from_bytes(record.id()), effects);
        if rows.is_empty() && payload != record.payload {
            return Ok(true);
        }
        if !fits || payload != record.payload || record.body.is_some() {
            report.find(
                FindingKind::Changed,
                record.place(),
                "what its block ended differs from what was recorded",
            );
        }
        Ok(false)
    }

    /// The counts that `record` covers.
    pub(super) fn counts(&self, record: &Record, report: &mut Report) -> Result<(), LedgerError> {
        let mut rows: Vec<Counted> = self
            .connection
            .prepare_cached(
                "SELECT minute, tenant, code, source, count FROM refusal_counts WHERE writer = ?1 AND seq = ?2",
            )?
            .query_map([record.writer, record.seq], |row| {
                Ok(Counted {
                    minute: row.get(0)?,
                    tenant: row.get(1)?,
                    code: row.get(2)?,
                    source: row.get(3)?,
                    count: row.get(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
        rows.sort();
        if counts::payload(rows.iter()) != record.payload || record.body.is_some() {
            report.find(FindingKind::Changed, record.place(), "its counts differ from what was recorded");
        }
        Ok(())
    }
}
