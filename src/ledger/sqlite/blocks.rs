//! Blocks: set, lifted, and what they stop. What a block matches is marked in the transaction that sets it.

use rusqlite::{OptionalExtension, Row, params};

use super::Apply;
use super::batch::{Batch, Entry};
use super::block_queries::touched;
use super::endings::hasten;
use super::leases::ask_end;
use crate::domain::{BlockId, DecisionId, LeaseId};
use crate::ledger::event::About;
use crate::ledger::intent::{BlockRow, Blocking, LiftBlock, MarkBlocked, Marked, SetBlocks, Stopping};
use crate::ledger::kind::{BlockMarkedText, Kind, LiftBody};
use crate::ledger::matching::{Keys, Subjects};
use crate::ledger::record::DecisionRow;
use crate::ledger::touched::{BLOCKED, IN_FORCE, MARKED_AT_ONCE, Pattern, Touched, effects_payload};

/// Those of `subjects` that are blocked for `tenant` now: the first.
pub(super) fn stopping(
    batch: &Batch<'_>,
    tenant: &str,
    subjects: &Subjects,
) -> rusqlite::Result<Option<Stopping>> {
    if !batch.has_blocks()? {
        return Ok(None);
    }
    let now = batch.now();
    // Texts can always be written as JSON.
    let subjects = serde_json::to_string(&subjects.0).unwrap_or_default();
    batch
        .sql(
            "SELECT id, subject, reason FROM blocks
             WHERE lifted_at IS NULL AND subject IN (SELECT value FROM json_each(?1))
                 AND (tenant = '' OR tenant = ?2) AND (expires_at IS NULL OR expires_at > ?3) LIMIT 1",
        )?
        .query_row(params![subjects, tenant, now], |row| {
            Ok(Stopping {
                block: BlockId::from_bytes(row.get(0)?),
                subject: row.get(1)?,
                reason: row.get(2)?,
            })
        })
        .optional()
}

/// The block that stops the decision of `row`, which is about to be authorised.
pub(super) fn stopping_row(batch: &Batch<'_>, row: &DecisionRow) -> rusqlite::Result<Option<Stopping>> {
    if !batch.has_blocks()? {
        return Ok(None);
    }
    // Without a plan there is nothing to authorise either: the store refuses it.
    let Some(planned) = &row.planned else { return Ok(None) };
    stopping(batch, &row.tenant, &planned.keys.subjects(&row.tenant, &row.principal, &row.role))
}

/// True if what `decision` authorised may not be leased: a block marked it, or one in force is about it.
pub(super) fn stops_decision(batch: &Batch<'_>, decision: DecisionId) -> rusqlite::Result<bool> {
    let id = decision.as_bytes();
    if is_marked(batch, decision)? {
        return Ok(true);
    }
    let found: Option<(String, Option<Subjects>)> = batch
        .sql(
            "SELECT d.tenant, d.principal, d.role, k.issuer, k.subject, k.repository_id, k.repository, k.runner
             FROM decisions d LEFT JOIN decision_keys k ON k.decision = d.n WHERE d.id = ?1",
        )?
        .query_row([id], |row| {
            let (tenant, principal, role): (String, String, String) =
                (row.get(0)?, row.get(1)?, row.get(2)?);
            let subjects = keys(row, 3)?.map(|keys| keys.subjects(&tenant, &principal, &role));
            Ok((tenant, subjects))
        })
        .optional()?;
    match found {
        Some((tenant, Some(subjects))) => Ok(stopping(batch, &tenant, &subjects)?.is_some()),
        // Nothing says that it is not.
        Some((_, None)) | None => Ok(true),
    }
}

/// True if a block found `decision` authorised and not leased.
pub(super) fn is_marked(batch: &Batch<'_>, decision: DecisionId) -> rusqlite::Result<bool> {
    batch.sql("SELECT 1 FROM block_effects WHERE subject = ?1")?.exists([decision.as_bytes()])
}

/// The columns of `decision_keys` from `first` on, if there is such a row.
pub(in crate::ledger) fn keys(row: &Row<'_>, first: usize) -> rusqlite::Result<Option<Keys>> {
    let Some(issuer) = row.get(first)? else { return Ok(None) };
    Ok(Some(Keys {
        issuer,
        subject: row.get(first + 1)?,
        repository_id: row.get(first + 2)?,
        repository: row.get(first + 3)?,
        runner: row.get(first + 4)?,
    }))
}

impl Apply for SetBlocks {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Blocking> {
        if !self.is_first(batch)? {
            return Ok(Blocking::Replayed);
        }
        let in_force: i64 = batch
            .sql(
                "SELECT count(*) FROM blocks
                 WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)",
            )?
            .query_row([batch.now()], |row| row.get(0))?;
        if in_force >= IN_FORCE {
            return Ok(Blocking::Full);
        }
        self.claim(batch)?;
        let mut marked = Vec::with_capacity(self.blocks.len());
        for block in &self.blocks {
            let id = match lasting(batch, block)? {
                Some(earlier) => earlier,
                None => insert(batch, block)?,
            };
            marked.push(mark(batch, id, block)?);
        }
        Ok(Blocking::Set(marked))
    }
}

impl SetBlocks {
    fn is_first(&self, batch: &Batch<'_>) -> rusqlite::Result<bool> {
        let Some((key, _)) = &self.once else { return Ok(true) };
        let seen = batch
            .sql("SELECT 1 FROM replay WHERE key = ?1 AND expires > ?2")?
            .exists(params![key.as_bytes(), batch.now()])?;
        Ok(!seen)
    }

    fn claim(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let Some((key, expires)) = &self.once else { return Ok(()) };
        let first = self.blocks.first().map_or([0; 16], |block| *block.id.as_bytes());
        let tenant = self.blocks.first().map_or("", |block| block.tenant.as_str());
        batch
            .sql("INSERT OR REPLACE INTO replay (key, tenant, decision, expires) VALUES (?1, ?2, ?3, ?4)")?
            .execute(params![key.as_bytes(), tenant, first, expires])?;
        // It is forgotten by the sweep that authorisations keep going.
        batch.count_authorised();
        Ok(())
    }
}

/// The block in force on the same subject that lasts at least as long: an alert that fires again adds nothing.
fn lasting(batch: &Batch<'_>, block: &BlockRow) -> rusqlite::Result<Option<BlockId>> {
    batch
        .sql(
            "SELECT id FROM blocks
             WHERE lifted_at IS NULL AND subject = ?1 AND tenant = ?2
                 AND (expires_at IS NULL OR (expires_at > ?3 AND expires_at >= ?4))
             ORDER BY expires_at IS NOT NULL, expires_at DESC LIMIT 1",
        )?
        .query_row(params![block.subject, block.tenant, batch.now(), block.expires_at], |row| {
            row.get(0).map(BlockId::from_bytes)
        })
        .optional()
}

fn insert(batch: &mut Batch<'_>, block: &BlockRow) -> rusqlite::Result<BlockId> {
    let id = block.id.as_bytes();
    batch
        .sql(
            "INSERT INTO blocks (id, tenant, subject, reason, set_by, set_at, expires_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            block.tenant,
            block.subject,
            block.reason,
            block.set_by,
            block.set_at,
            block.expires_at
        ])?;
    batch.blocked();
    new_epoch(batch)?;
    batch.append_body(Kind::BlockSet, &block.tenant, id, &block.body(), |data| About::Server { data })?;
    Ok(block.id)
}

/// What was authorised before is looked at again when it is leased.
fn new_epoch(batch: &Batch<'_>) -> rusqlite::Result<()> {
    batch.sql("UPDATE store SET epoch = epoch + 1")?.execute([]).map(drop)
}

impl Apply for MarkBlocked {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<Marked>> {
        let found: Option<(String, String)> = batch
            .sql(
                "SELECT tenant, subject FROM blocks
                 WHERE id = ?1 AND lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)",
            )?
            .query_row(params![self.block.as_bytes(), batch.now()], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let Some((tenant, subject)) = found else { return Ok(None) };
        mark_matching(batch, self.block, &tenant, &subject).map(Some)
    }
}

fn mark(batch: &mut Batch<'_>, id: BlockId, block: &BlockRow) -> rusqlite::Result<Marked> {
    mark_matching(batch, id, &block.tenant, &block.subject)
}

/// Marks what lives and matches: leases as to be ended, authorisations as not to be leased. What cannot be ended is
/// noted too, for the account of the block.
fn mark_matching(
    batch: &mut Batch<'_>,
    block: BlockId,
    tenant: &str,
    subject: &str,
) -> rusqlite::Result<Marked> {
    let Some(pattern) = Pattern::new(tenant, subject) else { return Ok(Marked { block, more: false }) };
    let mut found: Vec<Touched> = Vec::new();
    let now = batch.now();
    touched(batch.connection(), now, &pattern, Some(block), |one| {
        found.push(one);
        found.len() < MARKED_AT_ONCE
    })?;
    let more = found.len() >= MARKED_AT_ONCE;
    for lease in found.iter().filter(|one| one.leased) {
        ask_end(batch, LeaseId::from_bytes(lease.subject), Some(BLOCKED))?;
    }
    for one in &found {
        hasten(batch, &one.subject)?;
    }
    if !found.is_empty() {
        note_effects(batch, block, tenant, found)?;
    }
    Ok(Marked { block, more })
}

fn note_effects(
    batch: &mut Batch<'_>,
    block: BlockId,
    tenant: &str,
    mut found: Vec<Touched>,
) -> rusqlite::Result<()> {
    found.sort_by_key(|one| one.subject);
    let rows = || found.iter().map(|one| (one.subject, one.leased, one.tenant.as_str()));
    let entry = Entry {
        kind: Kind::BlockMarked,
        tenant,
        subject: block.as_bytes(),
        payload: effects_payload(block, rows()),
        body: None,
    };
    let count = |wanted| rows().fold(0, |count, (_, leased, _)| count + i64::from(leased == wanted));
    let text =
        BlockMarkedText { block: block.to_string(), leases: count(true), authorisations: count(false) };
    let data = serde_json::value::to_raw_value(&text)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    batch.append(&entry, || About::Server { data })?;
    let head = batch.head();
    for (subject, leased, tenant) in rows() {
        batch
            .sql(
                "INSERT INTO block_effects (subject, block, tenant, leased, writer, seq)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![subject, block.as_bytes(), tenant, leased, head.writer, head.seq])?;
    }
    Ok(())
}

impl Apply for LiftBlock {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let (id, at) = (self.block.as_bytes(), batch.now());
        let tenant: Option<String> = batch
            .sql(
                "UPDATE blocks SET lifted_at = ?2, lifted_by = ?3
                 WHERE id = ?1 AND lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)
                     AND (?4 = '' OR tenant = ?4) RETURNING tenant",
            )?
            .query_row(params![id, at, self.by, self.tenant], |row| row.get(0))
            .optional()?;
        let Some(tenant) = tenant else { return Ok(false) };
        new_epoch(batch)?;
        let body = LiftBody { block: self.block.to_string(), by: self.by.clone(), at };
        batch.append_body(Kind::BlockLifted, &tenant, id, &body, |data| About::Server { data })?;
        Ok(true)
    }
}
