//! What decides about anything else than a credential.

use std::collections::BTreeMap;

use super::support::*;
use crate::clock::{Clock, random_bytes};
use crate::config::{Problems, Severity};
use crate::domain::{Code, DecisionId, Operation, OperationAsk, Refusal};
use crate::facts::Gatherer;
use crate::identity::testing::caller;
use crate::policy::{Policy, Verdict};

const SECURITY: &str = "package ops.security
default allow := false
allow if { input.operation == \"lease.list\"; input.identity.trust == \"trusted\"; not input.resource.all_tenants }
deny contains \"not that role\" if input.resource.filter.role == \"secret\"
";

fn loaded(operation: Operation, package: &str, text: &str) -> Result<(Policy, Problems), Problems> {
    let mut config = config([role(&["ci.deploy"])]);
    config.settings.operations.packages = BTreeMap::from([(operation, vec![package.parse().unwrap()])]);
    let guard = "package global.guard\ndeny contains \"nobody\" if input.identity.trust";
    let texts = [("deploy.rego", DEPLOY), ("ops.rego", text), ("global/guard.rego", guard)];
    Policy::load_files(&config, files(&texts))
}

fn permit(policy: &Policy, operation: Operation, filter: &[(&'static str, &str)]) -> Result<(), Refusal> {
    let filter = filter.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let ask = OperationAsk { operation, tenant: None, filter, source_ip: None };
    let gatherer = Gatherer::new(&config([]), Clock::manual(now())).unwrap();
    let decision = DecisionId::new(0, &random_bytes().unwrap());
    let facts = gatherer.gather_operation(caller("token", now()), &ask, decision).unwrap();
    match policy.permit(facts) {
        Verdict::Permit(permit) => {
            assert_eq!((permit.operation(), permit.decision()), (operation, decision));
            assert_eq!(permit.judged().results().len(), 1, "global packages are for roles");
            Ok(())
        }
        Verdict::Deny(_, refusal) => Err(refusal),
    }
}

#[test]
fn the_named_packages_decide_an_operation() {
    let (policy, _) = loaded(Operation::LeaseList, "ops.security", SECURITY).unwrap();
    assert!(permit(&policy, Operation::LeaseList, &[]).is_ok());
    let refusal = permit(&policy, Operation::LeaseList, &[("role", "secret")]).unwrap_err();
    assert_eq!(refusal.code, Code::PolicyDenied);
    assert_eq!(refusal.message, "denied lease.list: not that role");
}

#[test]
fn p_15_an_operation_without_packages_is_denied_with_what_to_do() {
    let (policy, _) = loaded(Operation::LeaseList, "ops.security", SECURITY).unwrap();
    let others = Operation::ALL.iter().filter(|operation| **operation != Operation::LeaseList);
    for operation in others {
        let refusal = permit(&policy, *operation, &[]).unwrap_err();
        assert_eq!(refusal.code, Code::NotAllowed, "{operation}");
        assert!(refusal.message.contains("[operations] in tollgate.toml"), "{}", refusal.message);
        assert!(!policy.decides(*operation));
    }
}

#[test]
fn p_15_a_package_for_one_operation_answers_no_other() {
    let (policy, _) = loaded(Operation::Block, "ops.security", SECURITY).unwrap();
    assert_eq!(permit(&policy, Operation::Block, &[]).unwrap_err().code, Code::NotAllowed);
}

#[test]
fn p_02_a_package_that_fails_denies() {
    let text = "package ops.security
allow if { input.operation == \"lease.list\"; to_number(input.resource.filter.role) == 1 }";
    let (policy, _) = loaded(Operation::LeaseList, "ops.security", text).unwrap();
    let refusal = permit(&policy, Operation::LeaseList, &[("role", "x")]).unwrap_err();
    assert_eq!(refusal.code, Code::PolicyFailed);
    let text = "package ops.security\nallow := \"yes\" if input.operation == \"lease.list\"";
    let (policy, _) = loaded(Operation::LeaseList, "ops.security", text).unwrap();
    assert_eq!(permit(&policy, Operation::LeaseList, &[]).unwrap_err().code, Code::PolicyFailed);
}

#[test]
fn packages_that_cannot_answer_do_not_load() {
    let stops = |package: &str, text: &str, code: &str| {
        let problems = loaded(Operation::LeaseList, package, text).unwrap_err();
        let problem = problems.iter().find(|problem| problem.code == code).unwrap();
        assert_eq!(problem.severity, Severity::Error);
        assert_eq!(
            (problem.file.to_str(), problem.key.as_str()),
            (Some("tollgate.toml"), "operations.\"lease.list\"")
        );
    };
    stops("ops.securty", SECURITY, "unknown_package");
    stops("global.guard", SECURITY, "global_package_named");
    stops("ops.security", "package ops.security\ndeny contains \"no\" if input.operation", "no_allow");
    for rule in [
        "max_ttl := \"5m\"",
        "scopes contains \"read\"",
        "require := {\"approvals\": 2}",
        "tags := {\"a\": \"b\"}",
    ] {
        stops("ops.security", &format!("{SECURITY}{rule}\n"), "not_for_operations");
    }
}

#[test]
fn p_15_a_package_that_never_looks_at_the_operation_is_warned_of() {
    let text = "package ops.security\nallow if input.identity.trust == \"trusted\"";
    let warned = |text| {
        let (_, problems) = loaded(Operation::LeaseList, "ops.security", text).unwrap();
        problems.iter().any(|problem| problem.code == "operation_not_compared")
    };
    assert!(warned(text));
    assert!(!warned(SECURITY));
}
