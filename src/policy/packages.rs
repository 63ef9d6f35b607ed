//! The packages with their files, rules, functions and imports: who declares which name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use regorus::unstable::{Expr, Import, Module, Ref, Rule, RuleHead};

use super::reference;
use super::syntax::Syntax;
use crate::domain::PackageName;

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The file.
    pub(super) file: Arc<Path>,
    /// The line, from 1.
    pub(super) line: usize,
}

/// A parsed file.
#[derive(Debug, Clone)]
pub(super) struct PolicyFile {
    /// Where it lies.
    pub(super) path: Arc<Path>,
    /// True below `global/`.
    pub(super) global: bool,
    /// Version 1, or older.
    pub(super) syntax: Syntax,
    /// The text as it is given to engines.
    pub(super) text: String,
    /// Its syntax tree.
    pub(super) module: Ref<Module>,
    /// Its package.
    pub(super) package: PackageName,
}

/// What one package declares, over all its files.
#[derive(Debug, Default)]
pub(super) struct Package {
    /// Indexes of its files.
    pub(super) files: Vec<usize>,
    /// True if its files lie below `global/`.
    pub(super) global: bool,
    /// First components of its rules' names.
    pub(super) rules: BTreeSet<String>,
    /// Import alias to paths. The interpreter shares imports among a package's files, hence all of them count.
    pub(super) imports: BTreeMap<String, BTreeSet<Vec<String>>>,
}

/// All packages.
#[derive(Debug, Default)]
pub(super) struct Packages {
    /// Every file, by path.
    pub(super) files: Vec<PolicyFile>,
    /// Packages by name.
    pub(super) by_name: BTreeMap<PackageName, Package>,
    /// Functions by path below `data`, with the number of their parameters.
    pub(super) functions: BTreeMap<Vec<String>, usize>,
}

impl Packages {
    /// Indexes `files`.
    pub(super) fn new(files: Vec<PolicyFile>) -> Self {
        let mut packages = Self::default();
        for (index, file) in files.iter().enumerate() {
            let package = packages.by_name.entry(file.package.clone()).or_default();
            package.files.push(index);
            package.global |= file.global;
            for import in &file.module.imports {
                let (alias, path) = alias_and_path(import);
                package.imports.entry(alias).or_default().insert(path);
            }
            for rule in &file.module.policy {
                let head = head_path(rule);
                package.rules.extend(head.first().cloned());
                if let Some(parameters) = parameters(rule) {
                    let path = components(&file.package).chain(head).collect();
                    packages.functions.insert(path, parameters);
                }
            }
        }
        Self { files, ..packages }
    }

    /// What the package of this name declares.
    pub(super) fn get(&self, name: &PackageName) -> Option<&Package> {
        self.by_name.get(name)
    }

    /// The files of `package`.
    pub(super) fn files_of(&self, package: &PackageName) -> impl Iterator<Item = &PolicyFile> {
        let indexes = self.by_name.get(package).map(|package| package.files.as_slice()).unwrap_or_default();
        indexes.iter().filter_map(|&index| self.files.get(index))
    }

    /// The names of the global packages.
    pub(super) fn global(&self) -> impl Iterator<Item = &PackageName> {
        self.by_name.iter().filter(|(_, package)| package.global).map(|(name, _)| name)
    }
}

impl PolicyFile {
    /// A line of this file.
    pub(super) fn place(&self, line: usize) -> Place {
        Place { file: Arc::clone(&self.path), line }
    }
}

/// A package name's parts.
pub(super) fn components(package: &PackageName) -> impl Iterator<Item = String> {
    package.as_str().split('.').map(str::to_owned)
}

/// The part of a rule's name that the text determines: `["deny"]`, or `["a", "b"]` for `a.b`.
pub(super) fn head_path(rule: &Rule) -> Vec<String> {
    let chain = reference::read(head(rule)).chain;
    chain.map(|chain| std::iter::once(chain.root).chain(chain.path).collect()).unwrap_or_default()
}

/// The expression that names a rule.
pub(super) fn head(rule: &Rule) -> &Expr {
    match rule {
        Rule::Default { refr, .. } => refr,
        Rule::Spec { head, .. } => match head {
            RuleHead::Compr { refr, .. } | RuleHead::Set { refr, .. } | RuleHead::Func { refr, .. } => refr,
        },
    }
}

/// How many parameters a function has; none if the rule is no function.
fn parameters(rule: &Rule) -> Option<usize> {
    match rule {
        Rule::Default { args, .. } => (!args.is_empty()).then_some(args.len()),
        Rule::Spec { head, .. } => match head {
            RuleHead::Func { args, .. } => Some(args.len()),
            RuleHead::Compr { .. } | RuleHead::Set { .. } => None,
        },
    }
}

/// The name that an import is used by, and its path with its root.
pub(super) fn alias_and_path(import: &Import) -> (String, Vec<String>) {
    let chain = reference::read(&import.refr).chain;
    let path: Vec<String> =
        chain.map(|chain| std::iter::once(chain.root).chain(chain.path).collect()).unwrap_or_default();
    let alias = import.r#as.as_ref().map(|alias| alias.text().to_owned());
    (alias.or_else(|| path.last().cloned()).unwrap_or_default(), path)
}
