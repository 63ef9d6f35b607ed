//! What keeps a record longer than it would have to be kept, and with it all that follows in its chain.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::{BlockId, DecisionId, LeaseId};

/// Why a record stays. Times say from when on it may go, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Held {
    /// It is younger than the retention.
    Young {
        /// When it is not.
        until: Timestamp,
    },
    /// It may go, with so few others that they wait for more, at most a day.
    Few {
        /// When it goes without more.
        until: Timestamp,
    },
    /// The newest record of each chain stays for good.
    Newest,
    /// No signed checkpoint covers it.
    Unproven,
    /// A configured sink has not got it.
    Undelivered {
        /// Its name.
        sink: String,
    },
    /// Its authorisation is open, or may have led to something alive.
    Open {
        /// Whose.
        decision: DecisionId,
    },
    /// The token or idempotency key of its decision, or of an older one, is remembered.
    Remembered {
        /// Its decision.
        decision: DecisionId,
    },
    /// The end of the credential that it tells of is being tried.
    Ending {
        /// The lease, or the decision without one.
        of: String,
    },
    /// Its lease lives, or is over since less than the retention.
    Lease {
        /// Which.
        lease: LeaseId,
        /// When it was over long enough, unless it is renewed.
        until: Timestamp,
    },
    /// Its block is in force, or is over since less than the retention.
    Block {
        /// Which.
        block: BlockId,
        /// When it was over long enough; none as long as it has no end.
        until: Option<Timestamp>,
    },
    /// What vouches for the same thing is in another chain, and still there.
    Elsewhere {
        /// The lease or the decision.
        of: String,
    },
    /// Its kind is not one that this version knows.
    Unknown,
    /// The chain does not verify from here on.
    Broken,
    /// A server pruned while this was read.
    Moved,
}

impl Held {
    /// When `at`, Unix milliseconds, is `age` milliseconds ago.
    pub(super) fn past(at: i64, age: i64) -> Timestamp {
        Timestamp::from_millisecond(at.saturating_add(age)).unwrap_or(Timestamp::MAX)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young { until } => write!(f, "younger than the retention until {until}"),
            Self::Few { until } => {
                write!(f, "too few for a seal of their own: they wait for more, until {until} at the latest")
            }
            Self::Newest => f.write_str("the newest record of a chain stays"),
            Self::Unproven => f.write_str("no signed checkpoint covers it yet"),
            Self::Undelivered { sink } => write!(f, "sink `{sink}` has not got it"),
            Self::Open { decision } => {
                write!(f, "authorisation {decision} is open, or may have led to something alive")
            }
            Self::Remembered { decision } => {
                write!(
                    f,
                    "a token or an idempotency key is remembered of decision {decision} or an older one"
                )
            }
            Self::Ending { of } => write!(f, "the end of {of} is being tried"),
            Self::Lease { lease, until } => {
                write!(f, "lease {lease} lives, or is not over since longer than the retention until {until}")
            }
            Self::Block { block, until: Some(until) } => {
                write!(
                    f,
                    "block {block} is in force, or not over since longer than the retention until {until}"
                )
            }
            Self::Block { block, until: None } => write!(f, "block {block} is in force without an end"),
            Self::Elsewhere { of } => write!(f, "the record that vouches for {of} is still in another chain"),
            Self::Unknown => f.write_str("a record of a kind that this version does not know"),
            Self::Broken => f.write_str("the chain is not whole from here on: see `tollgate audit verify`"),
            Self::Moved => f.write_str("a server prunes it at this moment: ask again"),
        }
    }
}
