//! A configuration, policies as text, and requests for them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::config::{
    AuditSettings, Config, DenialDetail, FactSource, JwtTarget, Limits, Problems, Role, RoleBudget,
    ServerSettings, Settings, Severity, SigningSettings, StorePlace, StoreSettings, TargetKind,
    TelemetrySettings,
};
use crate::domain::{Operation, Refusal, Ttl};
use crate::facts::{self, Facts, Input};
use crate::policy::merge::{Asked, Merged, ceiling};
use crate::policy::{Decision, PackageResult, Policy};
use crate::secret::Fingerprint;

/// A package that allows `main` and nothing else.
pub(in crate::policy) const DEPLOY: &str = "package ci.deploy\nallow if { input.identity.branch == \"main\"; input.identity.repository_id == \"1234\" }\n";

pub(in crate::policy) fn ttl(text: &str) -> Ttl {
    text.parse().unwrap()
}

/// A configuration with these roles, and a source `commits` that knows `commit_signed`.
pub(in crate::policy) fn config(roles: impl IntoIterator<Item = Role>) -> Config {
    let source = FactSource {
        url: "https://facts.example/".into(),
        auth: None,
        issuers: None,
        facts: [("commit_signed".parse().unwrap(), "/signed".to_owned())].into(),
        timeout: Duration::from_secs(1),
        max_bytes: 1024,
        cache: Duration::ZERO,
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: false,
    };
    let settings = Settings {
        workload_api: None,
        blocks: crate::config::BlockSettings::default(),
        webhooks: BTreeMap::default(),
        server: ServerSettings {
            url: "https://tollgate.example".parse().unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            operations_listen: None,
            spiffe_listen: None,
            tls: None,
            trusted_proxies: Vec::new(),
            tenant: "default".parse().unwrap(),
            admin_socket: None,
        },
        store: StoreSettings {
            place: StorePlace::Sqlite(PathBuf::new()),
            key_encryption_key: String::new().into(),
            previous_key_encryption_keys: Vec::new(),
        },
        signing: SigningSettings::default(),
        audit: AuditSettings::default(),
        telemetry: TelemetrySettings::default(),
        limits: Limits {
            concurrency: 1,
            connections: 1,
            body_bytes: 1,
            request_timeout: Duration::from_secs(1),
            // Long, so that a slow machine changes no result; the test of the limit sets its own.
            policy_timeout: Duration::from_secs(30),
            refusals_per_minute: 1,
            exchanges_per_minute: 1,
            ..Limits::default()
        },
        zone: jiff::tz::TimeZone::UTC,
        denials: DenialDetail::Reasons,
        policies: PathBuf::from("policies"),
        operations: crate::config::Operations::default(),
        sources: [("commits".to_owned(), source)].into(),
    };
    Config {
        settings,
        issuers: BTreeMap::new(),
        roles: roles.into_iter().map(|role| (role.name.clone(), Arc::new(role))).collect(),
        targets: BTreeMap::new(),
        tables: BTreeMap::new(),
        revision: Fingerprint::of(b"config"),
    }
}

/// The role `deploy`, decided by `packages`, with the source `commits`.
pub(in crate::policy) fn role(packages: &[&str]) -> Role {
    Role {
        budget: RoleBudget::Ordinary,
        per_minute: None,
        runner: crate::config::RunnerTerms::default(),
        policies: packages.iter().map(|name| name.parse().unwrap()).collect(),
        possession_required: false,
        sources: vec!["commits".into()],
        ..facts::testing::role()
    }
}

/// Files below the policy folder.
pub(in crate::policy) fn files(files: &[(&str, &str)]) -> Vec<(PathBuf, String)> {
    files.iter().map(|(path, text)| (PathBuf::from("policies").join(path), (*text).to_owned())).collect()
}

/// Loads `texts` for the role [`role`] of `packages`.
pub(in crate::policy) fn load(
    packages: &[&str],
    texts: &[(&str, &str)],
) -> Result<(Policy, Problems), Problems> {
    Policy::load_files(&config([role(packages)]), files(texts))
}

/// Loads `texts`, which must load.
pub(in crate::policy) fn policy(packages: &[&str], texts: &[(&str, &str)]) -> Policy {
    match load(packages, texts) {
        Ok((policy, _)) => policy,
        Err(problems) => panic!("{}", problems.iter().map(ToString::to_string).collect::<String>()),
    }
}

/// The codes that loading `text` as the only package `p` gives, with the line, errors and warnings apart.
pub(in crate::policy) fn codes(text: &str, severity: Severity) -> Vec<(&'static str, Option<usize>)> {
    let problems = match load(&["p"], &[("p.rego", text)]) {
        Ok((_, problems)) | Err(problems) => problems,
    };
    problems.iter().filter(|p| p.severity == severity).map(|p| (p.code, p.line)).collect()
}

pub(in crate::policy) fn now() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

/// A request of `acme/shop` on `main` for `role`, for everything that it gives by default.
pub(in crate::policy) fn facts_for(role: Role) -> Facts {
    let ask = facts::testing::ask(&role);
    let target = TargetKind::Jwt(JwtTarget { audience: "https://api.example".into() });
    facts::testing::facts("token", now(), role, target, ask)
}

/// A plain request's decision.
pub(in crate::policy) fn decide(policy: &Policy, packages: &[&str]) -> Decision {
    policy.decide(facts_for(role(packages)))
}

/// What follows from a request whose input was altered.
pub(in crate::policy) fn ask(
    policy: &Policy,
    packages: &[&str],
    alter: impl FnOnce(&mut Input),
) -> (Arc<Vec<PackageResult>>, Merged) {
    let role = role(packages);
    let facts = facts_for(role.clone());
    let mut input = facts.input().clone();
    alter(&mut input);
    let asked = Asked {
        role: &role,
        ttl: facts.ttl(),
        scopes: facts.scopes(),
        ceiling: ceiling(&facts.target().kind),
        denials: policy.denials,
    };
    let set = policy.prepared(&role, Operation::Mint, &BTreeMap::new()).unwrap();
    policy.evaluate(set, asked, &serde_json::to_string(&input).unwrap(), now())
}

/// Asks with `context` laid over the usual one.
pub(in crate::policy) fn ask_with(policy: &Policy, packages: &[&str], context: Value) -> Merged {
    let Value::Object(context) = context else { panic!("an object") };
    ask(policy, packages, |input| input.context.facts.extend(context)).1
}

pub(in crate::policy) fn refusal(merged: Merged) -> Refusal {
    match merged {
        Merged::Deny(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

pub(in crate::policy) fn is_allow(merged: &Merged) -> bool {
    matches!(merged, Merged::Allow { .. })
}

/// A request with something at every documented path.
pub(in crate::policy) fn rich_input() -> Value {
    json!({
        "operation": "mint",
        "identity": {
            "issuer": "https://issuer.example", "kind": "github", "subject": "repo:acme/shop",
            "principal": "github:repository:1234", "tenant": "default", "trust": "trusted", "age_seconds": 5, "bound": false,
            "role": "ci", "on_call": true, "repository": "acme/shop", "repository_id": "1234",
            "owner_id": "65", "ref_protected": true, "branch": "main", "environment": "production",
            "event": "push", "actor": "kim", "claims": {"sub": "repo:acme/shop", "run_attempt": "1"},
        },
        "runner": {"id": "runner-1", "region": "eu-1", "labels": ["a", "b"]},
        "resource": {
            "role": "deploy", "provider": "jwt", "tenant": "default", "environment": "production",
            "labels": {"critical": "yes", "team": "shop"}, "scopes": ["read", "write"],
        },
        "context": {
            "time": "12:00", "timestamp": "2026-03-02T12:00:00Z", "weekday": "monday",
            "source_ip": "10.1.2.3", "requested_ttl": 15.0, "requested_ttl_seconds": 900, "branch": "main",
            "environment": "production", "commit_signed": true, "ticket_approved": true,
            "purpose": "debug", "annotation": "approved by CAB-7", "ticket": "OPS-1",
            "review": {"state": "approved", "by": ["kim", "lee"]},
        },
        "declared": {"purpose": "debug", "annotation": "approved by CAB-7", "ticket": "OPS-1"},
    })
}
