//! Blocks: set, lifted, and what they stop. What a block matches is marked in the transaction that sets it.

use super::Apply;
use super::batch::{Batch, Effect, Entry, Lifted};
use super::endings::hasten;
use super::held::Claim;
use super::leases::ask_end;
use super::needs::{Also, Marking, Needs};
use crate::domain::{BlockId, LeaseId};
use crate::ledger::event::About;
use crate::ledger::intent::{BlockRow, Blocking, LiftBlock, MarkBlocked, Marked, SetBlocks, Stopping};
use crate::ledger::kind::{BlockMarkedText, Kind, LiftBody};
use crate::ledger::record::DecisionRow;
use crate::ledger::touched::{BLOCKED, IN_FORCE, MARKED_AT_ONCE, Touched, effects_payload};

/// The block that stops the decision of `row`, which is about to be authorised.
pub(super) fn stopping_row(batch: &Batch, row: &DecisionRow) -> Option<Stopping> {
    let known = batch.held.blocks.as_ref().filter(|known| !known.is_empty())?;
    // Without a plan there is nothing to authorise either: the store refuses it.
    let planned = row.planned.as_ref()?;
    let subjects = planned.keys.subjects(&row.tenant, &row.principal, &row.role);
    known.stopping(&row.tenant, &subjects, batch.now())
}

impl Apply for SetBlocks {
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::Blocks);
        needs.marking.extend(self.blocks.iter().cloned().map(Marking::New));
        if let Some((key, _)) = &self.once {
            needs.replay(key);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Blocking> {
        let now = batch.now();
        if let Some((key, _)) = &self.once
            && batch.held.replay.get(key.as_bytes()).is_some_and(|claim| claim.expires > now)
        {
            return Ok(Blocking::Replayed);
        }
        let known = batch.held.blocks.as_ref().ok_or(sqlx::Error::RowNotFound)?;
        if i64::try_from(known.count(now)).unwrap_or(i64::MAX) >= IN_FORCE {
            return Ok(Blocking::Full);
        }
        claim(batch, self);
        let mut marked: Vec<Marked> = Vec::with_capacity(self.blocks.len());
        let touched = std::mem::take(&mut batch.held.touched);
        for (block, found) in self.blocks.iter().zip(touched) {
            let lasting = batch.held.blocks.as_ref().and_then(|known| known.lasting(block, now));
            let id = match lasting {
                Some(earlier) => earlier,
                None => insert(batch, block)?,
            };
            // One that this message names twice is marked already.
            let before = marked.iter().find(|one| one.block == id).copied();
            let one = match before {
                Some(before) => before,
                None => mark(batch, id, &block.tenant, found)?,
            };
            marked.push(one);
        }
        Ok(Blocking::Set(marked))
    }
}

/// Notes that the message was used.
fn claim(batch: &mut Batch, set: &SetBlocks) {
    let Some((key, expires)) = &set.once else { return };
    let first = set.blocks.first();
    let decision = first.map_or([0; 16], |block| *block.id.as_bytes());
    let tenant = first.map_or_else(String::new, |block| block.tenant.clone());
    batch.held.replay.put(*key.as_bytes(), Claim { tenant, decision, expires: *expires });
    // It is forgotten by the sweep that authorisations keep going.
    batch.authorised += 1;
}

/// Sets a block. What was authorised before is looked at again when it is leased.
fn insert(batch: &mut Batch, block: &BlockRow) -> sqlx::Result<BlockId> {
    let known = batch.held.blocks.as_mut().ok_or(sqlx::Error::RowNotFound)?;
    known.set(block.clone());
    batch.added.epochs += 1;
    batch.added.blocks.push(block.clone());
    let (tenant, id) = (&block.tenant, block.id.as_bytes());
    batch.append_body(Kind::BlockSet, tenant, id, &block.body(), |data| About::Server { data })?;
    Ok(block.id)
}

impl Apply for MarkBlocked {
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::Blocks);
        needs.marking.push(Marking::Known(self.block));
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Option<Marked>> {
        let known = batch.held.blocks.as_ref().and_then(|known| known.get(self.block, batch.now()));
        let Some(tenant) = known.map(|block| block.tenant.clone()) else { return Ok(None) };
        let found = std::mem::take(&mut batch.held.touched).pop().unwrap_or_default();
        mark(batch, self.block, &tenant, found).map(Some)
    }
}

/// Marks what lives and matches: leases as to be ended, authorisations as not to be leased. What cannot be ended is
/// noted too, for the account of the block.
fn mark(batch: &mut Batch, block: BlockId, tenant: &str, found: Vec<Touched>) -> sqlx::Result<Marked> {
    let more = found.len() >= MARKED_AT_ONCE;
    for lease in found.iter().filter(|one| one.leased) {
        ask_end(batch, LeaseId::from_bytes(lease.subject), Some(BLOCKED))?;
    }
    for one in &found {
        hasten(batch, &one.subject);
    }
    if !found.is_empty() {
        note_effects(batch, block, tenant, found)?;
    }
    Ok(Marked { block, more })
}

fn note_effects(
    batch: &mut Batch,
    block: BlockId,
    tenant: &str,
    mut found: Vec<Touched>,
) -> sqlx::Result<()> {
    found.sort_by_key(|one| one.subject);
    let rows = || found.iter().map(|one| (one.subject, one.leased, one.tenant.as_str()));
    let count = |wanted| rows().fold(0, |count, (_, leased, _)| count + i64::from(leased == wanted));
    let text =
        BlockMarkedText { block: block.to_string(), leases: count(true), authorisations: count(false) };
    let data = serde_json::value::to_raw_value(&text).map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (kind, subject, payload) = (Kind::BlockMarked, block.as_bytes(), effects_payload(block, rows()));
    batch.append(Entry { kind, tenant, subject, payload, body: None }, || About::Server { data });
    let seq = batch.head().seq;
    let effects = found.into_iter().map(|one| {
        let Touched { subject, leased, tenant, .. } = one;
        Effect { subject, block, tenant, leased, seq }
    });
    batch.added.effects.extend(effects);
    Ok(())
}

impl Apply for LiftBlock {
    const ALONE: bool = true;

    fn needs(&self, needs: &mut Needs) {
        needs.also(Also::Blocks);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        let at = batch.now();
        let Some(known) = &mut batch.held.blocks else { return Ok(false) };
        let found = known.get(self.block, at).map(|block| block.tenant.clone());
        let may_lift = |tenant: &String| self.tenant.is_empty() || self.tenant == *tenant;
        let Some(tenant) = found.filter(may_lift) else { return Ok(false) };
        known.lift(self.block);
        batch.added.epochs += 1;
        batch.added.lifted.push(Lifted { block: self.block, at, by: self.by.clone() });
        let (id, body) =
            (self.block.as_bytes(), LiftBody { block: self.block.to_string(), by: self.by.clone(), at });
        batch.append_body(Kind::BlockLifted, &tenant, id, &body, |data| About::Server { data })?;
        Ok(true)
    }
}
