//! Scopes: what is granted is in the request, in the role and in every policy's answer, and is never empty.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::subsequence;
use serde_json::json;

use crate::harness::Site;
use crate::harness::book::{leased, refused};
use crate::harness::property::holds;
use crate::harness::site::DEPLOY;

/// Two packages that narrow to what two claims of the test's token list.
const ACTOR: &str = "package ci.test\n\nallow := true\n\nscopes contains name if {\n\tsome name in split(input.identity.claims.actor, \",\")\n\tname != \"\"\n}\n";
const RUN: &str = "package ci.second\n\nallow := true\n\nscopes contains name if {\n\tinput.identity.claims.workflow != \"deploy\"\n\tsome name in split(input.identity.claims.workflow, \",\")\n\tname != \"\"\n}\n\nscopes contains name if {\n\tinput.identity.claims.workflow == \"deploy\"\n\tsome name in input.resource.scopes\n}\n";

async fn site() -> Site {
    let role =
        DEPLOY.replace("[\"ci.test\"]", "[\"ci.test\", \"ci.second\"]") + "[scopes.admin]\n[scopes.list]\n";
    let role = role.replace("[jwt]", "default_scopes = [\"read\", \"list\"]\n[jwt]");
    let files = [
        ("policies/ci/test.rego", ACTOR),
        ("policies/ci/second.rego", RUN),
        ("config/roles/deploy.toml", role.as_str()),
    ];
    Site::new(&files).await
}

const ALL: &str = "read,write,admin,list";

#[tokio::test]
async fn without_a_wish_the_roles_defaults_hold() {
    let site = site().await;
    let app = site.start().await;
    let answer = site.api().deploy(&site.token_with(&json!({ "actor": ALL }))).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["scopes"], json!(["list", "read"]));
    app.stop().await;
}

#[tokio::test]
async fn policy_narrows_and_the_caller_is_told() {
    let site = site().await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "actor": "read,list", "workflow": "read,write" }));
    let body = json!({ "role": "deploy", "scopes": ["read", "write", "list"] });
    let answer = site.api().credentials(&token, &body).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["scopes"], json!(["read"]));
    let narrowed = json!({ "requested": ["list", "read", "write"], "granted": ["read"] });
    assert_eq!(answer.json["narrowed"]["scopes"], narrowed);
    app.stop().await;
}

#[tokio::test]
async fn p_07_a_policy_cannot_add_what_was_not_asked_for_or_is_not_the_roles() {
    let site = site().await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "actor": format!("{ALL},root") }));
    let answer = site.api().credentials(&token, &json!({ "role": "deploy", "scopes": ["read"] })).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["scopes"], json!(["read"]));
    app.stop().await;
}

#[tokio::test]
async fn a_scope_that_the_role_lacks_is_refused_and_those_it_has_are_named() {
    let site = site().await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "actor": ALL }));
    let body = json!({ "role": "deploy", "scopes": ["read", "root"] });
    let answer = site.api().credentials(&token, &body).await;
    refused(&site, &app, &answer, "scope_unknown").await;
    assert!(answer.text.contains("admin, list, read, write"), "{}", answer.text);
    app.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_calls_it_an_invalid_scope() {
    let site = site().await;
    let app = site.start().await;
    for (actor, scope, code) in [(ALL, "root", "scope_unknown"), ("write", "read", "scopes_empty")] {
        let token = site.token_with(&json!({ "actor": actor }));
        let answer = site.api().exchange(&token, &[("audience", "deploy"), ("scope", scope)]).await;
        assert_eq!((answer.status, &answer.json["error"]), (400, &json!("invalid_scope")), "{}", answer.text);
        refused(&site, &app, &answer, code).await;
    }
    app.stop().await;
}

/// Requested ∩ role ∩ each policy, exactly; and nothing at all where that is empty.
#[test]
fn what_is_granted_is_the_intersection_whatever_is_asked_and_answered() {
    let some = |least: usize| subsequence(vec!["admin", "list", "read", "write"], least..=4);
    holds(site(), &(some(1), some(0), some(0)), &async |site, (asked, one, other)| {
        let token = site.token_with(&json!({ "actor": one.join(","), "workflow": other.join(",") }));
        let answer = site.api().credentials(&token, &json!({ "role": "deploy", "scopes": asked })).await;
        let left: BTreeSet<_> =
            asked.iter().filter(|scope| one.contains(scope) && other.contains(scope)).copied().collect();
        if left.is_empty() {
            prop_assert_eq!(answer.code(), "scopes_empty", "{}", answer.text);
        } else {
            prop_assert_eq!(&answer.json["scopes"], &json!(left), "{}", answer.text);
        }
        Ok(())
    });
}
