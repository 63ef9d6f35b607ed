//! The shipped policies: every Rego test rule, every line covered, every reason tested; and policies written elsewhere.

use std::path::{Path, PathBuf};

use regorus::{Engine, Rc, Value};
use serde_json::json;

use crate::harness::files;

/// One shipped package: its file and the tests beside it.
pub(crate) struct Shipped {
    /// Such as `ci.deploy`.
    pub(crate) package: String,
    pub(crate) policy: PathBuf,
    tests: PathBuf,
}

/// Every package below `policies/`, by name.
pub(crate) fn shipped() -> Vec<Shipped> {
    let mut files = files::ending_with("rego", &files::root().join("policies"));
    files.sort();
    let (tests, policies): (Vec<_>, Vec<_>) =
        files.into_iter().partition(|file| file.to_str().unwrap().ends_with("_test.rego"));
    let shipped: Vec<_> = policies
        .into_iter()
        .map(|policy| {
            let stem = policy.file_stem().unwrap().to_str().unwrap();
            let tests = policy.with_file_name(format!("{stem}_test.rego"));
            let text = read(&policy);
            let package = text.lines().find_map(|line| line.strip_prefix("package ")).unwrap().to_owned();
            Shipped { package, policy, tests }
        })
        .collect();
    assert_eq!(
        tests.len(),
        shipped.iter().filter(|one| one.tests.exists()).count(),
        "a test file without its policy"
    );
    shipped
}

pub(crate) fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// An engine as decisions use it: the interpreter, with errors of builtins as errors.
pub(crate) fn engine(files: &[&Path]) -> Engine {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    for file in files {
        engine.add_policy(file.display().to_string(), read(file)).unwrap();
    }
    engine
}

/// Paths of the `test_` rules that the engine holds.
fn test_rules(engine: &mut Engine, package: &str) -> Vec<String> {
    let entry: Rc<str> = format!("data.{package}.deny").into();
    let compiled = engine.compile_with_entrypoint(&entry).unwrap();
    let prefix = format!("data.{package}.test_");
    let mut rules: Vec<_> =
        compiled.get_rules().keys().filter(|rule| rule.starts_with(&prefix)).cloned().collect();
    rules.sort();
    rules
}

#[test]
fn every_test_rule_of_the_shipped_policies_holds() {
    let mut failures = Vec::new();
    for one in shipped() {
        let mut engine = engine(&[&one.policy, &one.tests]);
        let rules = test_rules(&mut engine, &one.package);
        assert!(rules.len() > 2, "{} has {} tests", one.package, rules.len());
        for rule in rules {
            match engine.clone().eval_rule(rule.clone()) {
                Ok(value) if value == Value::from(true) => println!("ok      {rule}"),
                Ok(value) => failures.push(format!("{rule} is {value}")),
                Err(error) => failures.push(format!("{rule}: {error}")),
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_tests_reach_every_line_and_name_every_reason() {
    for one in shipped() {
        let mut engine = engine(&[&one.policy, &one.tests]);
        engine.set_enable_coverage(true);
        for rule in test_rules(&mut engine, &one.package) {
            engine.eval_rule(rule).unwrap();
        }
        for file in engine.get_coverage_report().unwrap().files {
            assert!(file.not_covered.is_empty(), "{}: lines {:?}", file.path, file.not_covered);
        }
        let (policy, tests) = (read(&one.policy), read(&one.tests));
        let ids: Vec<_> =
            policy.split("\"id\": \"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        assert!(!ids.is_empty(), "{} denies nothing", one.package);
        for id in ids {
            let rule = format!("test_{}", id.to_lowercase().replace('-', "_"));
            assert!(tests.contains(&rule), "{}: no test named {rule}", one.package);
        }
    }
}

#[test]
fn p_07_global_packages_only_restrict() {
    let globals: Vec<_> = shipped().into_iter().filter(|one| one.package.starts_with("global.")).collect();
    assert!(!globals.is_empty());
    for one in globals {
        let mut engine = engine(&[&one.policy]);
        assert!(engine.eval_rule(format!("data.{}.allow", one.package)).is_err(), "{}", one.package);
    }
}

#[test]
fn reasons_are_written_for_the_caller() {
    for one in shipped() {
        let mut engine = engine(&[&one.policy]);
        engine.set_input(Value::new_object());
        let deny = engine.eval_rule(format!("data.{}.deny", one.package)).unwrap();
        let reasons = serde_json::to_value(&deny).unwrap();
        for reason in reasons.as_array().unwrap() {
            let part = |name: &str| reason[name].as_str().unwrap_or_default().to_owned();
            assert!(part("id").len() == 5, "{}: {reason}", one.package);
            for text in [part("message"), part("fix")] {
                assert!((10..=120).contains(&text.len()), "{}: {text:?}", one.package);
                assert!(!text.contains("input."), "rule text in {text:?}");
            }
        }
    }
}

/// Policies in the older syntax, with nothing but a package line added: what they say is what they decide.
mod elsewhere {
    use super::*;

    /// The older syntax, with the keywords of the newer one imported on the package line.
    fn decide(name: &str, input: serde_json::Value) -> (Value, Option<Value>) {
        let path = files::root().join("tests/fixtures/policies/elsewhere").join(name);
        let text = read(&path).replacen('\n', " import future.keywords\n", 1);
        let mut engine = Engine::new();
        engine.set_strict_builtin_errors(true);
        engine.set_rego_v0(true);
        engine.add_policy(name.to_owned(), text).unwrap();
        engine.set_input(Value::from(input));
        let package = name.trim_end_matches(".rego");
        let deny = engine.eval_rule(format!("data.elsewhere.{package}.deny"));
        (engine.eval_rule(format!("data.elsewhere.{package}.allow")).unwrap(), deny.ok())
    }

    #[test]
    fn one_line_body_with_membership() {
        let input = |runner: &str, ttl: u32| {
            json!({
                "identity": {"role": "ci"},
                "runner": {"id": runner},
                "context": {"branch": "main", "requested_ttl": ttl},
            })
        };
        assert_eq!(decide("release.rego", input("r2", 30)), (Value::from(true), None));
        assert_eq!(decide("release.rego", input("r3", 30)).0, Value::Undefined);
        assert_eq!(decide("release.rego", input("r1", 31)).0, Value::Undefined);
    }

    #[test]
    fn several_bodies_are_alternatives() {
        let ci = json!({
            "identity": {"role": "ci"},
            "context": {"branch": "main", "environment": "production", "commit_signed": true, "time": "12:00"},
        });
        assert_eq!(decide("production.rego", ci.clone()).0, Value::from(true));
        let mut night = ci;
        night["context"]["time"] = json!("03:00");
        assert_eq!(decide("production.rego", night).0, Value::Undefined);
        let on_call =
            json!({"identity": {"on_call": true}, "context": {"purpose": "debug", "requested_ttl": 30}});
        assert_eq!(decide("production.rego", on_call).0, Value::from(true));
    }

    #[test]
    fn partial_deny_and_functions_of_the_older_syntax() {
        let input = |approved: bool| {
            json!({
                "identity": {"tenant": "shop"},
                "runner": {"region": "eu-west-1"},
                "resource": {"tenant": "shop", "labels": {"tier": "critical"}},
                "context": {"annotation": "approved-by: ops", "ticket_approved": approved},
            })
        };
        let (allow, deny) = decide("critical.rego", input(true));
        assert_eq!((allow, deny.unwrap().as_set().unwrap().len()), (Value::from(true), 0));
        let (_, deny) = decide("critical.rego", input(false));
        assert_eq!(deny.unwrap().as_set().unwrap().len(), 1);
    }
}
