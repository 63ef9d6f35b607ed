//! What decisions come out as.

use serde_json::json;

use super::support::*;
use crate::config::{AwsAccess, AwsTarget, DenialDetail, TargetKind};
use crate::domain::{Code, Operation, ScopeName};
use crate::facts;
use crate::policy::merge::{Merged, ceiling};
use crate::policy::{Decision, Policy};

const GUARD: &str = "package global.guard
deny contains {\"id\": \"G-1\", \"message\": \"not trusted\", \"fix\": \"run it from a branch\"} if {
    input.identity.trust != \"trusted\"
}
max_ttl := \"10m\" if input.resource.environment == \"production\"
";

#[test]
fn allows_what_a_package_allows() {
    let policy = policy(&["ci.deploy"], &[("deploy.rego", DEPLOY)]);
    let Decision::Allow(grant) = decide(&policy, &["ci.deploy"]) else { panic!("denied") };
    assert_eq!(grant.ttl(), ttl("15m"));
    assert_eq!(grant.scopes().len(), 2);
    assert_eq!(grant.judged().results().len(), 1);
    assert_eq!(grant.judged().revision(), policy.revision());
}

#[test]
fn p_02_what_no_rule_allows_is_denied_without_an_alarm() {
    let policy = policy(&["ci.deploy"], &[("deploy.rego", DEPLOY)]);
    let (results, merged) = ask(&policy, &["ci.deploy"], |input| {
        std::sync::Arc::make_mut(&mut input.identity.attributes)
            .insert("branch".parse().unwrap(), json!("x"));
    });
    assert_eq!(results[0].allow, Some(false));
    assert_eq!(results[0].error, None);
    assert_eq!(refusal(merged).code, Code::NotAllowed);
}

#[test]
fn p_02_negation_of_something_undefined_does_not_allow_by_itself() {
    let text = "package p\nallow if { not input.identity.fork; input.identity.branch == \"main\" }";
    let policy = policy(&["p"], &[("p.rego", text)]);
    let gone = |input: &mut facts::Input| {
        drop(std::sync::Arc::make_mut(&mut input.identity.attributes).remove("branch"));
    };
    assert_eq!(refusal(ask(&policy, &["p"], gone).1).code, Code::NotAllowed);
}

#[test]
fn every_package_of_the_role_must_allow() {
    let second = "package second\nallow if input.context.commit_signed";
    let policy = policy(&["ci.deploy", "second"], &[("deploy.rego", DEPLOY), ("second.rego", second)]);
    let both = ["ci.deploy", "second"];
    assert_eq!(refusal(ask_with(&policy, &both, json!({}))).code, Code::NotAllowed);
    assert!(is_allow(&ask_with(&policy, &both, json!({"commit_signed": true}))));
}

#[test]
fn p_07_global_packages_restrict_every_role() {
    let policy = policy(&["ci.deploy"], &[("deploy.rego", DEPLOY), ("global/guard.rego", GUARD)]);
    let Decision::Allow(grant) = decide(&policy, &["ci.deploy"]) else { panic!("denied") };
    assert_eq!(grant.ttl(), ttl("10m"));
    let (_, merged) = ask(&policy, &["ci.deploy"], |input| {
        input.identity.trust = crate::domain::Trust::Unknown;
    });
    let refusal = refusal(merged);
    assert_eq!(refusal.code, Code::PolicyDenied);
    assert_eq!(refusal.message, "denied deploy: not trusted");
    assert_eq!(refusal.reasons[0].id.as_deref(), Some("G-1"));
    assert_eq!(refusal.fix(), "run it from a branch");
}

#[test]
fn p_08_a_denial_says_as_much_as_is_configured() {
    let config = {
        let mut config = config([role(&["p"])]);
        config.settings.denials = DenialDetail::None;
        config
    };
    let text =
        "package p\nallow := true\ndeny contains \"the vault is called sesame\" if input.identity.branch";
    let (policy, _) = Policy::load_files(&config, files(&[("p.rego", text)])).unwrap();
    let Decision::Deny(_, refusal) = decide(&policy, &["p"]) else { panic!("allowed") };
    assert_eq!(refusal.message, "denied deploy by policy");
    assert_eq!(refusal.reasons.len(), 1, "the record has everything");
}

#[test]
fn p_15_a_package_for_minting_answers_nothing_else() {
    let policy = policy(&["ci.deploy"], &[("deploy.rego", DEPLOY)]);
    let none = std::collections::BTreeMap::new();
    let other = policy.prepared(&role(&["ci.deploy"]), Operation::DecisionRead, &none);
    assert_eq!(other.unwrap_err().code, Code::NotAllowed);
    assert!(policy.prepared(&role(&["ci.deploy"]), Operation::Mint, &none).is_ok());
}

#[test]
fn p_14_time_in_a_policy_is_the_decisions() {
    let text = "package p\nallow if time.now_ns() == time.parse_rfc3339_ns(input.context.timestamp)";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert!(matches!(decide(&policy, &["p"]), Decision::Allow(_)));
}

#[test]
fn p_13_requested_ttl_is_a_number_that_compares_as_one() {
    let text = "package p
allow if { input.context.requested_ttl <= 15; input.context.requested_ttl == 15; input.context.requested_ttl_seconds == 900 }";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert!(matches!(decide(&policy, &["p"]), Decision::Allow(_)));
}

#[test]
fn limits_of_packages_narrow_the_grant() {
    let text = "package p
allow := true
max_ttl := \"5m\"
scopes contains \"read\"
scopes contains \"admin\"
tags := {\"team\": \"shop\"}
";
    let policy = policy(&["p"], &[("p.rego", text)]);
    let Decision::Allow(grant) = decide(&policy, &["p"]) else { panic!("denied") };
    assert_eq!(grant.ttl(), ttl("5m"));
    assert_eq!(grant.scopes().iter().map(ScopeName::as_str).collect::<Vec<_>>(), ["read"]);
    assert_eq!(grant.tags()["team"], "shop");
}

#[test]
fn a_scopes_rule_that_gives_nothing_leaves_nothing() {
    let text = "package p\nallow := true\nscopes contains \"read\" if input.identity.branch == \"other\"";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert_eq!(refusal(ask_with(&policy, &["p"], json!({}))).code, Code::ScopesEmpty);
}

#[test]
fn a_requirement_counts_only_with_an_allow() {
    let text = "package p
allow if input.context.commit_signed
require := {\"approvals\": 2, \"from\": [\"security\"]}";
    let policy = policy(&["p"], &[("p.rego", text)]);
    assert_eq!(refusal(ask_with(&policy, &["p"], json!({}))).code, Code::NotAllowed);
    let Merged::NeedsApproval(require) = ask_with(&policy, &["p"], json!({"commit_signed": true})) else {
        panic!("no approval needed")
    };
    assert_eq!(require.approvals, 2);
}

#[test]
fn libraries_are_loaded_with_the_packages_that_reach_them() {
    let library = "package lib.branches\nprotected(name) if name in {\"main\", \"release\"}";
    let text = "package p\nimport data.lib.branches\nallow if branches.protected(input.identity.branch)";
    let policy = policy(&["p"], &[("lib/branches.rego", library), ("p.rego", text)]);
    assert!(matches!(decide(&policy, &["p"]), Decision::Allow(_)));
}

#[test]
fn ceilings_follow_what_the_target_permits() {
    let aws = |access| {
        TargetKind::Aws(AwsTarget {
            partition: "aws".into(),
            region: "eu-west-1".into(),
            endpoint: None,
            client_endpoint: None,
            access,
            ca_file: None,
            allow_networks: Vec::new(),
            insecure_loopback: false,
        })
    };
    let ambient = |token: Option<&str>| AwsAccess::Ambient {
        access_key_id: "AKIA".into(),
        secret_access_key: String::new().into(),
        session_token: token.map(|token| token.to_owned().into()),
    };
    assert_eq!(ceiling(&facts_for(role(&["p"])).target().kind), ttl("1h"));
    assert_eq!(ceiling(&aws(AwsAccess::Federation { audience: "sts".into() })), ttl("12h"));
    assert_eq!(ceiling(&aws(ambient(None))), ttl("12h"));
    assert_eq!(ceiling(&aws(ambient(Some("session")))), ttl("1h"));
}
