//! The shape of packages: names, kinds of rules, and what a global package may hold.
//!
//! The interpreter accepts all of this and answers with a value of another type, or with none.

use std::collections::BTreeMap;
use std::ops::Bound;

use regorus::unstable::{Expr, Rule, RuleHead};

use crate::config::Problems;
use crate::domain::{PackageName, nearest};
use crate::policy::packages::{Packages, Place, PolicyFile, alias_and_path, components, head, head_path};
use crate::policy::report::{error, warning};
use crate::policy::syntax::Syntax;
use crate::policy::{builtins, contract, reference};

/// Checks every file, then what they declare together.
pub(super) fn check(packages: &Packages, problems: &mut Problems) {
    for file in &packages.files {
        if file.syntax == Syntax::V0 {
            problems.push(warning(
                "old_syntax",
                &file.place(1),
                "the file is written in the older Rego syntax; it was read with all future keywords imported",
                "write `if` before rule bodies and `contains` in set rules, as `opa fmt --v0-v1` does",
            ));
        }
        imports(file, problems);
        for rule in &file.module.policy {
            contract_rule(file, rule, problems);
            name(packages, file, rule, problems);
        }
    }
    defaults(packages, problems);
    folders(packages, problems);
}

fn place(file: &PolicyFile, rule: &Rule) -> Place {
    file.place(reference::line(head(rule)))
}

/// `allow`, `max_ttl`, `require`, `tags` have one value; `deny` and `scopes` are sets; none is a function.
fn contract_rule(file: &PolicyFile, rule: &Rule, problems: &mut Problems) {
    let path = head_path(rule);
    let Some(name) = path.first().map(String::as_str) else { return };
    let is_set = contract::SET_RULES.contains(&name);
    if !is_set && !contract::VALUE_RULES.contains(&name) {
        return;
    }
    if file.global && contract::NOT_GLOBAL.contains(&name) {
        problems.push(error(
            "global_may_only_restrict",
            &place(file, rule),
            format!(
                "a global package applies to every role and may only restrict, so it cannot have `{name}`"
            ),
            "use `deny`, `max_ttl`, `scopes` or `require`, or move the package out of `global/`",
        ));
    }
    let plain = path.len() == 1 && matches!(head(rule), Expr::Var { .. });
    let fits = plain
        && match rule {
            Rule::Default { args, .. } => !is_set && args.is_empty(),
            Rule::Spec { head, .. } => match head {
                RuleHead::Compr { .. } => !is_set,
                RuleHead::Set { key, .. } => is_set && key.is_some(),
                RuleHead::Func { .. } => false,
            },
        };
    if !fits {
        let fix = if is_set {
            format!("write `{name} contains <value> if {{ … }}`")
        } else {
            format!("write `{name} := <value> if {{ … }}`")
        };
        let kind = if is_set { "a set" } else { "one value" };
        problems.push(error(
            "wrong_rule_shape",
            &place(file, rule),
            format!("`{name}` is {kind} in the policy contract, and this rule is something else"),
            fix,
        ));
    }
    if let (Rule::Default { value, .. }, "allow") = (rule, name)
        && matches!(value.as_ref(), Expr::Bool { value, .. } if *value == true.into())
    {
        problems.push(warning(
            "default_allow",
            &place(file, rule),
            "`default allow := true` allows whatever no other rule speaks of",
            "write `default allow := false` and say what is allowed",
        ));
    }
}

/// Names that would be taken for something else.
fn name(packages: &Packages, file: &PolicyFile, rule: &Rule, problems: &mut Problems) {
    let path = head_path(rule);
    let Some(first) = path.first() else { return };
    let full = path.join(".");
    if builtins::is_builtin_name(&full) {
        problems.push(error(
            "named_like_a_builtin",
            &place(file, rule),
            format!("a rule named `{full}` would be called instead of the function of that name"),
            "choose another name",
        ));
    }
    if ["input", "data"].contains(&first.as_str()) {
        problems.push(error(
            "shadowed_name",
            &place(file, rule),
            format!("a rule named `{first}` hides the document of that name"),
            "choose another name",
        ));
    }
    if let Some(package) = covered(packages, &format!("{}.{first}", file.package)) {
        problems.push(error(
            "rule_covers_package",
            &place(file, rule),
            format!(
                "the rule `{first}` of `{}` would add to, or replace, the package `{package}`",
                file.package
            ),
            "choose another name for the rule or the package",
        ));
    }
    let contract: Vec<_> = contract::all().collect();
    if let Some(meant) = nearest(first, contract.iter().copied())
        && !contract.contains(&first.as_str())
    {
        problems.push(warning(
            "misspelt_rule",
            &place(file, rule),
            format!("`{first}` means nothing to Tollgate; did you mean `{meant}`?"),
            format!("rename it to `{meant}`, or to something less alike"),
        ));
    }
}

/// A package at, or below, the path of a rule.
fn covered<'a>(packages: &'a Packages, rule: &str) -> Option<&'a PackageName> {
    let below = format!("{rule}.");
    let from = (Bound::Included(below.as_str()), Bound::Unbounded);
    let exact = packages.by_name.get_key_value(rule);
    let first = exact.or_else(|| packages.by_name.range::<str, _>(from).next());
    first.map(|(name, _)| name).filter(|name| name.as_str() == rule || name.as_str().starts_with(&below))
}

/// An alias that reads like a builtin's namespace hides where a function comes from.
fn imports(file: &PolicyFile, problems: &mut Problems) {
    for import in &file.module.imports {
        let (alias, path) = alias_and_path(import);
        let line = reference::line(&import.refr);
        let keyword = path.first().is_some_and(|root| root == "future" || root == "rego");
        if !keyword && (builtins::is_builtin_name(&alias) || builtins::is_builtin_namespace(&alias)) {
            problems.push(error(
                "named_like_a_builtin",
                &file.place(line),
                format!("the import `{alias}` reads like the functions of that name"),
                format!("import it `as` something else, such as `{alias}_lib`"),
            ));
        }
        if !keyword && ["input", "data"].contains(&alias.as_str()) && path.len() > 1 {
            problems.push(error(
                "shadowed_name",
                &file.place(line),
                format!("an import named `{alias}` hides the document of that name"),
                "import it `as` something else",
            ));
        }
        if path.len() == 1 {
            problems.push(error(
                "import_of_everything",
                &file.place(line),
                format!("importing `{alias}` as a whole does nothing, or hides what is read"),
                "remove the import, or import what the rules use",
            ));
        }
    }
}

/// The interpreter takes the first of two defaults and says nothing.
fn defaults(packages: &Packages, problems: &mut Problems) {
    let mut seen: BTreeMap<Vec<String>, Place> = BTreeMap::new();
    for file in &packages.files {
        for rule in file.module.policy.iter().filter(|rule| matches!(&***rule, Rule::Default { .. })) {
            let path: Vec<String> = components(&file.package).chain(head_path(rule)).collect();
            let here = place(file, rule);
            if let Some(first) = seen.get(&path) {
                let message = format!(
                    "a second `default` of this rule; the first stands at {}:{}",
                    first.file.display(),
                    first.line
                );
                problems.push(error("two_defaults", &here, message, "keep one of them"));
            } else {
                seen.insert(path, here);
            }
        }
    }
}

/// The folder `global/` and the packages `global.*` belong together; one without the other would apply to nothing.
fn folders(packages: &Packages, problems: &mut Problems) {
    for (name, package) in &packages.by_name {
        let files: Vec<_> = packages.files_of(name).collect();
        let Some(first) = files.first() else { continue };
        let says_global = components(name).next().is_some_and(|part| part == "global");
        if let Some(outside) = files.iter().find(|file| !file.global && (package.global || says_global)) {
            problems.push(error(
                "global_outside_its_folder",
                &outside.place(1),
                format!("`{name}` is a global package, and this file does not lie in `global/`"),
                "move the file to `global/`, or give it another package",
            ));
        }
        if package.global && !contract::RESTRICTING.iter().any(|rule| package.rules.contains(*rule)) {
            problems.push(warning(
                "global_without_effect",
                &first.place(1),
                format!("the global package `{name}` has none of `deny`, `max_ttl`, `scopes`, `require`"),
                "check the spelling of its rules, or move a library out of `global/`",
            ));
        }
        if let Some(second) = files.get(1) {
            problems.push(warning(
                "package_in_several_files",
                &second.place(1),
                format!(
                    "`{name}` begins in {}: reviewing one file does not show it whole",
                    first.path.display()
                ),
                "keep a package in one file",
            ));
        }
    }
}
