//! Reads what a batch needs of the blocks: those in force, whom they stop, and what lives that they are about.
//!
//! The blocks in force are remembered with their epoch, which grows with each that is set or lifted. Both happen alone,
//! so that an epoch that was read holds until the end of the transaction.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{PgConnection, Row};

use super::block_queries::{self, keys};
use super::held::Held;
use super::needs::{Marking, Needs};
use crate::domain::BlockId;
use crate::ledger::intent::{BlockRow, Stopping};
use crate::ledger::matching::Subjects;
use crate::ledger::touched::{MARKED_AT_ONCE, Pattern};

/// The blocks in force in an epoch; those that expired since are still among them.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) epoch: i64,
    by_subject: Arc<HashMap<String, Vec<BlockRow>>>,
}

impl Default for Known {
    /// Nothing: no epoch is negative.
    fn default() -> Self {
        Self { epoch: -1, by_subject: Arc::default() }
    }
}

/// An authorisation that may be stopped.
pub(super) struct Suspect {
    tenant: String,
    subjects: Option<Subjects>,
    marked: bool,
}

fn is_in_force(block: &BlockRow, now: i64) -> bool {
    block.expires_at.is_none_or(|expires| expires > now)
}

impl Known {
    /// How many are in force at `now`.
    pub(super) fn count(&self, now: i64) -> usize {
        self.by_subject.values().flatten().filter(|block| is_in_force(block, now)).count()
    }

    /// True if nothing is blocked.
    pub(super) fn is_empty(&self) -> bool {
        self.by_subject.is_empty()
    }

    /// The block that stops these subjects of `tenant`.
    pub(super) fn stopping(&self, tenant: &str, subjects: &Subjects, now: i64) -> Option<Stopping> {
        let rows = subjects.0.iter().filter_map(|subject| self.by_subject.get(subject)).flatten();
        let mut rows = rows.filter(|block| block.tenant.is_empty() || block.tenant == tenant);
        let BlockRow { id, subject, reason, .. } = rows.find(|block| is_in_force(block, now))?;
        Some(Stopping { block: *id, subject: subject.clone(), reason: reason.clone() })
    }

    /// The block in force on the same subject that lasts at least as long as `new`, and longest of all.
    pub(super) fn lasting(&self, new: &BlockRow, now: i64) -> Option<BlockId> {
        let until = |block: &BlockRow| block.expires_at.unwrap_or(i64::MAX);
        let same = self.by_subject.get(&new.subject)?.iter().filter(|block| block.tenant == new.tenant);
        let lasting = same.filter(|block| is_in_force(block, now) && until(block) >= until(new));
        lasting.max_by_key(|block| until(block)).map(|block| block.id)
    }

    /// A block in force, by its id.
    pub(super) fn get(&self, id: BlockId, now: i64) -> Option<&BlockRow> {
        let found = self.by_subject.values().flatten().find(|block| block.id == id);
        found.filter(|block| is_in_force(block, now))
    }

    /// Adds a block; the epoch grows.
    pub(super) fn set(&mut self, block: BlockRow) {
        self.epoch += 1;
        Arc::make_mut(&mut self.by_subject).entry(block.subject.clone()).or_default().push(block);
    }

    /// Takes a block out; the epoch grows.
    pub(super) fn lift(&mut self, id: BlockId) {
        self.epoch += 1;
        let by_subject = Arc::make_mut(&mut self.by_subject);
        by_subject.retain(|_, blocks| {
            blocks.retain(|block| block.id != id);
            !blocks.is_empty()
        });
    }
}

impl Held {
    /// The epoch; -1 if nobody asked for it.
    pub(super) fn epoch(&self) -> i64 {
        self.blocks.as_ref().map_or(-1, |known| known.epoch)
    }

    /// True if a block found `decision` authorised and not used.
    pub(super) fn is_marked(&self, decision: &[u8; 16]) -> bool {
        self.suspects.get(decision).is_some_and(|suspect| suspect.marked)
    }

    /// True if what `decision` authorised may not be used: a block marked it, or one in force is about it.
    pub(super) fn stops(&self, decision: &[u8; 16], now: i64) -> bool {
        let (Some(known), Some(suspect)) = (&self.blocks, self.suspects.get(decision)) else { return true };
        // Without keys nothing says that it is not.
        let Some(subjects) = &suspect.subjects else { return true };
        suspect.marked || known.stopping(&suspect.tenant, subjects, now).is_some()
    }
}

/// The blocks in force: those that are `known`, if the epoch is still theirs.
pub(super) async fn in_force(connection: &mut PgConnection, known: &Known, now: i64) -> sqlx::Result<Known> {
    let epoch = block_queries::epoch(&mut *connection).await?;
    if epoch == known.epoch {
        return Ok(known.clone());
    }
    let mut by_subject: HashMap<String, Vec<BlockRow>> = HashMap::new();
    for block in block_queries::in_force(connection, now).await? {
        by_subject.entry(block.subject.clone()).or_default().push(block);
    }
    Ok(Known { epoch, by_subject: Arc::new(by_subject) })
}

/// What lives and has to be marked. Its leases and the attempts to end it are named, to be read with all others.
pub(super) async fn touched(
    connection: &mut PgConnection,
    needs: &mut Needs,
    now: i64,
    held: &mut Held,
) -> sqlx::Result<()> {
    let Some(known) = &held.blocks else { return Ok(()) };
    for marking in &needs.marking {
        let mut found = Vec::new();
        let (block, marked) = match marking {
            Marking::New(block) => (Some(block), known.lasting(block, now)),
            Marking::Known(id) => (known.get(*id, now), Some(*id)),
        };
        if let Some(pattern) = block.and_then(|block| Pattern::new(&block.tenant, &block.subject)) {
            let each = |one| {
                found.push(one);
                found.len() < MARKED_AT_ONCE
            };
            block_queries::touched(&mut *connection, now, &pattern, marked, each).await?;
        }
        needs.leases.extend(found.iter().filter(|one| one.leased).map(|one| one.subject));
        needs.endings.extend(found.iter().map(|one| one.subject));
        held.touched.push(found);
    }
    Ok(())
}

/// Those that are to be used and are not open in the current epoch, with what a block is compared with.
pub(super) async fn suspects(
    connection: &mut PgConnection,
    needs: &Needs,
    held: &mut Held,
) -> sqlx::Result<()> {
    let epoch = held.epoch();
    let is_plain = |id: &[u8; 16]| {
        let found = held.authorisations.get(id);
        found.is_some_and(|found| found.state == "open" && found.epoch == epoch)
    };
    let ids: Vec<&[u8]> = needs.using.iter().filter(|id| !is_plain(id)).map(<[u8; 16]>::as_slice).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT d.id, d.tenant, d.principal, d.role, EXISTS (SELECT FROM block_effects e WHERE e.subject = d.id),
             k.issuer, k.subject, k.repository_id, k.repository, k.runner
         FROM decisions d LEFT JOIN decision_keys k ON k.decision = d.n WHERE d.id = ANY ($1)",
    );
    for row in rows.bind(ids).fetch_all(connection).await? {
        let (tenant, principal, role): (String, String, String) =
            (row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
        let subjects = keys(&row, 5)?.map(|keys| keys.subjects(&tenant, &principal, &role));
        held.suspects.insert(row.try_get(0)?, Suspect { tenant, subjects, marked: row.try_get(4)? });
    }
    Ok(())
}
