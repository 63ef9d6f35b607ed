//! Nothing that policies answer widens a grant.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::policy::tests::support::role;

fn result(package: &str) -> PackageResult {
    PackageResult { allow: Some(true), ..PackageResult::silent(package.parse().unwrap()) }
}

fn scopes(names: &[&str]) -> BTreeSet<ScopeName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn asked<'a>(role: &'a Role, scopes: &'a BTreeSet<ScopeName>) -> Asked<'a> {
    Asked { role, ttl: role.ttl.default, scopes, ceiling: Ttl::MAX, denials: DenialDetail::Reasons }
}

/// Merges for the role of `p` and `q`.
fn merged(results: &[PackageResult]) -> Merged {
    let role = role(&["p", "q"]);
    let scopes = scopes(&["read", "write"]);
    merge(asked(&role, &scopes), results)
}

fn code(results: &[PackageResult]) -> Code {
    match merged(results) {
        Merged::Deny(refusal) => refusal.code,
        other => panic!("{other:?}"),
    }
}

fn tagged(package: &str, value: &str) -> PackageResult {
    PackageResult { tags: [("team".to_owned(), value.to_owned())].into(), ..result(package) }
}

fn requiring(package: &str, approvals: u32, from: &[&str]) -> PackageResult {
    let from = from.iter().map(|&group| group.to_owned()).collect();
    PackageResult { require: Some(Require { approvals, from, mfa_max_age: None }), ..result(package) }
}

#[test]
fn p_02_a_package_that_does_not_answer_does_not_allow() {
    assert!(matches!(merged(&[result("p"), result("q")]), Merged::Allow { .. }));
    assert_eq!(code(&[result("p")]), Code::NotAllowed);
    assert_eq!(code(&[]), Code::NotAllowed);
    let silent = PackageResult { allow: None, ..result("q") };
    assert_eq!(code(&[result("p"), silent]), Code::NotAllowed);
    let nobody = role(&[]);
    assert!(matches!(merge(asked(&nobody, &scopes(&["read"])), &[]), Merged::Deny(_)));
}

#[test]
fn a_failure_outweighs_everything_and_a_denial_outweighs_an_allow() {
    let failed = PackageResult { error: Some("why".into()), ..result("q") };
    let reason = Reason { package: "q".parse().unwrap(), id: None, message: "no".into(), fix: None };
    let denied = PackageResult { deny: vec![reason], ..result("q") };
    assert_eq!(code(&[result("p"), failed.clone()]), Code::PolicyFailed);
    assert_eq!(code(&[result("p"), denied.clone()]), Code::PolicyDenied);
    assert_eq!(code(&[result("p"), denied, failed]), Code::PolicyFailed);
}

#[test]
fn p_08_the_message_tells_the_authors_words_and_the_detail_stays_behind() {
    let failed = PackageResult { error: Some("line 7: secret".into()), ..result("q") };
    let Merged::Deny(refusal) = merged(&[result("p"), failed]) else { panic!("allowed") };
    assert!(!refusal.message.contains("secret"));
    assert_eq!(refusal.detail.as_deref(), Some("q: line 7: secret"));
    let Merged::Deny(refusal) = merged(&[result("p")]) else { panic!("allowed") };
    assert!(!refusal.message.contains('q') && refusal.detail.unwrap().contains('q'));
}

#[test]
fn tags_agree_or_deny() {
    assert!(matches!(merged(&[tagged("p", "shop"), tagged("q", "shop")]), Merged::Allow { .. }));
    assert_eq!(code(&[tagged("p", "shop"), tagged("q", "bank")]), Code::TagConflict);
}

#[test]
fn the_strictest_requirement_wins() {
    let approvals = |one, other| match merged(&[one, other]) {
        Merged::NeedsApproval(require) => Some((require.approvals, require.from)),
        _ => None,
    };
    let groups = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>();
    let both = approvals(requiring("p", 1, &["sec", "sre"]), requiring("q", 2, &["sec"]));
    assert_eq!(both, Some((2, groups(&["sec"]))));
    let any = approvals(requiring("p", 1, &[]), requiring("q", 1, &["sec"]));
    assert_eq!(any, Some((1, groups(&["sec"]))));
    // An empty intersection must not read as "anybody".
    assert_eq!(code(&[requiring("p", 1, &["sec"]), requiring("q", 1, &["sre"])]), Code::PolicyFailed);
}

#[test]
fn p_07_a_scope_that_the_role_lacks_is_not_granted_even_if_all_else_agrees() {
    let role = role(&["p"]);
    let wanted = scopes(&["read", "admin"]);
    let generous = PackageResult { scopes: Some(wanted.clone()), ..result("p") };
    let Merged::Allow { scopes: granted, .. } = merge(asked(&role, &wanted), &[generous]) else {
        panic!("denied")
    };
    assert_eq!(granted, scopes(&["read"]));
}

fn any_ttl() -> impl Strategy<Value = Ttl> {
    (1u64..=43_200).prop_map(|seconds| Ttl::from_secs(seconds).unwrap())
}

fn any_scopes() -> impl Strategy<Value = BTreeSet<ScopeName>> {
    prop::collection::btree_set(prop::sample::select(vec!["read", "write", "admin", "audit"]), 0..4)
        .prop_map(|names| scopes(&names.into_iter().collect::<Vec<_>>()))
}

prop_compose! {
    fn any_result(name: &'static str)(
        max_ttl in prop::option::of(any_ttl()),
        limit in prop::option::of(any_scopes()),
    ) -> PackageResult {
        PackageResult { max_ttl, scopes: limit, ..result(name) }
    }
}

proptest! {
    #[test]
    fn p_07_granted_is_never_more_than_any_limit(
        wanted_ttl in any_ttl(),
        role_max in any_ttl(),
        ceiling in any_ttl(),
        wanted in any_scopes(),
        one in any_result("p"),
        other in any_result("q"),
    ) {
        let mut role = role(&["p", "q"]);
        role.ttl.max = role_max;
        let results = [one, other];
        let asked = Asked { ttl: wanted_ttl, ceiling, ..asked(&role, &wanted) };
        match merge(asked, &results) {
            Merged::Allow { ttl, scopes, .. } => {
                let limits = results.iter().filter_map(|r| r.max_ttl).chain([wanted_ttl, role_max, ceiling]);
                prop_assert_eq!(Some(ttl), limits.min());
                prop_assert!(!scopes.is_empty() && scopes.is_subset(&wanted));
                prop_assert!(scopes.iter().all(|scope| role.scopes.contains_key(scope)));
                for limit in results.iter().filter_map(|r| r.scopes.as_ref()) {
                    prop_assert!(scopes.is_subset(limit));
                }
            }
            Merged::Deny(refusal) => prop_assert_eq!(refusal.code, Code::ScopesEmpty),
            Merged::NeedsApproval(_) => prop_assert!(false),
        }
    }
}
