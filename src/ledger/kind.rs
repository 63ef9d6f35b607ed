//! Kinds of audit records, and the bodies of those that are about no row of their own.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $text:literal;)+) => {
        /// What an audit record says happened.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Kind {
            /// The kind as stored and as events show it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// Reads what [`Self::as_str`] gave.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

kinds! {
    /// A server started, and vouches for the heads of the chains before its own.
    Started "started";
    /// Another configuration is in force.
    Revision "revision";
    /// A signing key was added or changed its state.
    Key "key";
    /// A decision allows, and its plan may be minted.
    Authorised "authorised";
    /// A dry run was allowed.
    WouldAllow "would_allow";
    /// Something else than a credential was asked for, and permitted.
    Permitted "permitted";
    /// A request was refused.
    Refused "refused";
    /// Refusals without a record of their own were counted.
    Counted "counted";
    /// A credential was recorded and handed out.
    Leased "leased";
    /// An authorisation led to nothing.
    Abandoned "abandoned";
    /// A retry took an earlier attempt's place.
    Superseded "superseded";
    /// An authorisation without a lease was looked after, such as after a crash.
    Resolved "resolved";
    /// An authorisation without a lease is past the death of whatever it led to.
    Expired "expired";
    /// Somebody asked to end a lease.
    EndAsked "end_asked";
    /// A lease was ended, or nothing more can be done to end it.
    Ended "ended";
    /// A lease lives longer than it did.
    Renewed "renewed";
    /// Ending something failed so often, or for so long, that somebody must look.
    EndGivenUp "end_given_up";
    /// A block was set.
    BlockSet "block_set";
    /// What lived when a block was set is marked as to be ended.
    BlockMarked "block_marked";
    /// A block was lifted.
    BlockLifted "block_lifted";
    /// The beginning of a chain was pruned, and this vouches for it.
    Sealed "sealed";
}

/// Body of [`Kind::Started`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Started {
    /// Version of the program.
    pub(super) tollgate: String,
    /// Heads of the chains that no earlier start vouched for.
    pub(super) follows: Vec<HeadText>,
}

/// A chain's head as bodies and checkpoints hold it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct HeadText {
    /// The writer's number.
    pub(super) writer: i64,
    /// Sequence number of its last record.
    pub(super) seq: i64,
    /// Hash of that record, hex.
    pub(super) hash: String,
}

/// Body of [`Kind::Revision`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RevisionChange {
    /// Digest of the configuration files, hex.
    pub(super) configuration: String,
    /// Digest of the policy files, hex.
    pub(super) policy: String,
}

/// Body of [`Kind::Key`]: every column of the key, the long ones as hashes.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct KeyChange {
    pub(super) kid: String,
    pub(super) purpose: String,
    pub(super) algorithm: String,
    pub(super) state: String,
    pub(super) created_at: i64,
    pub(super) activates_at: i64,
    pub(super) sealed: String,
    pub(super) public_jwk: String,
    /// Absent for a key in the store, as in records from before there was another place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) place: Option<String>,
}

/// Body of [`Kind::Abandoned`] and [`Kind::Resolved`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Closed {
    /// Why, if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// True if nothing lives any more.
    pub(super) dead: bool,
}

/// Body of [`Kind::Superseded`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct SupersededBy {
    /// The retry's decision.
    pub(super) by: String,
}

/// What events say of a [`Kind::BlockMarked`], whose payload covers the rows themselves.
#[derive(Debug, Serialize)]
pub(super) struct BlockMarkedText {
    /// The block's id.
    pub(super) block: String,
    /// Leases that it marked.
    pub(super) leases: i64,
    /// Authorisations without a lease that it marked.
    pub(super) authorisations: i64,
}

/// Body of [`Kind::EndAsked`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndAsked {
    /// Unix milliseconds.
    pub(super) at: i64,
    /// Why, if its holder did not ask: `heartbeat_missed`, `blocked`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<String>,
}

/// Body of [`Kind::EndGivenUp`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndGivenUp {
    /// How often it was tried.
    pub(super) attempts: i64,
    /// How the last attempt failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    /// True if it died by itself before any target confirmed its end.
    pub(super) expired: bool,
}

/// Body of [`Kind::Renewed`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct RenewedBody {
    /// The decision that allowed it.
    pub(super) decision: String,
    /// When the lease dies from now on, Unix milliseconds.
    pub(super) dies_at: i64,
    /// False if nobody knows whether the target did it: the time is then the latest possible one.
    pub(super) confirmed: bool,
}

/// Body of [`Kind::Ended`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct EndedBody {
    /// Unix milliseconds; absent if it lives on until it expires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<i64>,
    /// How, as [`EndHow`](super::EndHow) is stored.
    pub(super) how: String,
}

/// Body of [`Kind::BlockSet`]: every column of the block but those of its end.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BlockBody {
    pub(super) block: String,
    pub(super) subject: String,
    pub(super) reason: String,
    pub(super) by: String,
    /// Unix milliseconds.
    pub(super) at: i64,
    /// Unix milliseconds; absent if it holds until it is lifted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<i64>,
}

/// Body of [`Kind::BlockLifted`].
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LiftBody {
    pub(super) block: String,
    pub(super) by: String,
    /// Unix milliseconds.
    pub(super) at: i64,
}
