//! What lists and searches are asked for, and what they show: never an input, a handle, a secret or a hash of one.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::domain::{DecisionId, LeaseId, Operation, PrincipalKey, Revocability, RoleName, Tenants};

/// Most rows of the store that one page looks at.
pub const MAX_LOOK: usize = 50_000;

/// Most entries of one page.
pub const MAX_PAGE: usize = 200;

/// What narrows a list; the tenants come from what is permitted.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// Of this principal alone.
    pub principal: Option<PrincipalKey>,
    /// Of this role alone.
    pub role: Option<RoleName>,
    /// Leases in this state.
    pub state: Option<LeaseState>,
    /// Decisions about this operation.
    pub operation: Option<Operation>,
    /// Decisions with this outcome: `allow`, `would_allow`, `permit` or a refusal code.
    pub outcome: Option<String>,
    /// From this time on.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
}

/// What one page is asked for.
#[derive(Debug, Clone)]
pub struct Look {
    /// Whose.
    pub tenants: Tenants,
    /// Which.
    pub search: Search,
    /// Older than this decision.
    pub before: Option<DecisionId>,
    /// At most so many.
    pub limit: usize,
    /// What time it is, Unix milliseconds: leases die.
    pub now: i64,
    /// At most so many rows are looked at, however few fit the search.
    pub rows: usize,
}

/// Whether a lease's credential can still be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeaseState {
    /// It can, for all that is known.
    Live,
    /// Its target has confirmed the end.
    Ended,
    /// Its time is over.
    Expired,
}

/// A text that names no state of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a lease is live, ended or expired")]
pub struct UnknownState;

impl LeaseState {
    /// As lists and searches write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Ended => "ended",
            Self::Expired => "expired",
        }
    }
}

impl fmt::Display for LeaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for LeaseState {
    type Err = UnknownState;
    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Live, Self::Ended, Self::Expired]
            .into_iter()
            .find(|known| known.as_str() == text)
            .ok_or(UnknownState)
    }
}

/// A lease, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LeaseEntry {
    /// The lease.
    pub lease: LeaseId,
    /// The decision that it came from.
    pub decision: DecisionId,
    /// Whose.
    pub tenant: String,
    /// Who asked.
    pub principal: String,
    /// For what.
    pub role: String,
    /// Where the credential works.
    pub target: String,
    /// When it was recorded.
    pub issued_at: Timestamp,
    /// When it dies by itself.
    pub dies_at: Timestamp,
    /// When somebody asked to end it, if anybody did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_asked_at: Option<Timestamp>,
    /// When its target confirmed the end, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Whether it was renewed, so that `dies_at` is that of a later decision.
    pub renewed: bool,
    /// Whether it can be ended before `dies_at`.
    pub revocable: Revocability,
    /// What that comes to.
    pub state: LeaseState,
}

/// An authorisation without a lease, as lists show it: something may live of which there is no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnleasedEntry {
    /// The decision.
    pub decision: DecisionId,
    /// Whose.
    pub tenant: String,
    /// Who asked.
    pub principal: String,
    /// For what.
    pub role: String,
    /// Where the credential would work.
    pub target: String,
    /// When it was authorised.
    pub authorised_at: Timestamp,
    /// When whatever it led to is dead at the latest.
    pub dies_by: Timestamp,
    /// `open` (in flight, or lost), `superseded`, `abandoned`, or `unknown` (looked after, and nothing can end it).
    pub state: String,
    /// The lease that it would have renewed; absent unless it is a renewal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renews: Option<LeaseId>,
}

/// A decision, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DecisionEntry {
    /// The decision.
    pub decision: DecisionId,
    /// When.
    pub at: Timestamp,
    /// What was asked: `mint`, `lease.list`, …
    pub operation: String,
    /// Whose.
    pub tenant: String,
    /// Who asked.
    pub principal: String,
    /// For which role; absent unless a credential was asked for.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// `allow`, `would_allow`, `permit` or a refusal code.
    pub outcome: String,
    /// The target, if it was authorised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When what it authorised is dead at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dies_by: Option<Timestamp>,
}

/// A record of the audit chain with what it is about. The members are those of the lines that sinks get.
#[derive(Debug, Clone, Serialize)]
pub struct AuditEntry {
    /// The writer's number in this store.
    pub writer: i64,
    /// Its sequence number.
    pub seq: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub kind: String,
    /// Whose; empty for the server itself.
    pub tenant: String,
    /// The record's hash, hex.
    pub hash: String,
    /// The lease that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease: Option<LeaseId>,
    /// The decision that it is about, or that the lease came from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision: Option<DecisionId>,
    /// Who asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// For what; empty unless it was a credential.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// What was decided: `mint`, `lease.list`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// `allow`, `would_allow`, `permit` or a refusal code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<String>,
    /// What changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

/// Some entries of a list, newest first, and where the next ones begin.
#[derive(Debug)]
pub struct Page<T> {
    /// The entries.
    pub entries: Vec<T>,
    /// The next ones are older than this; none at the end. A page may be short, or empty, and not be the last: each
    /// looks at a bounded part of the store.
    pub before: Option<DecisionId>,
}

/// Some records of the audit chain, each chain's in order.
#[derive(Debug)]
pub struct AuditPage {
    /// The records.
    pub entries: Vec<AuditEntry>,
    /// How far they were read.
    pub place: AuditPlace,
    /// True if there are more now.
    pub more: bool,
}

/// How far the chains were read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditPlace {
    /// Chains up to this one were read to their end, and have ended.
    pub(super) base: i64,
    /// The last sequence number read of the others.
    pub(super) read: BTreeMap<i64, i64>,
}

impl AuditPlace {
    /// The last sequence number read of the chain `writer`.
    pub(super) fn of(&self, writer: i64) -> i64 {
        self.read.get(&writer).copied().unwrap_or(0)
    }
}
