//! Lifetimes: the shortest of request, role, policies and target, and never a second more.

use proptest::prelude::*;
use serde_json::json;
use tollgate::domain::Ttl;

use crate::harness::Site;
use crate::harness::book::{leased, refused};
use crate::harness::property::holds;
use crate::harness::site::DEPLOY;

/// Allows, for as long as the name of its workflow says, if it says.
const LIMITED: &str = r#"package ci.test

allow := true

max_ttl := input.identity.workflow if input.identity.workflow != "deploy"
"#;

async fn site() -> Site {
    let long = DEPLOY.replace("\"1h\"", "\"12h\"");
    let files = [("policies/ci/test.rego", LIMITED), ("config/roles/long.toml", long.as_str())];
    Site::new(&files).await
}

#[tokio::test]
async fn without_a_wish_the_roles_default_holds() {
    let site = site().await;
    let app = site.start().await;
    let answer = site.api().deploy(&site.token()).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["ttl"], "15m");
    assert_eq!(answer.json["lease"]["dies_at"], "2026-03-02T10:15:00Z");
    assert!(answer.json.get("narrowed").is_none(), "{}", answer.text);
    app.stop().await;
}

#[tokio::test]
async fn a_policys_limit_shortens_and_is_told() {
    let site = site().await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "workflow": "5m" }));
    let answer = site.api().credentials(&token, &json!({ "role": "deploy", "ttl": "30m" })).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["ttl"], "5m");
    assert_eq!(answer.json["narrowed"]["ttl"], json!({ "requested": "30m", "granted": "5m" }));
    app.stop().await;
}

#[tokio::test]
async fn a_policys_limit_never_lengthens() {
    let site = site().await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "workflow": "12h" }));
    let answer = site.api().credentials(&token, &json!({ "role": "deploy", "ttl": "30m" })).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.json["ttl"], "30m");
    app.stop().await;
}

#[tokio::test]
async fn c_06_what_nothing_can_end_early_lives_an_hour_at_most() {
    let site = site().await;
    let app = site.start().await;
    let answer = site.api().credentials(&site.token(), &json!({ "role": "long", "ttl": "12h" })).await;
    leased(&site, &app, &answer).await;
    assert_eq!(
        (&answer.json["ttl"], &answer.json["lease"]["revocable"]),
        (&json!("1h"), &json!("dies_at_expiry"))
    );
    app.stop().await;
}

#[tokio::test]
async fn the_token_itself_ends_when_the_lease_does() {
    let site = site().await;
    let app = site.start().await;
    let answer = site.api().credentials(&site.token(), &json!({ "role": "deploy", "ttl": "90s" })).await;
    leased(&site, &app, &answer).await;
    let claims = claims_of(answer.json["credential"]["token"].as_str().unwrap());
    assert_eq!(claims["exp"].as_i64().unwrap(), site.now().as_second() + 90);
    app.stop().await;
}

fn claims_of(token: &str) -> serde_json::Value {
    use base64::Engine;
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_limit_that_is_no_lifetime_denies_and_is_not_taken_for_none() {
    let site = site().await;
    let app = site.start().await;
    for limit in ["0s", "-5m", "soon", "99h", "1.5h"] {
        let token = site.token_with(&json!({ "workflow": limit }));
        let answer = site.api().deploy(&token).await;
        refused(&site, &app, &answer, "policy_failed").await;
    }
    assert_eq!(site.rows("leases"), 0);
    app.stop().await;
}

/// Requested, role, policy, ceiling: what is granted is at most each of them, and one of them exactly.
#[test]
fn what_is_granted_is_the_shortest_of_all_limits_whatever_they_are() {
    let limits =
        (1u64..=43_200, proptest::option::of(1u64..=43_200), prop_oneof![Just("deploy"), Just("long")]);
    holds(site(), &limits, &async |site, (asked, policy, role)| {
        let text = |seconds| Ttl::from_secs(seconds).unwrap().to_string();
        let token = match policy {
            Some(limit) => site.token_with(&json!({ "workflow": text(limit) })),
            None => site.token(),
        };
        let body = json!({ "role": role, "ttl": text(asked) });
        let answer = site.api().credentials(&token, &body).await;
        let granted: Ttl = answer.json["ttl"].as_str().unwrap_or_default().parse().unwrap();
        let shortest = asked.min(policy.unwrap_or(u64::MAX)).min(3600);
        prop_assert_eq!(u64::from(granted.as_secs()), shortest, "{}", answer.text);
        Ok(())
    });
}
