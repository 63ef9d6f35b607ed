//! Policies that fail, facts that are missing, limits that are hit: all of them deny, and say so.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;

use super::support::*;
use crate::domain::{Code, Operation};
use crate::facts::SourceFailure;
use crate::policy::Policy;
use crate::policy::engine::{EngineInput, Failure};

fn failed(key: &str) -> BTreeMap<String, SourceFailure> {
    let failure = SourceFailure { source: "commits".into(), detail: "status 500 at 10.0.0.7".into() };
    [(key.to_owned(), failure)].into()
}

const UNSIGNED: &str = "package p
allow := true
deny contains \"unsigned\" if input.context.commit_signed == false
";

#[test]
fn p_11_a_failed_source_that_would_be_read_denies_before_any_rule_runs() {
    let policy = policy(&["p"], &[("p.rego", UNSIGNED)]);
    let role = role(&["p"]);
    // Without the check the missing key would switch the `deny` off.
    assert!(is_allow(&ask_with(&policy, &["p"], json!({}))));
    let refusal = policy.prepared(&role, Operation::Mint, &failed("context.commit_signed")).unwrap_err();
    assert_eq!(refusal.code, Code::FactsUnavailable);
    assert!(refusal.message.contains("commits"));
    assert!(!refusal.message.contains("10.0.0.7"), "the source's answer is for the record");
    assert!(refusal.detail.unwrap().contains("10.0.0.7"));
    assert!(policy.prepared(&role, Operation::Mint, &failed("context.ticket_approved")).is_ok());
}

#[test]
fn p_11_a_fact_read_by_a_library_or_a_global_package_counts() {
    let library = "package lib.commits\nsigned if input.context.commit_signed";
    let text = "package p\nallow if data.lib.commits.signed";
    let policy = policy(&["p"], &[("lib.rego", library), ("p.rego", text)]);
    assert!(policy.prepared(&role(&["p"]), Operation::Mint, &failed("context.commit_signed")).is_err());
    let global = "package global.g\ndeny contains \"unsigned\" if not input.context.commit_signed";
    let policy = super::support::policy(&["ci.deploy"], &[("d.rego", DEPLOY), ("global/g.rego", global)]);
    assert!(
        policy.prepared(&role(&["ci.deploy"]), Operation::Mint, &failed("context.commit_signed")).is_err()
    );
}

#[test]
fn p_12_a_declared_value_does_not_fill_in_for_a_source_that_is_down() {
    let policy = policy(&["p"], &[("p.rego", UNSIGNED)]);
    // Whatever the input holds at that key: the source failed, so that nothing there can be what it says.
    assert!(is_allow(&ask_with(&policy, &["p"], json!({"commit_signed": true}))));
    assert!(policy.prepared(&role(&["p"]), Operation::Mint, &failed("context.commit_signed")).is_err());
}

#[test]
fn p_06_declared_values_are_read_by_key_and_never_as_a_whole() {
    let whole = "package p\nallow if { some value in input.declared; value == \"debug\" }";
    assert!(load(&["p"], &[("p.rego", whole)]).is_err());
    let policy = policy(&["p"], &[("p.rego", "package p\nallow if input.context.commit_signed")]);
    let (_, merged) = ask(&policy, &["p"], |input| {
        input.declared.insert("commit_signed".into(), json!(true));
    });
    assert_eq!(refusal(merged).code, Code::NotAllowed);
}

#[test]
fn p_05_a_policy_that_never_ends_is_stopped_and_denies() {
    let endless = "package p
n := [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]
allow if count([1 | some a in n; some b in n; some c in n; some d in n; some e in n; some f in n; some g in n]) > 0
deny contains \"never\" if input.identity.branch == \"other\"
max_ttl := \"5m\"
";
    let mut config = config([role(&["p"])]);
    config.settings.limits.policy_timeout = Duration::from_millis(5);
    let (policy, _) = Policy::load_files(&config, files(&[("p.rego", endless)])).unwrap();
    let (results, merged) = ask(&policy, &["p"], |_| {});
    assert!(results[0].error.is_some());
    assert_eq!(refusal(merged).code, Code::PolicyFailed);
}

#[test]
fn p_05_the_limit_is_for_the_whole_decision() {
    let policy = policy(&["p"], &[("p.rego", "package p\nallow := true")]);
    let set = policy.prepared(&role(&["p"]), Operation::Mint, &BTreeMap::new()).unwrap();
    let results = set.evaluate(EngineInput::read(&rich_input().to_string()).unwrap(), now(), Duration::ZERO);
    assert_eq!(results[0].error, Some(Failure::OutOfTime.to_string()));
    assert_eq!(results[0].allow, Some(false));
}

#[test]
fn p_05_a_large_input_is_not_evaluated() {
    assert!(EngineInput::read(&json!({"a": "x".repeat(64 * 1024)}).to_string()).is_err());
    let policy = policy(&["p"], &[("p.rego", "package p\nallow := true")]);
    let (_, merged) = ask(&policy, &["p"], |input| {
        input.context.facts.insert("ticket".into(), json!("x".repeat(64 * 1024)));
    });
    assert_eq!(refusal(merged).code, Code::PolicyFailed);
}

#[test]
fn p_02_answers_of_another_type_deny_and_are_failures() {
    for (rule, text) in [
        ("allow", "allow := \"true\""),
        ("allow", "allow := 1"),
        ("max_ttl", "allow := true\nmax_ttl := 30"),
        ("scopes", "allow := true\nscopes contains 1"),
        ("tags", "allow := true\ntags := [\"a\"]"),
        ("require", "allow := true\nrequire := true"),
        ("deny", "allow := true\ndeny contains {\"msg\": \"x\"}"),
    ] {
        let policy = policy(&["p"], &[("p.rego", &format!("package p\n{text}\n"))]);
        let (results, merged) = ask(&policy, &["p"], |_| {});
        assert!(results[0].error.as_ref().unwrap().contains(rule), "{text}: {results:?}");
        let refusal = refusal(merged);
        assert_eq!(refusal.code, Code::PolicyFailed, "{text}");
        assert!(!refusal.message.contains(rule), "the detail is for the record");
    }
}

#[test]
fn p_02_a_builtin_that_fails_is_a_failure_and_not_a_rule_that_does_not_hold() {
    let text = "package p
allow := true
deny contains \"old\" if to_number(input.context.ticket) < 100";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert!(is_allow(&ask_with(&policy, &["p"], json!({"ticket": "200"}))));
    assert_eq!(refusal(ask_with(&policy, &["p"], json!({"ticket": "abc"}))).code, Code::PolicyFailed);
}

#[test]
fn p_02_two_values_for_one_rule_are_a_failure() {
    let text = "package p
allow if input.identity.branch == \"main\"
allow := false if input.context.commit_signed";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert_eq!(refusal(ask_with(&policy, &["p"], json!({"commit_signed": true}))).code, Code::PolicyFailed);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn p_02_a_failure_raises_an_alarm_and_a_denial_does_not() {
    let logged = |text: &str| {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
        let policy = policy(&["p"], &[("p.rego", text)]);
        tracing::subscriber::with_default(subscriber, || drop(decide(&policy, &["p"])));
        String::from_utf8(log.0.lock().unwrap().clone()).unwrap()
    };
    assert!(logged("package p\nallow := 1").contains("ERROR"));
    assert_eq!(logged("package p\nallow if input.identity.branch == \"other\""), "");
}

#[test]
fn no_decision_sees_the_input_of_another() {
    let policy = policy(&["p"], &[("p.rego", "package p\nallow if input.context.commit_signed")]);
    assert!(is_allow(&ask_with(&policy, &["p"], json!({"commit_signed": true}))));
    assert!(!is_allow(&ask_with(&policy, &["p"], json!({}))));
}

#[test]
fn p_15_a_role_without_prepared_packages_is_denied() {
    let policy = policy(&["ci.deploy"], &[("deploy.rego", DEPLOY)]);
    let mut unknown = role(&["ci.deploy"]);
    unknown.name = "other".parse().unwrap();
    let refusal = policy.prepared(&unknown, Operation::Mint, &BTreeMap::new()).unwrap_err();
    assert_eq!(refusal.code, Code::PolicyFailed);
}
