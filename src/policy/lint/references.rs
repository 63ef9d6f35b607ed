//! What rules refer to: nothing dynamic where facts lie, no `with`, only functions that exist and may be called.

use crate::config::{Problem, Problems};
use crate::policy::builtins::{self, Verdict};
use crate::policy::graph::{Graph, Node};
use crate::policy::packages::{Packages, Place};
use crate::policy::report::error;
use crate::policy::resolve::{BuiltinCall, RuleCall};

/// Containers of facts: which of their keys an evaluation reads must be plain from the text, so that a key whose
/// source failed is found before a rule runs without it.
const CONTAINERS: [&[&str]; 4] = [&[], &["context"], &["identity"], &["declared"]];

/// Checks every rule.
pub(super) fn check(packages: &Packages, graph: &Graph, problems: &mut Problems) {
    for node in graph.nodes() {
        for place in &node.reads.withs {
            problems.push(error(
                "with_refused",
                place,
                "`with` replaces the input or a function, which no decision needs",
                "move tests to a file whose name ends in `_test.rego`",
            ));
        }
        for place in &node.reads.shadows {
            problems.push(error(
                "shadowed_name",
                place,
                "the rule uses `input` or `data` as a name of its own, so that what it reads cannot be known",
                "choose another name for the variable",
            ));
        }
        containers(node, problems);
        dependencies(graph, node, problems);
        let builtins = node.reads.builtins.iter().filter_map(builtin);
        let functions = node.reads.calls.iter().filter_map(|call| arity(packages, call));
        for problem in builtins.chain(functions) {
            problems.push(problem);
        }
    }
    if let Some(node) = graph.cycle() {
        let place = node.reads.rules.first().map(|dependency| dependency.read.place.clone());
        if let Some(place) = place {
            let message = format!("the rule `{}` of `{}` needs its own result", node.rule, node.package);
            problems.push(error("recursion", &place, message, "break the cycle of rules"));
        }
    }
}

fn containers(node: &Node, problems: &mut Problems) {
    for read in &node.reads.inputs {
        if CONTAINERS.iter().any(|container| container.iter().eq(&read.path)) {
            let whole = std::iter::once("input").chain(read.path.iter().map(String::as_str));
            let whole = whole.collect::<Vec<_>>().join(".");
            problems.push(error(
                "dynamic_reference",
                &read.place,
                format!("`{whole}` is used as a whole or with a computed key, so that what is read cannot be known"),
                format!("name the key, such as `{whole}.…`"),
            ));
        }
    }
}

fn dependencies(graph: &Graph, node: &Node, problems: &mut Problems) {
    for dependency in &node.reads.rules {
        let read = &dependency.read;
        if read.path.is_empty() {
            problems.push(error(
                "dynamic_reference",
                &read.place,
                "`data` is used as a whole, which is every package at once",
                "name the package",
            ));
        } else if !graph.has(&read.path) {
            problems.push(error(
                "unknown_data",
                &read.place,
                format!("there is no rule or package at `data.{}`", read.path.join(".")),
                "correct the name; what does not exist is undefined, and a rule that needs it never holds",
            ));
        }
    }
}

fn builtin(call: &BuiltinCall) -> Option<Problem> {
    let Some(name) = &call.name else {
        let message = "a function is called through an expression";
        return Some(error("unknown_function", &call.place, message, "call it by its name"));
    };
    match builtins::judge(name) {
        Verdict::Allowed(arity) => wrong_arity(name, arity, call.arguments, &call.place),
        Verdict::Refused(reason) => Some(error(
            "function_refused",
            &call.place,
            format!("policies may not call `{name}`: {reason}"),
            "leave the call out",
        )),
        Verdict::Unknown => {
            let fix = match builtins::nearest(name) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "correct the name; the manual lists the functions that policies may use".to_owned(),
            };
            let message = format!("there is no function `{name}`");
            Some(error("unknown_function", &call.place, message, fix))
        }
    }
}

fn arity(packages: &Packages, call: &RuleCall) -> Option<Problem> {
    let parameters = *packages.functions.get(&call.path)?;
    wrong_arity(&call.path.join("."), parameters, call.arguments, &call.place)
}

/// One argument more than parameters binds the result to the last, as older policies do.
fn wrong_arity(name: &str, parameters: usize, arguments: usize, place: &Place) -> Option<Problem> {
    if arguments == parameters || arguments == parameters + 1 {
        return None;
    }
    let message = format!("`{name}` takes {parameters} arguments and is given {arguments}");
    Some(error("wrong_arity", place, message, "correct the call"))
}
