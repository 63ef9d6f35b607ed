//! What `[operations]` makes of packages: that they exist and can allow, look at the operation that they are asked
//! for, and say nothing that an operation would not heed.

use std::path::Path;

use super::roles;
use crate::config::{Config, Problem, Problems, Severity};
use crate::domain::{Operation, PackageName};
use crate::policy::contract;
use crate::policy::graph::Graph;
use crate::policy::packages::{Package, Packages};
use crate::policy::report::problem;

/// Checks every operation.
pub(super) fn check(config: &Config, packages: &Packages, graph: &Graph, problems: &mut Problems) {
    for (operation, named) in &config.settings.operations.packages {
        for name in named {
            match roles::usable(name, packages) {
                Ok(package) => answers(*operation, name, package, graph, problems),
                Err((code, message, fix)) => {
                    problems.push(of_operation(Severity::Error, code, *operation, &message, &fix));
                }
            }
        }
    }
}

fn answers(
    operation: Operation,
    name: &PackageName,
    package: &Package,
    graph: &Graph,
    problems: &mut Problems,
) {
    // A requirement that nobody heeds would be an allow.
    if let Some(rule) = contract::NARROWING.iter().find(|rule| package.rules.contains(**rule)) {
        let message = format!("`{name}` has `{rule}`, which only a request for a credential heeds");
        let fix = "write a package of its own for operations, with `allow` and `deny` alone";
        problems.push(of_operation(Severity::Error, "not_for_operations", operation, &message, fix));
    }
    if !graph.closure(name, contract::all()).reads(&["operation".to_owned()]) {
        let message =
            format!("`{name}` never looks at `input.operation`, and would answer whatever it is asked");
        let fix = format!("compare it: `input.operation == \"{operation}\"`");
        problems.push(of_operation(Severity::Warning, "operation_not_compared", operation, &message, &fix));
    }
}

/// A problem in an operation's list of packages.
fn of_operation(
    severity: Severity,
    code: &'static str,
    operation: Operation,
    message: &str,
    fix: &str,
) -> Problem {
    let message = format!("operation {operation}: {message}");
    let problem = problem(severity, code, (Path::new("tollgate.toml"), None), message, fix.to_owned());
    Problem { key: format!("operations.\"{operation}\""), ..problem }
}
