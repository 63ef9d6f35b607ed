//! What roles make of packages: that they exist and can allow, and that together they look at what matters.

use std::path::PathBuf;

use crate::config::{Config, Problem, Problems, Role, Severity};
use crate::domain::{PackageName, nearest};
use crate::policy::contract;
use crate::policy::graph::{Closure, Graph};
use crate::policy::packages::{Package, Packages};
use crate::policy::report::problem;

/// Keys that a platform may hand to somebody else after a rename or a deletion.
const NAMES: [&[&str]; 12] = [
    &["identity", "repository"],
    &["identity", "owner"],
    &["identity", "actor"],
    &["identity", "subject"],
    &["identity", "workflow_ref"],
    &["identity", "job_workflow_ref"],
    &["identity", "claims", "sub"],
    &["identity", "claims", "repository"],
    &["identity", "claims", "repository_owner"],
    &["identity", "claims", "project_path"],
    &["identity", "claims", "namespace_path"],
    &["identity", "claims", "user_login"],
];

/// Keys that stay with one thing for good.
const IDS: [&[&str]; 11] = [
    &["identity", "principal"],
    &["identity", "repository_id"],
    &["identity", "owner_id"],
    &["identity", "actor_id"],
    &["identity", "service_account_uid"],
    &["identity", "claims", "repository_id"],
    &["identity", "claims", "repository_owner_id"],
    &["identity", "claims", "actor_id"],
    &["identity", "claims", "project_id"],
    &["identity", "claims", "namespace_id"],
    &["identity", "claims", "user_id"],
];

/// Keys that tell the protected line of work from any other.
const LINES: [&[&str]; 9] = [
    &["identity", "branch"],
    &["identity", "ref"],
    &["identity", "ref_protected"],
    &["identity", "environment"],
    &["context", "branch"],
    &["context", "environment"],
    &["identity", "claims", "ref"],
    &["identity", "claims", "ref_protected"],
    &["identity", "claims", "environment"],
];

/// Checks every role.
pub(super) fn check(config: &Config, packages: &Packages, graph: &Graph, problems: &mut Problems) {
    for role in config.roles.values() {
        if role.policies.is_empty() {
            let message = "the role names no policy, so that nothing could allow it";
            problems.push(of_role(Severity::Error, "no_policy", role, message, "name at least one package"));
        }
        for name in &role.policies {
            if let Err((code, message, fix)) = usable(name, packages) {
                problems.push(of_role(Severity::Error, code, role, &message, &fix));
            }
        }
        let mut closure = Closure::default();
        for name in role.policies.iter().chain(packages.global()) {
            closure.extend(graph.closure(name, contract::all()));
        }
        risks(role, &closure, problems);
    }
}

/// The package `name`, if it can allow; otherwise the code, the message and the fix of what is wrong with naming it.
pub(super) fn usable<'a>(
    name: &PackageName,
    packages: &'a Packages,
) -> Result<&'a Package, (&'static str, String, String)> {
    let Some(package) = packages.get(name) else {
        let known = packages.by_name.keys().map(PackageName::as_str);
        let fix = match nearest(name.as_str(), known) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => "name a package of the policy folder".to_owned(),
        };
        return Err(("unknown_package", format!("there is no policy package `{name}`"), fix));
    };
    if package.global {
        let message = format!("`{name}` is global: it restricts every role, and cannot allow");
        return Err(("global_package_named", message, "remove it".to_owned()));
    }
    if !package.rules.contains("allow") {
        let message = format!("`{name}` has no `allow`, so that it could never allow this");
        return Err((
            "no_allow",
            message,
            "add an `allow` rule to the package, or remove it here".to_owned(),
        ));
    }
    Ok(package)
}

fn risks(role: &Role, closure: &Closure, problems: &mut Problems) {
    let reads = |keys: &[&[&str]]| {
        closure.inputs.iter().any(|path| keys.iter().any(|key| key.iter().eq(path.iter().take(key.len()))))
    };
    if reads(&NAMES) && !reads(&IDS) {
        let message = "its policies look at names, such as `repository`, and at no immutable id";
        let fix = "also compare `input.identity.repository_id` or `owner_id`: a deleted name can be registered again";
        problems.push(of_role(Severity::Warning, "mutable_name", role, message, fix));
    }
    if !reads(&LINES) {
        let message = "its policies look at neither branch, ref nor environment: every branch gets the same";
        let fix = "compare `input.identity.branch`, `ref_protected` or `environment`";
        problems.push(of_role(Severity::Warning, "no_branch_or_environment", role, message, fix));
    }
}

/// A problem in a role's list of packages.
fn of_role(severity: Severity, code: &'static str, role: &Role, message: &str, fix: &str) -> Problem {
    let file = PathBuf::from(format!("roles/{}.toml", role.name));
    let problem =
        problem(severity, code, (&file, None), format!("role {}: {message}", role.name), fix.into());
    Problem { key: "policies".into(), ..problem }
}
