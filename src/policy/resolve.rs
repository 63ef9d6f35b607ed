//! Resolves the names that a rule uses: which part of `input` it reads, which other rules, which functions.
//!
//! Over-approximates: a name that may be an import, a rule or a local variable counts as all of them.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::collect::{Argument, Call, Collected, Kind, Use};
use super::packages::{Package, Packages, Place, PolicyFile, components};
use super::reference::Chain;
use crate::domain::PackageName;

/// Longest run of `y := x`, `z := y`, …
const MAX_NAME_DEPTH: usize = 16;

/// Most steps that following one name may take: names of names that each stand for several things multiply.
const MAX_NAME_STEPS: usize = 4096;

/// A path and where it is read.
#[derive(Debug, Clone)]
pub(super) struct Read {
    /// The path below `input` or `data`.
    pub(super) path: Vec<String>,
    /// Where.
    pub(super) place: Place,
}

/// A rule that another one depends on.
#[derive(Debug, Clone)]
pub(super) struct Dependency {
    /// The path below `data`, and where it is read.
    pub(super) read: Read,
    /// True if the name may as well be a local variable.
    pub(super) maybe_local: bool,
}

/// A call of a function that is not a rule.
#[derive(Debug)]
pub(super) struct BuiltinCall {
    /// Its name; none if it is no plain name.
    pub(super) name: Option<String>,
    /// How many arguments it is given.
    pub(super) arguments: usize,
    /// What its first argument is.
    pub(super) first: FirstArgument,
    /// Where.
    pub(super) place: Place,
}

/// A call of a function that is a rule.
#[derive(Debug)]
pub(super) struct RuleCall {
    pub(super) path: Vec<String>,
    pub(super) arguments: usize,
    pub(super) place: Place,
}

/// The first argument of a builtin, where it matters where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FirstArgument {
    /// A literal.
    Text(String),
    /// A value of the request.
    Input,
    /// Anything else.
    Other,
}

/// A comparison of a key of `input` with a literal.
#[derive(Debug)]
pub(super) struct KeyComparison {
    pub(super) read: Read,
    pub(super) literal: Kind,
}

/// What one rule reads and calls.
#[derive(Debug, Default)]
pub(super) struct Reads {
    /// Paths below `input`.
    pub(super) inputs: Vec<Read>,
    /// Paths below `data`.
    pub(super) rules: Vec<Dependency>,
    /// Calls of builtins.
    pub(super) builtins: Vec<BuiltinCall>,
    /// Calls of functions.
    pub(super) calls: Vec<RuleCall>,
    /// Comparisons with literals.
    pub(super) comparisons: Vec<KeyComparison>,
    /// Where `with` stands.
    pub(super) withs: Vec<Place>,
    /// Rules in which `input` or `data` is a name of the rule's own.
    pub(super) shadows: Vec<Place>,
}

/// What a name stands for.
enum Target {
    Input(Vec<String>),
    Data(Vec<String>),
}

/// Resolves what was `collected` from a rule of `file`.
///
/// `line` is where the rule begins.
pub(super) fn resolve(packages: &Packages, file: &PolicyFile, line: usize, collected: &Collected) -> Reads {
    let empty = Package::default();
    let package = packages.get(&file.package).unwrap_or(&empty);
    let resolver = Resolver { packages, package, name: &file.package, collected };
    let mut reads = Reads::default();
    for used in &collected.uses {
        resolver.used(used, &file.place(used.line), &mut reads);
    }
    for call in &collected.calls {
        resolver.call(call, file.place(call.line), &mut reads);
    }
    for comparison in &collected.comparisons {
        for target in resolver.targets(&comparison.chain) {
            if let Target::Input(path) = target {
                let read = Read { path, place: file.place(comparison.line) };
                reads.comparisons.push(KeyComparison { read, literal: comparison.literal });
            }
        }
    }
    if ["input", "data"].iter().any(|name| collected.locals.contains(*name)) {
        reads.shadows.push(file.place(line));
    }
    reads.withs.extend(collected.withs.iter().map(|&line| file.place(line)));
    reads
}

struct Resolver<'a> {
    packages: &'a Packages,
    package: &'a Package,
    name: &'a PackageName,
    collected: &'a Collected,
}

impl Resolver<'_> {
    fn used(&self, used: &Use, place: &Place, reads: &mut Reads) {
        // `x := input.a` reads no more than the uses of `x` do; without any, it still asks whether the key is there.
        let deferred = used.named.as_ref().is_some_and(|name| self.is_used(name));
        let maybe_local = self.collected.locals.contains(&used.chain.root);
        for target in self.targets(&used.chain) {
            let place = place.clone();
            match target {
                Target::Input(_) if deferred => {}
                Target::Input(path) => reads.inputs.push(Read { path, place }),
                Target::Data(path) => {
                    reads.rules.push(Dependency { read: Read { path, place }, maybe_local });
                }
            }
        }
    }

    fn is_used(&self, name: &str) -> bool {
        self.collected.uses.iter().any(|used| used.chain.root == name)
    }

    /// Everything that `chain` may stand for; a name that nothing declares stands for nothing, and one that is too
    /// much work to follow for the whole input, which is refused.
    fn targets(&self, chain: &Chain) -> Vec<Target> {
        let steps = Cell::new(MAX_NAME_STEPS);
        let targets = self.follow(chain, 0, &steps);
        if steps.get() == 0 { vec![Target::Input(Vec::new())] } else { targets }
    }

    fn follow(&self, chain: &Chain, depth: usize, steps: &Cell<usize>) -> Vec<Target> {
        let path = chain.path.as_slice();
        match chain.root.as_str() {
            "input" => return vec![Target::Input(path.to_vec())],
            "data" => return vec![Target::Data(path.to_vec())],
            _ if depth > MAX_NAME_DEPTH => return vec![Target::Input(Vec::new())],
            _ if steps.get() == 0 => return Vec::new(),
            _ => steps.set(steps.get() - 1),
        }
        let mut targets = Vec::new();
        for import in self.package.imports.get(&chain.root).into_iter().flatten() {
            let full = import.iter().skip(1).chain(path).cloned().collect();
            match import.first().map(String::as_str) {
                Some("input") => targets.push(Target::Input(full)),
                Some("data") => targets.push(Target::Data(full)),
                _ => {}
            }
        }
        if self.package.rules.contains(&chain.root) {
            targets.push(Target::Data(self.own(chain)));
        }
        for named in self.collected.names.get(&chain.root).into_iter().flatten() {
            let full = named.path.iter().chain(path).cloned().collect();
            targets.extend(self.follow(&Chain { root: named.root.clone(), path: full }, depth + 1, steps));
        }
        targets
    }

    /// The path of `chain` as a rule of this package.
    fn own(&self, chain: &Chain) -> Vec<String> {
        let name = std::iter::once(&chain.root).chain(&chain.path).cloned();
        components(self.name).chain(name).collect()
    }

    /// The interpreter looks for a function behind an import, then in the package, then below `data`, then for a
    /// builtin; all that exist count.
    fn call(&self, call: &Call, place: Place, reads: &mut Reads) {
        let mut is_rule = false;
        if let Some(chain) = &call.function {
            let below_data = self.targets(chain).into_iter().filter_map(|target| match target {
                Target::Data(path) => Some(path),
                Target::Input(_) => None,
            });
            let paths: BTreeSet<_> = below_data.chain([self.own(chain)]).collect();
            for path in paths.into_iter().filter(|path| self.packages.functions.contains_key(path)) {
                is_rule = true;
                let read = Read { path: path.clone(), place: place.clone() };
                reads.rules.push(Dependency { read, maybe_local: false });
                reads.calls.push(RuleCall { path, arguments: call.arguments, place: place.clone() });
            }
        }
        if !is_rule {
            let name = call.function.as_ref().map(|chain| {
                std::iter::once(&chain.root)
                    .chain(&chain.path)
                    .map(String::as_str)
                    .collect::<Vec<_>>()
                    .join(".")
            });
            let first = self.first_argument(&call.first);
            reads.builtins.push(BuiltinCall { name, arguments: call.arguments, first, place });
        }
    }

    fn first_argument(&self, argument: &Argument) -> FirstArgument {
        match argument {
            Argument::Text(text) => FirstArgument::Text(text.clone()),
            Argument::Chain(chain) => {
                let from_input = self.targets(chain).iter().any(|t| matches!(t, Target::Input(_)));
                if from_input { FirstArgument::Input } else { FirstArgument::Other }
            }
            Argument::Other => FirstArgument::Other,
        }
    }
}
