//! What a block is about, as both stores find it: what lives, and how its record covers it.

use super::chain::Canon;
use super::frame;
use super::intent::BlockRow;
use super::kind::{BlockBody, LiftBody};
use super::matching::Keys;
use crate::domain::{BlockId, BlockSubject};
use crate::secret::Fingerprint;

/// Blocks that one look returns, the newest.
pub(super) const LISTED: i64 = 10_000;

/// Most blocks in force: each takes memory, and nobody oversees more.
pub(super) const IN_FORCE: i64 = 10_000;

/// Why what a block is about is ended, as its record says.
pub(super) const BLOCKED: &str = "blocked";

/// Leases and authorisations marked in one transaction.
pub(super) const MARKED_AT_ONCE: usize = 1024;

/// A block's subject as the columns of a decision can be compared with it.
pub(super) struct Pattern {
    pub(super) tenant: String,
    text: String,
    pub(super) kind: &'static str,
    pub(super) value: String,
    pub(super) second: String,
}

impl Pattern {
    /// The pattern of a stored subject in `tenant`, or in all if that is empty; none if it is damaged.
    pub(super) fn new(tenant: &str, subject: &str) -> Option<Self> {
        let parsed: BlockSubject = subject.parse().ok()?;
        let (value, second) = match &parsed {
            BlockSubject::Identity { issuer, subject } => (issuer.to_string(), subject.as_str().to_owned()),
            BlockSubject::Principal(key) => (key.to_string(), String::new()),
            BlockSubject::Repository(value) | BlockSubject::Runner(value) => {
                (value.as_str().to_owned(), String::new())
            }
            BlockSubject::Role(name) => (name.to_string(), String::new()),
            BlockSubject::Issuer(url) => (url.to_string(), String::new()),
            BlockSubject::Tenant(name) => (name.to_string(), String::new()),
            BlockSubject::Everything => (String::new(), String::new()),
        };
        let (tenant, text) = (tenant.to_owned(), subject.to_owned());
        Some(Self { tenant, text, kind: parsed.kind().as_str(), value, second })
    }

    /// Whether a decision without stored keys matches, by its input. One whose input is erased does: to end too much
    /// is the smaller harm.
    pub(super) fn fits_input(&self, one: &Touched, frame: &str, values: Option<&str>) -> bool {
        let input = || {
            let frame: serde_json::Value = serde_json::from_str(frame).ok()?;
            let values: Vec<serde_json::Value> = serde_json::from_str(values?).ok()?;
            frame::join(frame.get("input")?, &values)
        };
        let keys = input().as_ref().and_then(Keys::of_input);
        keys.is_none_or(|keys| {
            let subjects = keys.subjects(&one.tenant, &one.principal, &one.role);
            subjects.0.contains(&self.text)
        })
    }
}

/// Something that lives, or lived when it was marked: a lease, or an authorisation without one.
#[derive(Debug)]
pub(super) struct Touched {
    /// The lease's id, or the decision's.
    pub(super) subject: [u8; 16],
    pub(super) leased: bool,
    pub(super) tenant: String,
    pub(super) decision: [u8; 16],
    pub(super) principal: String,
    pub(super) role: String,
    pub(super) target: Option<String>,
    pub(super) dies_at: i64,
    pub(super) revocable: bool,
    pub(super) end_how: Option<String>,
    /// An authorisation that nobody closed.
    pub(super) open: bool,
}

impl BlockRow {
    /// What the chain holds of it when it is set.
    pub(super) fn body(&self) -> BlockBody {
        BlockBody {
            block: self.id.to_string(),
            subject: self.subject.clone(),
            reason: self.reason.clone(),
            by: self.set_by.clone(),
            at: self.set_at,
            expires_at: self.expires_at,
        }
    }

    /// What the chain holds of its lifting.
    pub(super) fn lift_body(&self) -> Option<LiftBody> {
        let by = self.lifted_by.clone();
        Some(LiftBody { block: self.id.to_string(), by: by?, at: self.lifted_at? })
    }
}

/// The payload of the audit record that covers `rows`, which come in the order of their subjects.
pub(super) fn effects_payload<'a>(
    block: BlockId,
    rows: impl Iterator<Item = ([u8; 16], bool, &'a str)>,
) -> Fingerprint {
    let start = Canon::new("tollgate/block-effects/1").bytes(block.as_bytes());
    rows.fold(start, |canon, (subject, leased, tenant)| canon.bytes(&subject).int(leased.into()).text(tenant))
        .finish()
}
