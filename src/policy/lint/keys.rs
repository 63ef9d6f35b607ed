//! Keys of `input` that nothing provides. A rule that needs one never holds: harmless in `allow`, and in `deny` a
//! restriction that is switched off.

use std::collections::BTreeSet;

use crate::config::{Config, Problems, Role};
use crate::domain::{PackageName, nearest};
use crate::policy::contract;
use crate::policy::graph::{Closure, Graph, Path};
use crate::policy::known::{Known, ROOTS, context_of};
use crate::policy::packages::Packages;
use crate::policy::report::{error, warning};
use crate::policy::resolve::Read;

/// Checks what every package reads, then every role against its own packages.
pub(super) fn check(config: &Config, packages: &Packages, graph: &Graph, problems: &mut Problems) {
    let known = Known::new(config);
    roots(graph, problems);
    for package in packages.by_name.keys() {
        let restricting = graph.closure(package, contract::RESTRICTING);
        let all = graph.closure(package, contract::all());
        let mut seen: BTreeSet<&Path> = BTreeSet::new();
        // Restricting rules first, so that the place shown is the one that matters.
        let reads = graph.inputs(&restricting).chain(graph.inputs(&all));
        for read in reads.filter(|read| seen.insert(&read.path)) {
            unknown(&known, read, &restricting, problems);
        }
        never_there(package, graph, &all, problems);
    }
    for role in config.roles.values() {
        // A global package decides about this role too: what it restricts by, this role may lack.
        let deciding = role.policies.iter().filter(|package| packages.get(package).is_some());
        for package in deciding.chain(packages.global()) {
            not_for_role(config, role, package, &known, graph, problems);
        }
    }
}

/// `input.contxt` is nothing, for anybody, ever.
fn roots(graph: &Graph, problems: &mut Problems) {
    for read in graph.nodes().iter().flat_map(|node| &node.reads.inputs) {
        let Some(root) = read.path.first() else { continue };
        if !ROOTS.contains(&root.as_str()) {
            let fix = match nearest(root, ROOTS) {
                Some(meant) => format!("did you mean `input.{meant}`?"),
                None => format!("use one of: {}", ROOTS.join(", ")),
            };
            problems.push(error("unknown_key", &read.place, format!("there is no `input.{root}`"), fix));
        }
    }
}

fn unknown(known: &Known, read: &Read, restricting: &Closure, problems: &mut Problems) {
    let Some(key) = read.path.get(1) else { return };
    let Some(siblings) = known.siblings(&read.path) else { return };
    if siblings.contains(&key.as_str()) {
        return;
    }
    let parent = read.path.first().map(String::as_str).unwrap_or_default();
    let meant = nearest(key, siblings);
    let fix = match meant {
        Some(meant) => format!("did you mean `input.{parent}.{meant}`?"),
        None => "let an issuer's attribute, a fact source or a role's declared key provide it".to_owned(),
    };
    let restricts = restricting.inputs.contains(&read.path);
    let mut message = format!("nothing provides `input.{parent}.{key}`, so that it is always absent");
    if restricts {
        message.push_str("; a rule that restricts reads it, and may never apply");
    }
    // A key that no issuer or source provides yet may be right; one that is a slip away from another never is.
    let report = if restricts && meant.is_some() { error } else { warning };
    problems.push(report("unknown_key", &read.place, message, fix));
}

/// `input.runner` and `input.history` are part of the contract, and absent unless something proves them.
fn never_there(package: &PackageName, graph: &Graph, all: &Closure, problems: &mut Problems) {
    for root in ["runner", "history"] {
        let mut reads = graph.inputs(all);
        if let Some(read) = reads.find(|read| read.path.first().is_some_and(|first| first == root)) {
            problems.push(warning(
                "often_absent",
                &read.place,
                format!("`{package}` reads `input.{root}`, which is absent unless it is proved or asked for"),
                "make sure that its absence denies: allow what is known, rather than deny what is not",
            ));
        }
    }
}

/// A fact that another role's source provides, and this role's do not.
fn not_for_role(
    config: &Config,
    role: &Role,
    package: &PackageName,
    known: &Known,
    graph: &Graph,
    problems: &mut Problems,
) {
    let provided = context_of(config, role);
    let closure = graph.closure(package, contract::all());
    let mut seen = BTreeSet::new();
    for read in graph.inputs(&closure) {
        let [container, key, ..] = read.path.as_slice() else { continue };
        let elsewhere = known.siblings(&read.path).is_some_and(|all| all.contains(&key.as_str()));
        if container == "context" && elsewhere && !provided.contains(key) && seen.insert(key) {
            problems.push(warning(
                "fact_not_provided",
                &read.place,
                format!("the role {} has no source or declared key for `input.context.{key}`", role.name),
                format!("add the source to `roles/{}.toml`, or declare the key there", role.name),
            ));
        }
    }
}
