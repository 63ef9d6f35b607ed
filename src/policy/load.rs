//! From files to prepared package sets: parse, analyse, lint, prepare. Nothing loads if one problem is an error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::engine::{NotPrepared, PackageSet, prepare_engine};
use super::graph::Graph;
use super::memory::Memory;
use super::packages::{Packages, PolicyFile};
use super::report::problem;
use super::source::SourceFile;
use super::{Policy, lint, reference, scan, syntax};
use crate::config::{Config, Problem, Problems, Severity};
use crate::domain::{PackageName, RoleName};
use crate::secret::Fingerprint;

type Sets = BTreeMap<RoleName, Arc<PackageSet>>;

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
    let sets = prepare(config, &packages, &graph, &mut problems);
    if problems.stop_the_load() {
        return Err(problems);
    }
    let policy = Policy {
        packages,
        sets,
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

/// One set per role; roles with the same packages share one.
fn prepare(config: &Config, packages: &Packages, graph: &Graph, problems: &mut Problems) -> Sets {
    let mut distinct: BTreeMap<BTreeSet<PackageName>, Option<Arc<PackageSet>>> = BTreeMap::new();
    let mut sets = Sets::new();
    let memory = Memory::new();
    for role in config.roles.values() {
        let names: BTreeSet<_> = role.policies.iter().chain(packages.global()).cloned().collect();
        let number = distinct.len();
        let set = distinct.entry(names.clone()).or_insert_with(|| {
            PackageSet::prepare(packages, graph, &names, number, &memory)
                .map_err(|error| problems.push(unprepared(&role.name.to_string(), error)))
                .ok()
                .map(Arc::new)
        });
        if let Some(set) = set {
            sets.insert(role.name.clone(), Arc::clone(set));
        }
    }
    // A package that no role uses yet is still read by its author.
    let used: BTreeSet<_> = sets.values().flat_map(|set| &set.closure().packages).collect();
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
