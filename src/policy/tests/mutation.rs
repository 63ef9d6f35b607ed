//! The property that everything about missing facts rests on: a key that the analysis reports as not read does not
//! change any answer, whatever happens to it.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::*;
use crate::domain::Operation;
use crate::policy::PackageResult;
use crate::policy::engine::{EngineInput, PackageSet};

/// Packages that read in many ways; each is decided alone, with the library.
const RULES: [&str; 22] = [
    "package p\nallow if { input.identity.branch == \"main\"; input.context.commit_signed }",
    "package p\nimport input.context as ctx\nallow if ctx.branch == \"main\"\ndeny contains ctx.weekday if ctx.time > \"18:00\"",
    "package p\nallow if object.get(input.context.review, \"state\", \"\") == \"approved\"\nmax_ttl := \"5m\" if input.runner == input.runner",
    "package p\nimport input.identity.claims\nallow if claims.run_attempt == \"1\"",
    "package p\nallow if { ctx := input.context; who := input.identity; ctx.branch == who.branch }",
    "package p\nallow if { a := input.context.review; b := a; b.state == \"approved\"; \"kim\" in b.by }",
    "package p\nallow if { unused := input.context.commit_signed }",
    "package p\nallow if { some label in input.runner.labels; label == \"b\" }\nmax_ttl := \"5m\" if input.runner.region == \"eu-1\"",
    "package p\nallow if { every scope in input.resource.scopes { scope in {\"read\", \"write\"} } }",
    "package p\nallow := input.identity.on_call\nscopes contains s if { some s in input.resource.scopes; s != \"write\" }",
    "package p\ndefault allow := false\nallow if { not closed }\nclosed if input.context.weekday in {\"saturday\", \"sunday\"}\nclosed if input.context.time < \"08:00\"",
    "package p\nallow if data.lib.signed(input.context.commit_signed)\ntags := {\"team\": input.resource.labels.team}",
    "package p\nimport data.lib as shared\nallow if { shared.office; input[\"identity\"][\"trust\"] == \"trusted\" }",
    "package p\nallow if count({x | x := input.context.review.by[_]}) == 2\ndeny contains m if { m := sprintf(\"%v\", [input.context.ticket]); input.context.purpose == \"none\" }",
    "package p\nallow if { {\"x\": y} = {\"x\": input.context.branch}; [z] := [input.context.review]; y == \"main\"; z.state == \"approved\" }",
    "package p\nimport input[\"context\"] as c\nimport input.context[\"review\"]\nallow { c.branch == \"main\"; review.state == \"approved\" }",
    "package p\ndefault allow := false\nallow if { input.context.branch == \"other\" } else if { input.context.ticket == \"OPS-1\" }",
    "package p\ndefault f(_) := input.context.commit_signed\nf(x) := y if { x == 1; y := 2 }\nallow if f(3)",
    "package p\nallow if { same(input.context.branch, x); startswith(x, \"ma\", y); y }\nsame(a) := a",
    "package p\nallow if { k := \"office\"; lib := data.lib; lib[k]; count([1 | x := input.context.ticket]) == 1; x := 1; x == 1 }",
    "package p\na[input.context.branch] := 1\nallow if { a.main == 1; every k, v in input.context.review { k != v } }",
    "package p\nallow { input.resource.environment == input.identity.environment }\ndeny[msg] { input.identity.trust != \"trusted\"; msg := input.identity.event }",
];

const LIBRARY: &str = "package lib
signed(flag) if flag == true
office if input.context.weekday == \"monday\"
office if net.cidr_contains(\"10.0.0.0/8\", input.context.source_ip)
";

const LIMIT: Duration = Duration::from_secs(30);

/// What `set` says to the whole of `input`; and what it says to the part that it reads must be the same, asked for the
/// first time and remembered.
fn evaluate(set: &PackageSet, input: &Value) -> Vec<PackageResult> {
    let text = input.to_string();
    let whole = set.evaluate(EngineInput::read(&text).unwrap(), now(), LIMIT);
    for _ in 0..2 {
        assert_eq!(*set.answer(&text, now(), LIMIT).unwrap(), whole, "{text}");
    }
    whole
}

/// Every path of `value`, containers included.
fn paths(value: &Value, at: &[String], found: &mut Vec<Vec<String>>) {
    let Value::Object(members) = value else { return };
    for (key, value) in members {
        let path = [at, std::slice::from_ref(key)].concat();
        found.push(path.clone());
        paths(value, &path, found);
    }
}

fn parent<'a>(input: &'a mut Value, path: &[String]) -> &'a mut serde_json::Map<String, Value> {
    let parents = &path[..path.len() - 1];
    parents.iter().fold(input, |value, key| &mut value[key.as_str()]).as_object_mut().unwrap()
}

fn mutants(path: &[String]) -> Vec<Value> {
    let key = path.last().unwrap();
    let mut mutants = Vec::new();
    let mut removed = rich_input();
    parent(&mut removed, path).remove(key);
    mutants.push(removed);
    for replacement in [json!("other"), json!(7), json!(null), json!(false), json!({"x": 1})] {
        let mut replaced = rich_input();
        parent(&mut replaced, path).insert(key.clone(), replacement);
        mutants.push(replaced);
    }
    mutants
}

#[test]
fn p_11_what_is_reported_as_not_read_changes_no_answer() {
    let mut all = Vec::new();
    paths(&rich_input(), &[], &mut all);
    let mut changed_by_read = 0;
    for rules in RULES {
        let policy = policy(&["p"], &[("lib.rego", LIBRARY), ("p.rego", rules)]);
        let role = role(&["p"]);
        let none = std::collections::BTreeMap::new();
        let set = policy.prepared(&role, Operation::Mint, &none).unwrap();
        let usual = evaluate(set, &rich_input());
        assert_eq!(usual[0].error, None, "{rules}");
        let mut changed_here = 0;
        for path in &all {
            for mutant in mutants(path) {
                let changed = evaluate(set, &mutant) != usual;
                assert!(!changed || set.closure().reads(path), "{path:?} is read after all by\n{rules}");
                changed_here += usize::from(changed);
            }
        }
        assert!(changed_here > 0, "nothing that it reads matters:\n{rules}");
        changed_by_read += changed_here;
    }
    assert!(changed_by_read > RULES.len() * 5);
}

#[test]
fn the_analysis_is_not_simply_everything() {
    let policy = policy(&["p"], &[("lib.rego", LIBRARY), ("p.rego", RULES[4])]);
    let reads = &policy.describe()[0].reads;
    assert_eq!(reads, &["input.context.branch", "input.identity.branch"]);
}
