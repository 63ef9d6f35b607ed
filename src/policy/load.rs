//! From files to prepared package sets: parse, analyse, lint, prepare. Nothing loads if one problem is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::engine::{NotPrepared, PackageSet, prepare_engine};
use super::graph::Graph;
use super::memory::Memory;
use super::operation::OperationSet;
use super::packages::{Packages, PolicyFile};
use super::report::problem;
use super::source::SourceFile;
use super::{Policy, lint, reference, scan, syntax};
use crate::config::{Config, Problem, Problems, Severity};
use crate::domain::{Operation, PackageName, RoleName};
use crate::secret::Fingerprint;

/// What decides about roles, and about operations.
#[derive(Default)]
struct Sets {
    roles: BTreeMap<RoleName, Arc<PackageSet>>,
    operations: BTreeMap<Operation, OperationSet>,
}

/// Loads `files` for the roles of `config`.
pub(super) fn load(config: &Config, files: Vec<SourceFile>) -> Result<(Policy, Problems), Problems> {
    let revision = revision(&files);
    let mut problems = Problems::default();
    let mut parsed = Vec::with_capacity(files.len());
    for file in files {
        match parse(&file) {
            Ok(file) => parsed.push(file),
            Err(problem) => problems.push(*problem),
        }
    }
    let packages = Packages::new(parsed);
    let graph = Graph::new(&packages);
    problems.extend(lint::check(config, &packages, &graph));
    if problems.stop_the_load() {
        return Err(problems);
    }
    let Sets { roles, operations } = prepare(config, &packages, &graph, &mut problems);
    if problems.stop_the_load() {
        return Err(problems);
    }
    let policy = Policy {
        packages,
        sets: roles,
        operations,
        revision,
        configuration: config.revision,
        limit: config.settings.limits.policy_timeout,
        denials: config.settings.denials,
    };
    Ok((policy, problems))
}

/// Digest over paths and contents, each behind its length, so that no two sets of files give the same bytes.
fn revision(files: &[SourceFile]) -> Fingerprint {
    let mut bytes = Vec::new();
    for file in files {
        for part in [file.path.as_os_str().as_encoded_bytes(), file.text.as_bytes()] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part);
        }
    }
    Fingerprint::of(&bytes)
}

fn parse(file: &SourceFile) -> Result<PolicyFile, Box<Problem>> {
    let failed = |code, line, message: String, fix: &str| {
        Box::new(problem(Severity::Error, code, (&file.path, line), message, fix.into()))
    };
    if let Err(complex) = scan::check(&file.text) {
        let fix = "break it into several rules";
        return Err(failed("too_complex", Some(complex.line()), complex.to_string(), fix));
    }
    let parsed = syntax::parse(&file.text).map_err(|error| {
        failed("syntax", error.line, error.message, "correct the file; `opa check` says more")
    })?;
    let module = &parsed.module;
    if module.target.is_some() {
        let message = "`__target__` means nothing to Tollgate".to_owned();
        return Err(failed("syntax", None, message, "remove the line"));
    }
    let refr = &module.package.refr;
    let name = reference::read(refr)
        .chain
        .map(|chain| std::iter::once(chain.root).chain(chain.path).collect::<Vec<_>>().join("."));
    let package = name.unwrap_or_default().parse::<PackageName>().map_err(|error| {
        failed("package_name", Some(reference::line(refr)), error.to_string(), "rename the package")
    })?;
    Ok(PolicyFile {
        path: Arc::from(file.path.as_path()),
        global: file.global,
        syntax: parsed.syntax,
        text: parsed.text,
        module: parsed.module,
        package,
    })
}

/// One set per role and operation; those with the same packages share one.
fn prepare(config: &Config, packages: &Packages, graph: &Graph, problems: &mut Problems) -> Sets {
    let mut distinct: BTreeMap<BTreeSet<PackageName>, Option<Arc<PackageSet>>> = BTreeMap::new();
    let memory = Memory::new();
    let mut set_of = |names: BTreeSet<PackageName>, of: &str, problems: &mut Problems| {
        let number = distinct.len();
        let set = distinct.entry(names.clone()).or_insert_with(|| {
            PackageSet::prepare(packages, graph, &names, number, &memory)
                .map_err(|error| problems.push(unprepared(of, error)))
                .ok()
                .map(Arc::new)
        });
        set.clone()
    };
    let mut sets = Sets::default();
    for role in config.roles.values() {
        let names = role.policies.iter().chain(packages.global()).cloned().collect();
        let set = set_of(names, role.name.as_str(), problems);
        sets.roles.extend(set.map(|set| (role.name.clone(), set)));
    }
    for (operation, named) in &config.settings.operations.packages {
        let set = set_of(named.iter().cloned().collect(), operation.as_str(), problems);
        let prepared = set.map(|set| OperationSet { packages: named.clone(), set });
        sets.operations.extend(prepared.map(|prepared| (*operation, prepared)));
    }
    // A package that nothing uses yet is still read by its author.
    let of_operations = sets.operations.values().map(|prepared| &prepared.set);
    let used: BTreeSet<_> =
        sets.roles.values().chain(of_operations).flat_map(|set| &set.closure().packages).collect();
    for name in packages.by_name.keys().filter(|name| !used.contains(name)) {
        if let Err(error) = prepare_engine(packages, &[name.clone()].into()) {
            problems.push(unprepared(name.as_str(), error));
        }
    }
    sets
}

fn unprepared(of: &str, error: NotPrepared) -> Problem {
    let fix = "correct the rule; `opa check` says more";
    match error {
        NotPrepared::Packages { message, line, file } => {
            let file = file.unwrap_or_else(|| of.to_owned());
            problem(Severity::Error, "not_evaluable", (Path::new(&file), line), message, fix.into())
        }
        NotPrepared::Extension(error) => {
            problem(Severity::Error, "not_evaluable", (Path::new(of), None), error.to_string(), fix.into())
        }
    }
}
