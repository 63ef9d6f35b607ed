//! Which rules depend on which, and what an evaluation therefore reads of `input`.

use std::collections::{BTreeMap, BTreeSet};

use super::collect::collect;
use super::packages::{Packages, components, head, head_path};
use super::reference;
use super::resolve::{Read, Reads, resolve};
use crate::domain::PackageName;

/// A path below `input` or `data`.
pub(super) type Path = Vec<String>;

/// All rules of one name in one package, taken together.
#[derive(Debug)]
pub(super) struct Node {
    /// The package.
    pub(super) package: PackageName,
    /// The first component of the rules' names.
    pub(super) rule: String,
    /// What they read.
    pub(super) reads: Reads,
    depends_on: BTreeSet<usize>,
    certainly_depends_on: BTreeSet<usize>,
}

/// Every rule with its dependencies.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    by_path: BTreeMap<Path, usize>,
}

/// What an evaluation of some rules comes by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Closure {
    rules: BTreeSet<usize>,
    /// Packages that must be loaded.
    pub(super) packages: BTreeSet<PackageName>,
    /// Paths below `input` that are read.
    pub(super) inputs: BTreeSet<Path>,
}

impl Closure {
    /// True if the evaluation may read the key, or something in it, or a container of it.
    pub(super) fn reads(&self, key: &[String]) -> bool {
        self.inputs.iter().any(|path| path.starts_with(key) || key.starts_with(path))
    }

    /// Adds what another evaluation comes by.
    pub(super) fn extend(&mut self, other: Self) {
        self.rules.extend(other.rules);
        self.packages.extend(other.packages);
        self.inputs.extend(other.inputs);
    }
}

impl Graph {
    /// Analyses every rule of `packages`.
    pub(super) fn new(packages: &Packages) -> Self {
        let mut graph = Self::default();
        for file in &packages.files {
            for rule in &file.module.policy {
                let Some(name) = head_path(rule).into_iter().next() else { continue };
                let reads = resolve(packages, file, reference::line(head(rule)), &collect(rule));
                graph.add(file.package.clone(), name, reads);
            }
        }
        graph.connect();
        graph
    }

    fn add(&mut self, package: PackageName, rule: String, reads: Reads) {
        let path: Path = components(&package).chain([rule.clone()]).collect();
        let index = *self.by_path.entry(path).or_insert(self.nodes.len());
        match self.nodes.get_mut(index) {
            Some(node) => node.reads.merge(reads),
            None => self.nodes.push(Node {
                package,
                rule,
                reads,
                depends_on: BTreeSet::new(),
                certainly_depends_on: BTreeSet::new(),
            }),
        }
    }

    fn connect(&mut self) {
        for index in 0..self.nodes.len() {
            let (mut all, mut certain) = (BTreeSet::new(), BTreeSet::new());
            for dependency in self.nodes.get(index).into_iter().flat_map(|node| &node.reads.rules) {
                let found = self.at(&dependency.read.path);
                if !dependency.maybe_local {
                    certain.extend(found.iter().copied());
                }
                all.extend(found);
            }
            if let Some(node) = self.nodes.get_mut(index) {
                (node.depends_on, node.certainly_depends_on) = (all, certain);
            }
        }
    }

    /// The rules at, above and below `path`.
    fn at(&self, path: &[String]) -> BTreeSet<usize> {
        let above = (0..path.len()).filter_map(|end| self.by_path.get(path.get(..end)?));
        let below = self.by_path.range(path.to_vec()..).take_while(|(at, _)| at.starts_with(path));
        above.copied().chain(below.map(|(_, index)| *index)).collect()
    }

    /// Every rule.
    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// True if some rule lies at, above or below `path`.
    pub(super) fn has(&self, path: &[String]) -> bool {
        !self.at(path).is_empty()
    }

    /// What evaluating these rules of `package` comes by. Rules that are not declared add nothing.
    pub(super) fn closure<'a>(
        &self,
        package: &PackageName,
        rules: impl IntoIterator<Item = &'a str>,
    ) -> Closure {
        let path = |rule: &str| -> Path { components(package).chain([rule.to_owned()]).collect() };
        let mut open: Vec<usize> =
            rules.into_iter().filter_map(|rule| self.by_path.get(&path(rule)).copied()).collect();
        let mut closure = Closure { packages: [package.clone()].into(), ..Closure::default() };
        closure.rules.extend(&open);
        while let Some(node) = open.pop().and_then(|index| self.nodes.get(index)) {
            closure.packages.insert(node.package.clone());
            closure.inputs.extend(node.reads.inputs.iter().map(|read| read.path.clone()));
            open.extend(node.depends_on.iter().filter(|&&next| closure.rules.insert(next)));
        }
        closure
    }

    /// Every place where the rules of `closure` read `input`.
    pub(super) fn inputs<'a>(&'a self, closure: &'a Closure) -> impl Iterator<Item = &'a Read> {
        closure.rules.iter().filter_map(|&index| self.nodes.get(index)).flat_map(|node| &node.reads.inputs)
    }

    /// True if the rules of `closure` call the builtin `name`, or one whose name is not known.
    pub(super) fn calls(&self, closure: &Closure, name: &str) -> bool {
        let nodes = closure.rules.iter().filter_map(|&index| self.nodes.get(index));
        let mut builtins = nodes.flat_map(|node| &node.reads.builtins);
        builtins.any(|call| call.name.as_deref().is_none_or(|called| called == name))
    }

    /// A rule that would need its own result, if there is one.
    pub(super) fn cycle(&self) -> Option<&Node> {
        let mut waiting: BTreeMap<usize, BTreeSet<usize>> =
            self.nodes.iter().enumerate().map(|(i, node)| (i, node.certainly_depends_on.clone())).collect();
        let mut ready: Vec<usize> =
            waiting.iter().filter(|(_, needs)| needs.is_empty()).map(|(&index, _)| index).collect();
        let mut needed_by: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (&index, needs) in &waiting {
            for &need in needs {
                needed_by.entry(need).or_default().push(index);
            }
        }
        while let Some(done) = ready.pop() {
            waiting.remove(&done);
            for index in needed_by.remove(&done).unwrap_or_default() {
                if let Some(needs) = waiting.get_mut(&index) {
                    needs.remove(&done);
                    if needs.is_empty() {
                        ready.push(index);
                    }
                }
            }
        }
        // What waits either lies on a cycle or leads to one; following it long enough ends up on it.
        let mut at = *waiting.keys().next()?;
        for _ in 0..waiting.len() {
            at = *waiting.get(&at)?.iter().next()?;
        }
        self.nodes.get(at)
    }
}

impl Reads {
    fn merge(&mut self, other: Self) {
        self.inputs.extend(other.inputs);
        self.rules.extend(other.rules);
        self.builtins.extend(other.builtins);
        self.calls.extend(other.calls);
        self.comparisons.extend(other.comparisons);
        self.withs.extend(other.withs);
        self.shadows.extend(other.shadows);
    }
}
