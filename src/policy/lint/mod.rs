//! What is wrong, or risky, with packages that parse: each rule in a file of its own.

mod keys;
mod operations;
mod patterns;
mod references;
mod roles;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use super::graph::Graph;
use super::packages::Packages;
use crate::config::{Config, Problems};

/// Everything that can be said without evaluating anything.
pub(super) fn check(config: &Config, packages: &Packages, graph: &Graph) -> Problems {
    let mut problems = Problems::default();
    shape::check(packages, &mut problems);
    references::check(packages, graph, &mut problems);
    patterns::check(graph, &mut problems);
    keys::check(config, packages, graph, &mut problems);
    roles::check(config, packages, graph, &mut problems);
    operations::check(config, packages, graph, &mut problems);
    once(&problems)
}

/// The same thing found on several ways is said once: a library's rule lies in many closures.
fn once(problems: &Problems) -> Problems {
    let mut seen = BTreeSet::new();
    let mut distinct = Problems::default();
    for problem in problems {
        if seen.insert((&problem.file, problem.line, problem.code, &problem.message)) {
            distinct.push(problem.clone());
        }
    }
    distinct
}
