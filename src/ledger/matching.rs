//! What a block is compared with: the few keys of a caller's request.

use serde_json::Value;

use super::chain::Canon;
use crate::domain::{BlockKind, PrincipalKey, RoleName, TenantName};
use crate::facts::Runner;
use crate::identity::Caller;

/// Most subjects that one request has.
pub(super) const SUBJECTS: usize = 9;

/// The keys of a decision that are no columns of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) repository_id: Option<String>,
    pub(super) repository: Option<String>,
    /// The SPIFFE ID of a runner that proved itself, else the platform's number for it.
    pub(super) runner: Option<String>,
}

/// Every subject whose block stops a request, as blocks are stored.
#[derive(Debug, Clone)]
pub(super) struct Subjects(pub(super) [Option<String>; SUBJECTS]);

impl Keys {
    /// The keys of a request.
    pub(super) fn of(caller: &Caller, runner: Option<&Runner>) -> Self {
        let attribute =
            |name: &str| caller.attributes().get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        Self {
            issuer: caller.issuer_url().to_string(),
            subject: caller.subject().to_owned(),
            repository_id: attribute("repository_id"),
            repository: attribute("repository"),
            runner: runner.map(|runner| runner.spiffe_id.clone()).or_else(|| attribute("runner_id")),
        }
    }

    /// The keys of a decision that was recorded before keys were stored, from its input.
    pub(super) fn of_input(input: &Value) -> Option<Self> {
        let identity = input.get("identity")?;
        let text = |name: &str| identity.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let runner = input.pointer("/runner/spiffe_id").and_then(Value::as_str).map(ToOwned::to_owned);
        Some(Self {
            issuer: text("issuer")?,
            subject: text("subject")?,
            repository_id: text("repository_id"),
            repository: text("repository"),
            runner: runner.or_else(|| text("runner_id")),
        })
    }

    /// Every subject whose block stops a request with these keys.
    pub(super) fn subjects(&self, tenant: &str, principal: &str, role: &str) -> Subjects {
        let of = |kind: BlockKind, value: &str| Some(format!("{kind}:{value}"));
        let some = |kind, value: &Option<String>| value.as_deref().and_then(|value| of(kind, value));
        Subjects([
            Some(BlockKind::Everything.to_string()),
            of(BlockKind::Tenant, tenant),
            of(BlockKind::Principal, principal),
            of(BlockKind::Role, role),
            of(BlockKind::Issuer, &self.issuer),
            of(BlockKind::Identity, &format!("{}#{}", self.issuer, self.subject)),
            some(BlockKind::Repository, &self.repository_id),
            some(BlockKind::Repository, &self.repository),
            some(BlockKind::Runner, &self.runner),
        ])
    }

    /// Adds the keys to the hash of their decision.
    pub(super) fn hash(&self, canon: Canon) -> Canon {
        let some = |value: &Option<String>| value.as_ref().map(|value| value.clone().into_bytes());
        canon
            .text(&self.issuer)
            .text(&self.subject)
            .option(some(&self.repository_id).as_deref())
            .option(some(&self.repository).as_deref())
            .option(some(&self.runner).as_deref())
    }
}

/// Every subject whose block stops `caller` from getting `role`, as far as it is known before there are facts.
pub(super) fn subjects_of(caller: &Caller, role: &RoleName) -> Subjects {
    let (tenant, principal): (&TenantName, &PrincipalKey) = (caller.tenant(), caller.principal());
    Keys::of(caller, None).subjects(tenant.as_str(), principal.as_str(), role.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::BlockSubject;
    use crate::ledger::testing::noon;
    use serde_json::json;

    #[test]
    fn every_subject_of_a_request_is_one_that_can_be_blocked() {
        let caller = crate::identity::testing::caller("token", noon());
        let Subjects(subjects) = subjects_of(&caller, &"deploy".parse().unwrap());
        let subjects: Vec<String> = subjects.into_iter().flatten().collect();
        assert_eq!(subjects.len(), SUBJECTS - 1, "all but the runner: {subjects:?}");
        for subject in subjects {
            assert_eq!(subject.parse::<BlockSubject>().unwrap().to_string(), subject);
        }
    }

    #[test]
    fn the_keys_of_a_recorded_input_are_those_of_its_request() {
        let facts = crate::facts::testing::plain_facts("token", noon());
        let input: Value = serde_json::from_str(facts.input_json()).unwrap();
        assert_eq!(Keys::of_input(&input), Some(Keys::of(facts.caller(), None)));
        assert_eq!(Keys::of_input(&json!({})), None);
    }
}
