//! Policies as teams write them elsewhere, with only a package line added: they load and decide as they read.

use serde_json::json;

use super::support::*;
use crate::config::Severity;
use crate::policy::Syntax;

/// Whether `text` allows the request of [`rich_input`], altered.
fn allows(text: &str, alter: impl FnOnce(&mut serde_json::Value)) -> bool {
    let policy = policy(&["p"], &[("p.rego", text)]);
    let mut input = rich_input();
    alter(&mut input);
    let role = role(&["p"]);
    let none = std::collections::BTreeMap::new();
    let set = policy.prepared(&role, crate::domain::Operation::Mint, &none).unwrap();
    let input = crate::policy::engine::EngineInput::read(&input.to_string()).unwrap();
    let results = set.evaluate(input, now(), policy.limit);
    assert_eq!(results[0].error, None);
    results[0].allow == Some(true) && results[0].deny.is_empty()
}

#[test]
fn blocks_without_if_load_and_decide_as_they_read() {
    let text = "package p
allow { input.identity.role == \"ci\"; input.runner.id in [\"runner-1\", \"runner-2\"] }";
    assert!(allows(text, |_| {}));
    assert!(!allows(text, |input| input["runner"]["id"] = json!("runner-9")));
    assert!(!allows(text, |input| input["identity"]["role"] = json!("person")));
    assert!(!allows(text, |input| drop(input.as_object_mut().unwrap().remove("runner"))));
}

#[test]
fn blocks_over_several_lines_with_defaults_and_sets() {
    let text = "package p

default allow = false

allow {
    input.identity.role == \"ci\"
    input.context.branch == \"main\"
    input.context.commit_signed == true
    contains(input.context.annotation, \"CAB-\")
}

allow {
    input.identity.on_call
    input.context.purpose == \"debug\"
    input.context.requested_ttl <= 30
}

deny[msg] {
    input.resource.labels.critical == \"yes\"
    not input.context.ticket_approved
    msg := \"critical services need an approved ticket\"
}
";
    let unsigned = |input: &mut serde_json::Value| input["context"]["commit_signed"] = json!(false);
    assert!(allows(text, |_| {}));
    assert!(allows(text, unsigned), "on call");
    assert!(!allows(text, |input| {
        unsigned(input);
        input["context"]["requested_ttl"] = json!(31);
    }));
    assert!(!allows(text, |input| input["context"]["ticket_approved"] = json!(false)));
}

#[test]
fn p_02_a_forgotten_if_elsewhere_does_not_make_a_rule_unconditional() {
    let text = "package p
allow if { 1 == 2 }
helper { input.identity.role == \"ci\" }
";
    assert!(!allows(text, |_| {}));
    let denying = "package p
allow { helper }
deny contains \"closed\" if { input.context.weekday == \"sunday\" }
helper { input.identity.role == \"ci\" }
";
    assert!(allows(denying, |_| {}));
    assert!(!allows(denying, |input| input["context"]["weekday"] = json!("sunday")));
}

#[test]
fn p_02_a_bare_rule_does_not_load() {
    let errors = codes("package p\nhelper { 1 == 1 }\nallow\n", Severity::Error);
    assert!(errors.contains(&("syntax", Some(3))), "{errors:?}");
}

#[test]
fn each_older_file_is_named() {
    let warnings = codes("package p\nallow { input.identity.branch == \"main\" }", Severity::Warning);
    assert!(warnings.contains(&("old_syntax", Some(1))), "{warnings:?}");
    let policy = policy(&["p"], &[("p.rego", "package p\nallow { input.identity.branch == \"main\" }")]);
    let description = &policy.describe()[0];
    assert_eq!(description.packages[0].files[0].1, Syntax::V0);
    assert_eq!(description.reads, ["input.identity.branch"]);
}

#[test]
fn both_syntaxes_work_side_by_side() {
    let library = "package lib.old\nfriday { input.context.weekday == \"friday\" }";
    let text = "package p\nallow if not data.lib.old.friday";
    let policy = policy(&["p"], &[("lib.rego", library), ("p.rego", text)]);
    assert!(is_allow(&ask_with(&policy, &["p"], json!({}))));
}
