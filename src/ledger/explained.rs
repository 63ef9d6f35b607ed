//! The decision record as it is read: whole again, for `tollgate explain` and `GET /v1/decisions/{id}`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::frame;
use super::record::rests_on;
use crate::domain::{DecisionId, LeaseId};
use crate::secret::Fingerprint;

/// A decision record, version 1. Whoever shows it checks `tenant` and `principal` against the reader first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionRecord {
    /// Version of this schema: 1.
    pub version: u32,
    /// The decision.
    pub decision: DecisionId,
    /// What was decided: `mint`, `lease.list`, …
    pub operation: String,
    /// The caller's tenant.
    pub tenant: String,
    /// The caller's principal key.
    pub principal: String,
    /// The role asked for; empty unless a credential was.
    pub role: String,
    /// The decision's time: what every rule saw as now.
    pub at: Timestamp,
    /// `allow`, `would_allow`, `permit` or a refusal code.
    pub result: String,
    /// SHA-256 of the token's header and payload, with the dot between them, hex.
    pub token: String,
    /// What evaluated the policies.
    pub engine: String,
    /// Digest of the configuration files, target tables included.
    pub configuration: String,
    /// Digest of the policy files and their data; absent if no policy was reached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Line of the target table's row, if one was used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_line: Option<u64>,
    /// The lease that it renews, or would have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renews: Option<LeaseId>,
    /// What each package answered.
    pub results: Vec<Value>,
    /// `{"is": "allow" | "would_allow", ttl, scopes, tags}` `{"is": "permit"}` or `{"is": "refused", code, message, reasons, detail}`.
    pub outcome: Value,
    /// Key path to source and detail, for every key whose source failed.
    pub failed: BTreeMap<String, Value>,
    /// Key path to origin, for every key of the input.
    pub origins: BTreeMap<String, Value>,
    /// The policy input; absent once erased.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// The target, if it was authorised.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// When what it authorised is dead at the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dies_by: Option<Timestamp>,
}

/// The stored parts of a decision record.
pub(super) struct Stored {
    pub(super) decision: [u8; 16],
    pub(super) operation: String,
    pub(super) tenant: String,
    pub(super) principal: String,
    pub(super) role: String,
    pub(super) at: i64,
    pub(super) result: String,
    pub(super) token: [u8; 32],
    pub(super) frame: String,
    pub(super) body: String,
    pub(super) values: Option<String>,
    pub(super) target: Option<String>,
    pub(super) dies_by: Option<i64>,
}

#[derive(Deserialize)]
struct Frame {
    version: u32,
    engine: String,
    configuration: String,
    policy: Option<String>,
    origins: BTreeMap<String, Value>,
    input: Value,
}

#[derive(Deserialize)]
struct Body {
    #[serde(default)]
    results: Vec<Value>,
    #[serde(default)]
    failed: BTreeMap<String, Value>,
    table_line: Option<u64>,
    renews: Option<LeaseId>,
    outcome: Value,
}

impl Stored {
    /// What it rests on, as it is stored now; none once its input is erased.
    pub(super) fn rests_on(&self) -> Option<Fingerprint> {
        let token = Fingerprint::from_bytes(self.token);
        let hash = |text: &str| Fingerprint::of(text.as_bytes());
        let parts = [hash(&self.frame), hash(&self.body), hash(self.values.as_deref()?)];
        Some(rests_on(&self.decision, &self.role, &token, parts.each_ref()))
    }

    /// Joins the parts.
    ///
    /// # Errors
    /// A part that is not the JSON that version 1 says: damaged, or written by a newer Tollgate.
    pub(super) fn join(self) -> Result<DecisionRecord, serde_json::Error> {
        let frame: Frame = serde_json::from_str(&self.frame)?;
        let body: Body = serde_json::from_str(&self.body)?;
        let values: Option<Vec<Value>> = self.values.as_deref().map(serde_json::from_str).transpose()?;
        Ok(DecisionRecord {
            version: frame.version,
            decision: DecisionId::from_bytes(self.decision),
            operation: self.operation,
            tenant: self.tenant,
            principal: self.principal,
            role: self.role,
            at: time(self.at),
            result: self.result,
            token: Fingerprint::from_bytes(self.token).to_string(),
            engine: frame.engine,
            configuration: frame.configuration,
            policy: frame.policy,
            table_line: body.table_line,
            renews: body.renews,
            results: body.results,
            outcome: body.outcome,
            failed: body.failed,
            origins: frame.origins,
            input: values.and_then(|values| frame::join(&frame.input, &values)),
            target: self.target,
            dies_by: self.dies_by.map(time),
        })
    }
}

/// A stored time; one out of range can only be damage, and reads as 1970.
pub(super) fn time(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH)
}
