//! What a block is compared with: the few keys of a caller's request.

use serde_json::Value;

use super::chain::Canon;
use crate::domain::{BlockKind, PrincipalKey, RoleName, TenantName};
use crate::identity::{Caller, Runner};

/// The keys of a decision that are no columns of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) issuer: String,
    pub(super) subject: String,
    pub(super) repository_id: Option<String>,
    pub(super) repository: Option<String>,
    /// What the runner goes by, one name per line: of one that proved itself its issuer, principal key, SPIFFE ID and
    /// id; and the platform's number for it, which the job's own token says. A proof never takes the number's place: a
    /// block on it would be got around by showing the proof of another runner.
    pub(super) runner: Option<String>,
}

/// Every subject whose block stops a request, as blocks are stored.
#[derive(Debug, Clone)]
pub(super) struct Subjects(pub(super) Vec<String>);

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
            runner: names(runner.map(proved), attribute("runner_id")),
        }
    }

    /// The keys of a decision that was recorded before keys were stored, from its input.
    pub(super) fn of_input(input: &Value) -> Option<Self> {
        let identity = input.get("identity")?;
        let text = |name: &str| identity.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let proved = input.get("runner").map(|runner| {
            let text = |name: &str| runner.get(name).and_then(Value::as_str).map(ToOwned::to_owned);
            PROVED.map(text).into_iter().flatten().collect()
        });
        Some(Self {
            issuer: text("issuer")?,
            subject: text("subject")?,
            repository_id: text("repository_id"),
            repository: text("repository"),
            runner: names(proved, text("runner_id")),
        })
    }

    /// Every subject whose block stops a request with these keys.
    pub(super) fn subjects(&self, tenant: &str, principal: &str, role: &str) -> Subjects {
        let of = |kind: BlockKind, value: &str| format!("{kind}:{value}");
        let mut subjects = vec![
            BlockKind::Everything.to_string(),
            of(BlockKind::Tenant, tenant),
            of(BlockKind::Principal, principal),
            of(BlockKind::Role, role),
            of(BlockKind::Issuer, &self.issuer),
            of(BlockKind::Identity, &format!("{}#{}", self.issuer, self.subject)),
        ];
        let repository = [&self.repository_id, &self.repository];
        subjects.extend(repository.into_iter().flatten().map(|name| of(BlockKind::Repository, name)));
        // Whatever an issuer under a block vouches for is stopped, the runner's proof too.
        for name in self.runner.iter().flat_map(|names| names.lines()) {
            subjects.extend([of(BlockKind::Runner, name), of(BlockKind::Issuer, name)]);
        }
        Subjects(subjects)
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

/// Members of `input.runner` that a runner goes by.
const PROVED: [&str; 4] = ["issuer", "principal", "spiffe_id", "id"];

/// What a runner that proved itself goes by, in the order of [`PROVED`].
fn proved(runner: &Runner) -> Vec<String> {
    let proof = runner.caller();
    let ids = proof.spiffe_id().into_iter().chain([runner.id()]).map(ToOwned::to_owned);
    [proof.issuer_url().to_string(), proof.principal().to_string()].into_iter().chain(ids).collect()
}

/// All names, one per line; none if there is none.
fn names(proved: Option<Vec<String>>, number: Option<String>) -> Option<String> {
    let names: Vec<String> = proved.into_iter().flatten().chain(number).collect();
    (!names.is_empty()).then(|| names.join("\n"))
}

/// Every subject whose block stops `caller` on `runner` from getting `role`.
pub(super) fn subjects_of(caller: &Caller, runner: Option<&Runner>, role: &RoleName) -> Subjects {
    let (tenant, principal): (&TenantName, &PrincipalKey) = (caller.tenant(), caller.principal());
    Keys::of(caller, runner).subjects(tenant.as_str(), principal.as_str(), role.as_str())
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
        let runner = crate::identity::testing::runner("runner-7", "its token", noon());
        let Subjects(subjects) = subjects_of(&caller, Some(&runner), &"deploy".parse().unwrap());
        let of = |kind: &str| subjects.iter().filter(|subject| subject.starts_with(kind)).count();
        assert_eq!((of("runner:"), of("issuer:"), subjects.len()), (3, 4, 14), "{subjects:?}");
        // That of an issuer with the name of something else is nobody's, and no subject of a block.
        for subject in
            subjects.iter().filter(|subject| !subject.starts_with("issuer:") || subject.contains("://"))
        {
            assert_eq!(subject.parse::<BlockSubject>().unwrap().to_string(), *subject);
        }
    }

    #[test]
    fn the_keys_of_a_recorded_input_are_those_of_its_request() {
        let facts = crate::facts::testing::plain_facts("token", noon());
        let input: Value = serde_json::from_str(facts.input_json()).unwrap();
        assert_eq!(Keys::of_input(&input), Some(Keys::of(facts.caller(), None)));
        assert_eq!(Keys::of_input(&json!({})), None);
        let runner = crate::identity::testing::runner("runner-7", "its token", noon());
        let facts = crate::facts::testing::on_runner(facts, runner.clone());
        let input: Value = serde_json::from_str(facts.input_json()).unwrap();
        assert_eq!(Keys::of_input(&input), Some(Keys::of(facts.caller(), Some(&runner))));
    }
}
