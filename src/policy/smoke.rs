//! One evaluation of every role with a made-up request: finds conflicts and wrong shapes before a caller does.

use std::collections::BTreeSet;
use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Policy;
use super::engine::{EngineInput, PackageSet};
use super::report::problem;
use crate::config::{Config, Problem, Problems, Role, Severity};

/// Evaluates every role of `config`.
pub(super) fn run(policy: &Policy, config: &Config) -> Problems {
    let mut problems = Problems::default();
    let mut seen = BTreeSet::new();
    for role in config.roles.values() {
        let Some(set) = policy.sets.get(&role.name) else { continue };
        for (package, message) in evaluate(policy, set, role) {
            let file = policy.packages.files_of(&package).next();
            let file = file.map_or_else(PathBuf::new, |file| file.path.to_path_buf());
            // One line per package, not one per role that names it.
            if seen.insert((package.clone(), message.clone())) {
                problems.push(failed(role, &file, format!("`{package}` cannot be evaluated: {message}")));
            }
        }
    }
    problems
}

fn evaluate(policy: &Policy, set: &PackageSet, role: &Role) -> Vec<(crate::domain::PackageName, String)> {
    let Ok(input) = EngineInput::read(&input(role).to_string()) else { return Vec::new() };
    let results = set.evaluate(input, Timestamp::UNIX_EPOCH, policy.limit);
    results.into_iter().filter_map(|result| Some((result.package, result.error?))).collect()
}

fn failed(role: &Role, file: &std::path::Path, message: String) -> Problem {
    let fix =
        format!("make the rules hold for a request for {} with nothing but the required keys", role.name);
    problem(Severity::Error, "policy_fails", (file, None), message, fix)
}

/// What every request has, and nothing else.
fn input(role: &Role) -> Value {
    json!({
        "operation": "mint",
        "identity": {
            "issuer": "https://issuer.example", "kind": "generic", "subject": "smoke", "principal": "smoke:1",
            "tenant": role.tenant.as_str(), "trust": "unknown", "age_seconds": 0, "claims": {},
        },
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
