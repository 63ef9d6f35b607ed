//! One evaluation of every role and operation with a made-up request: finds conflicts and wrong shapes before a caller does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Policy;
use super::engine::{EngineInput, PackageSet};
use super::report::problem;
use crate::config::{Config, Problem, Problems, Role, Severity};
use crate::domain::{Operation, PackageName};

/// Evaluates every role and operation of `config`.
pub(super) fn run(policy: &Policy, config: &Config) -> Problems {
    let mut problems = Problems::default();
    let mut seen = BTreeSet::new();
    for role in config.roles.values() {
        let Some(set) = policy.sets.get(&role.name) else { continue };
        let failures = evaluate(policy, set, &input(role));
        tell(policy, role.name.as_str(), failures, &mut seen, &mut problems);
    }
    for (operation, prepared) in &policy.operations {
        let failures = evaluate(policy, &prepared.set, &operation_input(*operation));
        tell(policy, operation.as_str(), failures, &mut seen, &mut problems);
    }
    problems
}

/// A package and why it cannot be evaluated.
type Failed = (PackageName, String);

/// One line per package, not one per role that names it.
fn tell(
    policy: &Policy,
    of: &str,
    failures: Vec<Failed>,
    seen: &mut BTreeSet<Failed>,
    problems: &mut Problems,
) {
    for (package, message) in failures {
        let file = policy.packages.files_of(&package).next();
        let file = file.map_or_else(PathBuf::new, |file| file.path.to_path_buf());
        let told = format!("`{package}` cannot be evaluated: {message}");
        if seen.insert((package, message)) {
            problems.push(failed(of, &file, told));
        }
    }
}

fn evaluate(policy: &Policy, set: &PackageSet, input: &Value) -> Vec<Failed> {
    let Ok(input) = EngineInput::read(&input.to_string()) else { return Vec::new() };
    let results = set.evaluate(input, Timestamp::UNIX_EPOCH, policy.limit);
    results.into_iter().filter_map(|result| Some((result.package, result.error?))).collect()
}

fn failed(of: &str, file: &std::path::Path, message: String) -> Problem {
    let fix = format!("make the rules hold for a request for {of} with nothing but the required keys");
    problem(Severity::Error, "policy_fails", (file, None), message, fix)
}

/// What every request has, and nothing else.
fn input(role: &Role) -> Value {
    json!({
        "operation": "mint",
        "identity": identity(role.tenant.as_str()),
        "resource": {
            "role": role.name.as_str(), "provider": "jwt", "tenant": role.tenant.as_str(),
            "labels": role.labels, "scopes": role.default_scopes,
        },
        "context": {
            "time": "12:00", "timestamp": "1970-01-01T00:00:00Z", "weekday": "thursday",
            "requested_ttl": role.ttl.default.as_minutes(), "requested_ttl_seconds": role.ttl.default.as_secs(),
        },
        "declared": {},
    })
}

/// What every operation has, and nothing else.
fn operation_input(operation: Operation) -> Value {
    json!({
        "operation": operation.as_str(),
        "identity": identity("smoke"),
        "resource": { "tenant": "smoke", "all_tenants": false, "filter": {} },
        "context": { "time": "12:00", "timestamp": "1970-01-01T00:00:00Z", "weekday": "thursday" },
    })
}

fn identity(tenant: &str) -> Value {
    json!({
        "issuer": "https://issuer.example", "kind": "generic", "subject": "smoke", "principal": "smoke:1",
        "tenant": tenant, "trust": "unknown", "age_seconds": 0, "bound": false, "claims": {},
    })
}
