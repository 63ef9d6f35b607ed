//! Facts for unit tests of the modules below; production code has no such door.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::json;

use super::{Context, Facts, IdentityInput, Input, OperationFacts, Origins, Resource};
use crate::config::{
    JwtRole, JwtTarget, LeaseTerms, ProviderRole, Role, RoleBudget, RunnerTerms, ScopeSpec, Target,
    TargetKind, TtlLimits,
};
use crate::domain::{Ask, DecisionId, Operation, Tenants, Ttl};
use crate::identity::Runner;
use crate::identity::testing::{JobKey, bound, caller};

/// A role `deploy` of the `jwt` target `api` with the scopes `read` and `write`, decided by `ci.deploy`.
pub(crate) fn role() -> Role {
    let ttl = |seconds| Ttl::from_secs(seconds).unwrap();
    let scopes = ["read", "write"];
    Role {
        budget: RoleBudget::Ordinary,
        per_minute: None,
        name: "deploy".parse().unwrap(),
        tenant: "default".parse().unwrap(),
        description: "for tests".into(),
        environment: Some("production".into()),
        labels: BTreeMap::default(),
        target: "api".parse().unwrap(),
        table: None,
        scopes: scopes.iter().map(|s| (s.parse().unwrap(), ScopeSpec::Jwt)).collect(),
        default_scopes: scopes.iter().map(|s| s.parse().unwrap()).collect(),
        ttl: TtlLimits { default: ttl(900), max: ttl(3600) },
        lease: LeaseTerms::default(),
        runner: RunnerTerms::default(),
        policies: vec!["ci.deploy".parse().unwrap()],
        possession_required: false,
        declared: BTreeMap::default(),
        sources: Vec::new(),
        provider: ProviderRole::Jwt(JwtRole { claims: std::collections::BTreeSet::default() }),
    }
}

/// An ask for all of `role`'s defaults.
pub(crate) fn ask(role: &Role) -> Ask {
    Ask {
        role: role.name.clone(),
        scopes: None,
        ttl: None,
        declared: BTreeMap::default(),
        idempotency_key: None,
        dry_run: false,
        renews: None,
        source_ip: None,
        trace_parent: None,
    }
}

/// Facts for `ask`ing for `role` of `target` with `token`, at `now`.
pub(crate) fn facts(token: &str, now: Timestamp, role: Role, target: TargetKind, ask: Ask) -> Facts {
    let caller = caller(token, now);
    let ttl = ask.ttl.unwrap_or(role.ttl.default);
    let scopes = ask.scopes.clone().unwrap_or_else(|| role.default_scopes.clone());
    let provider = match target {
        TargetKind::Aws(_) => "aws",
        TargetKind::Vault(_) => "vault",
        TargetKind::Jwt(_) => "jwt",
    };
    let input = Input {
        operation: Operation::Mint,
        identity: IdentityInput {
            issuer: caller.issuer_url().to_string(),
            kind: caller.kind().into(),
            subject: caller.subject().into(),
            principal: caller.principal().to_string(),
            tenant: caller.tenant().to_string(),
            trust: caller.trust(),
            age_seconds: 0,
            bound: false,
            attributes: Arc::clone(caller.attributes()),
            claims: Arc::clone(caller.claims()),
        },
        runner: None,
        resource: Resource {
            role: role.name.to_string(),
            provider: provider.into(),
            tenant: role.tenant.to_string(),
            environment: role.environment.clone(),
            labels: role.labels.clone(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
        },
        context: Context {
            time: "12:00".into(),
            timestamp: now.to_string(),
            weekday: "monday".into(),
            source_ip: None,
            requested_ttl: ttl.as_minutes(),
            requested_ttl_seconds: ttl.as_secs(),
            facts: [("branch".to_owned(), json!("main"))].into(),
        },
        declared: BTreeMap::default(),
    };
    let input_json = serde_json::to_string(&input).unwrap();
    Facts {
        decision: DecisionId::new(
            now.as_millisecond().unsigned_abs(),
            &crate::clock::random_bytes().unwrap(),
        ),
        now,
        caller,
        runner: None,
        ask,
        target: Arc::new(Target { name: role.target.clone(), kind: target, concurrency: None }),
        role: Arc::new(role),
        row: None,
        scopes,
        ttl,
        input,
        input_json,
        origins: Origins::new(),
        failed: BTreeMap::default(),
    }
}

/// `facts` of a job on a runner that proved itself.
pub(crate) fn on_runner(facts: Facts, runner: Runner) -> Facts {
    let mut input = facts.input.clone();
    input.runner = Some(super::runner::input(&runner, &mut Origins::new()));
    let input_json = serde_json::to_string(&input).unwrap();
    Facts { runner: Some(runner), input, input_json, ..facts }
}

/// Facts for the role of [`role`] and its defaults.
pub(crate) fn plain_facts(token: &str, now: Timestamp) -> Facts {
    let role = role();
    let ask = ask(&role);
    facts(token, now, role, TargetKind::Jwt(JwtTarget { audience: "https://api.example".into() }), ask)
}

/// The same of a caller whose token is bound to `key`, with a proof that is known by `id`.
pub(crate) fn bound_facts(token: &str, key: &JobKey, id: &str, now: Timestamp) -> Facts {
    let facts = plain_facts(token, now);
    Facts { caller: bound(facts.caller, key, id, now), ..facts }
}

/// Facts for asking for `operation` within `tenants` with `token`, at `now`.
pub(crate) fn operation_facts(
    token: &str,
    now: Timestamp,
    operation: Operation,
    tenants: Tenants,
) -> OperationFacts {
    OperationFacts {
        decision: DecisionId::new(
            now.as_millisecond().unsigned_abs(),
            &crate::clock::random_bytes().unwrap(),
        ),
        now,
        caller: caller(token, now),
        operation,
        tenants,
        input_json: json!({ "operation": operation, "resource": { "filter": { "role": "deploy" } } })
            .to_string(),
        origins: Origins::new(),
    }
}

/// Facts for setting a block by an identity whose token is bound to `key`, which the proof `id` has proved at `now`.
pub(crate) fn bound_operation(
    key: &JobKey,
    id: &str,
    now: Timestamp,
    operation: Operation,
) -> OperationFacts {
    let facts = operation_facts("token", now, operation, Tenants::One("default".parse().unwrap()));
    OperationFacts { caller: bound(facts.caller, key, id, now), ..facts }
}
