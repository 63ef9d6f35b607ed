//! The decision record, version 1: all that replaying or explaining a decision needs.
//!
//! A record is stored in three parts that [`DecisionRecord`] joins again: the **frame** (version, engine, revisions,
//! origins, structure of the input; shared), the **body** (results, outcome, failed sources) and the **values** of the
//! input, which may be erased: the chain holds only their hash. No token, no secret: a fingerprint of the token.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::json;

use super::chain::Canon;
use super::frame;
use super::matching::Keys;
use super::states::AskedFor;
use crate::domain::{DecisionId, LeaseId, Operation, Refusal, ScopeName, Ttl};
use crate::facts::SourceFailure;
use crate::identity::Caller;
use crate::policy::{Grant, Judged, JudgedOperation, PackageResult, Permit};
use crate::secret::Fingerprint;

/// Version of the record's schema.
pub(super) const VERSION: u32 = 1;

/// What evaluated the policies; its version is pinned in `Cargo.toml`.
pub(super) const ENGINE: &str = "regorus 0.14.1";

/// A decision as its row is written. Built in the caller's task: the writer only stores it.
#[derive(Debug, Clone)]
pub(super) struct DecisionRow {
    pub(super) id: DecisionId,
    pub(super) tenant: String,
    pub(super) principal: String,
    pub(super) role: String,
    pub(super) at: i64,
    pub(super) operation: &'static str,
    /// `allow`, `would_allow`, `permit` or a refusal code.
    pub(super) outcome: &'static str,
    pub(super) token: Fingerprint,
    pub(super) frame: Text,
    pub(super) body: String,
    pub(super) input: Text,
    /// Only an allow leads to a mint.
    pub(super) planned: Option<PlannedRow>,
}

/// What an authorisation adds to its decision.
#[derive(Debug, Clone)]
pub(super) struct PlannedRow {
    pub(super) target: String,
    /// Sealed.
    pub(super) handle: Vec<u8>,
    pub(super) dies_by: i64,
    /// What a block matches it by.
    pub(super) keys: Keys,
}

/// A text with its hash.
#[derive(Debug, Clone)]
pub(super) struct Text {
    pub(super) hash: Fingerprint,
    pub(super) text: String,
}

impl Text {
    pub(super) fn new(text: String) -> Self {
        Self { hash: Fingerprint::of(text.as_bytes()), text }
    }
}

/// The columns of a decision as the chain vouches for them.
pub(super) struct Columns<'a> {
    pub(super) id: &'a [u8],
    pub(super) tenant: &'a str,
    pub(super) principal: &'a str,
    pub(super) role: &'a str,
    pub(super) at: i64,
    pub(super) operation: &'a str,
    pub(super) outcome: &'a str,
    pub(super) token: &'a [u8],
    pub(super) frame: &'a [u8],
    pub(super) body: &'a str,
    pub(super) input: &'a [u8],
    pub(super) target: Option<&'a str>,
    pub(super) handle: Option<&'a [u8]>,
    pub(super) dies_by: Option<i64>,
    /// Absent in decisions that led to nothing, and in all that were recorded before keys were stored.
    pub(super) keys: Option<&'a Keys>,
}

impl Columns<'_> {
    /// The payload of the decision's audit record.
    pub(super) fn payload(&self) -> Fingerprint {
        let columns = self.hash(Canon::new(match self.keys {
            Some(_) => "tollgate/decision/2",
            None => "tollgate/decision/1",
        }));
        match self.keys {
            Some(keys) => keys.hash(columns).finish(),
            None => columns.finish(),
        }
    }

    fn hash(&self, canon: Canon) -> Canon {
        canon
            .bytes(self.id)
            .text(self.tenant)
            .text(self.principal)
            .text(self.role)
            .int(self.at)
            .text(self.operation)
            .text(self.outcome)
            .bytes(self.token)
            .bytes(self.frame)
            .text(self.body)
            .bytes(self.input)
            .option(self.target.map(str::as_bytes))
            .option(self.handle)
            .option(self.dies_by.map(i64::to_be_bytes).as_ref().map(<[u8; 8]>::as_slice))
    }
}

impl DecisionRow {
    /// The payload of its audit record.
    pub(super) fn payload(&self) -> Fingerprint {
        let planned = self.planned.as_ref();
        Columns {
            id: self.id.as_bytes(),
            tenant: &self.tenant,
            principal: &self.principal,
            role: &self.role,
            at: self.at,
            operation: self.operation,
            outcome: self.outcome,
            token: self.token.as_bytes(),
            frame: self.frame.hash.as_bytes(),
            body: &self.body,
            input: self.input.hash.as_bytes(),
            target: planned.map(|p| p.target.as_str()),
            handle: planned.map(|p| p.handle.as_slice()),
            dies_by: planned.map(|p| p.dies_by),
            keys: planned.map(|p| &p.keys),
        }
        .payload()
    }

    /// The row of a grant that is planned, or, without a plan, of a dry run that policy allows.
    ///
    /// What it rests on is in [`Self::rests_on`], for whoever reads it back and must be sure of it.
    pub(super) fn of_grant(grant: &Grant, planned: Option<PlannedRow>) -> Self {
        let allowed = Allowed { ttl: grant.ttl(), scopes: grant.scopes(), tags: grant.tags() };
        let (outcome, told) = match planned {
            Some(_) => ("allow", Outcome::Allow(allowed)),
            None => ("would_allow", Outcome::WouldAllow(allowed)),
        };
        Self { outcome, planned, ..Self::of_judged(grant.judged(), told) }
    }

    /// What the decision rests on, in one hash: kept sealed beside the handle, so that a renewal can be sure of it.
    pub(super) fn rests_on(&self) -> Fingerprint {
        let Self { id, role, token, frame, body, input, .. } = self;
        rests_on(id.as_bytes(), role, token, [&frame.hash, &Fingerprint::of(body.as_bytes()), &input.hash])
    }

    /// The row of a decision that ends in `refusal`.
    pub(super) fn of_refusal(judged: &Judged, refusal: &Refusal) -> Self {
        let outcome = refusal.code.as_str();
        Self { outcome, ..Self::of_judged(judged, Outcome::Refused(refusal)) }
    }

    fn of_judged(judged: &Judged, outcome: Outcome<'_>) -> Self {
        let facts = judged.facts();
        let split = split(facts.input_json());
        let body = Body {
            results: judged.results(),
            failed: facts.failed(),
            table_line: facts.row().map(|row| row.line),
            renews: facts.ask().renews,
            outcome,
        };
        let revisions = Revisions { configuration: judged.configuration(), policy: Some(judged.revision()) };
        let frame =
            frame_text(facts.caller().tenant().as_str(), &facts.origins().to_json(), &revisions, &split);
        Self {
            role: facts.role().name.to_string(),
            at: facts.now().as_millisecond(),
            operation: facts.input().operation.as_str(),
            ..Self::of_caller(facts.caller(), facts.decision(), frame, &body, split.values)
        }
    }

    /// The row of an operation that is permitted.
    pub(super) fn of_permit(permit: &Permit) -> Self {
        Self { outcome: "permit", ..Self::of_operation(permit.judged(), Outcome::Permit) }
    }

    /// The row of an operation that policy refused.
    pub(super) fn of_refused_operation(judged: &JudgedOperation, refusal: &Refusal) -> Self {
        let outcome = refusal.code.as_str();
        Self { outcome, ..Self::of_operation(judged, Outcome::Refused(refusal)) }
    }

    fn of_operation(judged: &JudgedOperation, outcome: Outcome<'_>) -> Self {
        let facts = judged.facts();
        let split = split(facts.input_json());
        let failed = BTreeMap::new();
        let body =
            Body { results: judged.results(), failed: &failed, table_line: None, renews: None, outcome };
        let revisions = Revisions { configuration: judged.configuration(), policy: Some(judged.revision()) };
        let frame =
            frame_text(facts.caller().tenant().as_str(), &facts.origins().to_json(), &revisions, &split);
        Self {
            at: facts.now().as_millisecond(),
            operation: facts.operation().as_str(),
            ..Self::of_caller(facts.caller(), facts.decision(), frame, &body, split.values)
        }
    }

    /// The row of a caller whose request for `asked` never reached policy.
    pub(super) fn of_unjudged(
        caller: &Caller,
        asked: AskedFor<'_>,
        decision: DecisionId,
        at: i64,
        refusal: &Refusal,
        configuration: Fingerprint,
    ) -> Self {
        let (operation, role) = match asked {
            AskedFor::Role(role) => (Operation::Mint, role),
            AskedFor::Operation(operation) => (operation, ""),
        };
        let mut input = json!({
            "operation": operation.as_str(),
            "identity": {
                "issuer": caller.issuer_url(), "kind": caller.kind(), "subject": caller.subject(),
                "principal": caller.principal(), "tenant": caller.tenant(), "trust": caller.trust(),
                "claims": caller.claims(),
            },
        });
        if let (AskedFor::Role(role), Some(members)) = (asked, input.as_object_mut()) {
            members.insert("resource".to_owned(), json!({ "role": role }));
        }
        let split = split(&input.to_string());
        let failed = BTreeMap::new();
        let body = Body {
            results: &[],
            failed: &failed,
            table_line: None,
            renews: None,
            outcome: Outcome::Refused(refusal),
        };
        let frame =
            frame_text(caller.tenant().as_str(), "{}", &Revisions { configuration, policy: None }, &split);
        Self {
            role: role.to_owned(),
            at,
            operation: operation.as_str(),
            outcome: refusal.code.as_str(),
            ..Self::of_caller(caller, decision, frame, &body, split.values)
        }
    }

    fn of_caller(caller: &Caller, id: DecisionId, frame: Text, body: &Body<'_>, values: String) -> Self {
        Self {
            id,
            tenant: caller.tenant().to_string(),
            principal: caller.principal().to_string(),
            role: String::new(),
            at: 0,
            operation: Operation::Mint.as_str(),
            outcome: "",
            token: caller.token(),
            frame,
            body: to_json(body),
            input: Text::new(values),
            planned: None,
        }
    }
}

/// The hash of [`DecisionRow::rests_on`], of the hashes of frame, body and input.
pub(super) fn rests_on(
    decision: &[u8],
    role: &str,
    token: &Fingerprint,
    parts: [&Fingerprint; 3],
) -> Fingerprint {
    let start = Canon::new("tollgate/rests-on/1").bytes(decision).text(role).bytes(token.as_bytes());
    parts.iter().fold(start, |canon, part| canon.bytes(part.as_bytes())).finish()
}

/// The part that differs from decision to decision, input aside.
#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    results: &'a [PackageResult],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    failed: &'a BTreeMap<String, SourceFailure>,
    #[serde(skip_serializing_if = "Option::is_none")]
    table_line: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renews: Option<LeaseId>,
    outcome: Outcome<'a>,
}

#[derive(Serialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum Outcome<'a> {
    Allow(Allowed<'a>),
    WouldAllow(Allowed<'a>),
    Permit,
    Refused(&'a Refusal),
}

#[derive(Serialize)]
struct Allowed<'a> {
    ttl: Ttl,
    scopes: &'a BTreeSet<ScopeName>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
}

/// What a decision rests on: digests of the files that were in force when it began.
#[derive(Clone, Copy)]
struct Revisions {
    configuration: Fingerprint,
    /// None if no policy was reached.
    policy: Option<Fingerprint>,
}

/// The part that many decisions share. It names the tenant, so that tenants never share one. `origins` and `input` follow.
#[derive(Serialize)]
struct Frame<'a> {
    version: u32,
    tenant: &'a str,
    engine: &'a str,
    configuration: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
}

fn frame_text(tenant: &str, origins: &str, revisions: &Revisions, split: &frame::Split) -> Text {
    let configuration = revisions.configuration.to_string();
    let policy = revisions.policy.map(|revision| revision.to_string());
    let head = to_json(&Frame { version: VERSION, tenant, engine: ENGINE, configuration, policy });
    // The two large members are JSON already, and not read again to be written.
    let head = head.trim_end_matches('}');
    Text::new([head, ",\"origins\":", origins, ",\"input\":", &split.shape, "}"].concat())
}

/// Splits an input of ours, which is JSON.
fn split(input: &str) -> frame::Split {
    frame::split(input).unwrap_or_default()
}

/// Serialises types of ours that hold nothing that JSON cannot: text, numbers, string-keyed maps.
fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_engine_is_the_pinned_one() {
        let version = ENGINE.strip_prefix("regorus ").unwrap();
        let pinned = format!("regorus = {{ version = \"={version}\"");
        assert!(include_str!("../../Cargo.toml").contains(&pinned));
    }
}
