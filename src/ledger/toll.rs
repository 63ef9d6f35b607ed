//! The account of a block: what is dead now, what dies by itself and when, what nobody knows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::blocks::Block;
use super::explained::time;
use super::leases::EndHow;
use super::touched::{Pattern, Touched};
use super::{Ledger, LedgerError};
use crate::domain::{BlockId, BlockSubject, DecisionId, LeaseId, TenantName};

/// Rows that an account lists; the rest is counted.
const LISTED: usize = 200;

/// What becomes of one credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// Nobody knows whether it lives, until `dies_at`: its target has not confirmed the end, or it was authorised and
    /// no lease is known.
    Unknown,
    /// Nothing can end it: it lives until `dies_at`.
    DiesAt,
    /// The block would end it at its target; only in an account of what would be.
    WouldEnd,
    /// Its target ended it, or its time is over.
    Dead,
}

/// One credential that a block is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Affected {
    /// What becomes of it.
    pub fate: Fate,
    /// When it dies by itself.
    pub dies_at: Timestamp,
    /// Its lease; absent for an authorisation without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// Its decision.
    pub decision: DecisionId,
    /// Who got it.
    pub principal: String,
    /// For which role.
    pub role: String,
    /// Where it is good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// The account of a block.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Toll {
    /// Dead now.
    pub dead: u64,
    /// The block would end them.
    pub would_end: u64,
    /// Live until they expire.
    pub dies_at: u64,
    /// Nobody knows.
    pub unknown: u64,
    /// When the last of those that may live is dead; absent if none does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_death: Option<Timestamp>,
    /// Those that are not known to be dead first, at most some hundreds.
    pub affected: Vec<Affected>,
}

impl Toll {
    pub(super) fn add(&mut self, one: Touched, now: Timestamp, would: bool) {
        let affected = Affected::of(one, now, would);
        match affected.fate {
            Fate::Dead => self.dead += 1,
            Fate::WouldEnd => self.would_end += 1,
            Fate::DiesAt => self.dies_at += 1,
            Fate::Unknown => self.unknown += 1,
        }
        if matches!(affected.fate, Fate::DiesAt | Fate::Unknown) {
            self.last_death = self.last_death.max(Some(affected.dies_at));
        }
        // Those that may live push out the dead.
        if self.affected.len() < LISTED {
            self.affected.push(affected);
        } else if let Some(dead) = self.affected.iter_mut().find(|other| other.fate > affected.fate) {
            *dead = affected;
        }
    }

    pub(super) fn sorted(mut self) -> Self {
        self.affected.sort_by(|a, b| (a.fate, b.dies_at, a.decision).cmp(&(b.fate, a.dies_at, b.decision)));
        self
    }
}

impl Affected {
    fn of(one: Touched, now: Timestamp, would: bool) -> Self {
        let dies_at = time(one.dies_at);
        let ended = one.end_how.as_deref() == Some(EndHow::AtTarget.as_str());
        let fate = if dies_at <= now || ended || !(one.leased || one.open) {
            Fate::Dead
        } else if one.leased && (!one.revocable || one.end_how.is_some()) {
            Fate::DiesAt
        } else if one.leased && would {
            Fate::WouldEnd
        } else {
            Fate::Unknown
        };
        Self {
            fate,
            dies_at,
            lease: one.leased.then(|| LeaseId::from_bytes(one.subject)),
            decision: DecisionId::from_bytes(one.decision),
            principal: one.principal,
            role: one.role,
            target: one.target,
        }
    }
}

impl Ledger {
    /// What a block on `subject` would be about now. Changes nothing.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn toll_of_subject(
        &self,
        subject: &BlockSubject,
        tenant: Option<&TenantName>,
    ) -> Result<Toll, LedgerError> {
        let now = self.clock.now();
        let tenant = tenant.map(ToString::to_string).unwrap_or_default();
        let pattern =
            Pattern::new(&tenant, &subject.to_string()).ok_or(LedgerError::Damaged { what: "block" })?;
        self.store.reader().toll_of_subject(pattern, now).await
    }

    /// A block that `tenant` may see, and what became of all that it was about.
    ///
    /// # Errors
    /// The store cannot be read, or the block is damaged.
    pub async fn toll_of_block(
        &self,
        id: BlockId,
        tenant: Option<&TenantName>,
    ) -> Result<Option<(Block, Toll)>, LedgerError> {
        let now = self.clock.now();
        let tenant = tenant.map(ToString::to_string).unwrap_or_default();
        let Some((row, toll)) = self.store.reader().toll_of_block(tenant, id, now).await? else {
            return Ok(None);
        };
        let block = Block::read(row).ok_or(LedgerError::Damaged { what: "block" })?;
        Ok(Some((block, toll)))
    }
}
