//! The main job: a token goes in, a recorded credential comes out, and nothing that was not granted.

use serde_json::json;

use crate::harness::Site;

#[tokio::test]
async fn a_trusted_job_gets_what_it_asked_for() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let body = json!({ "role": "deploy", "scopes": ["read"], "ttl": "10m" });
    let answer = site.api().credentials(&site.token(), &body).await.ok();
    assert_eq!(answer["scopes"], json!(["read"]));
    assert_eq!(answer["ttl"], "10m");
    assert_eq!(answer["credential"]["kind"], "jwt");
    assert_eq!(answer["lease"]["dies_at"], "2026-03-02T10:10:00Z");
    app.stop().await;
}

#[tokio::test]
async fn a_lifetime_beyond_the_roles_is_narrowed_and_said_so() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().credentials(&site.token(), &json!({ "role": "deploy", "ttl": "5h" })).await.ok();
    assert_eq!(answer["ttl"], "1h");
    assert!(answer["narrowed"].is_object(), "{answer}");
    app.stop().await;
}

#[tokio::test]
async fn rfc_8693_gives_the_same_credential() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let more = [("audience", "deploy"), ("scope", "read write"), ("ttl", "5m")];
    let answer = site.api().exchange(&site.token(), &more).await.ok();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 300);
    assert_eq!(answer["scope"], "read write");
    app.stop().await;
}

#[tokio::test]
async fn a_denial_says_why_and_is_recorded() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "event_name": "pull_request" }));
    let denied = site.api().deploy(&token).await;
    assert_eq!((denied.status, denied.code()), (403, "not_allowed"));
    let decision = denied.json["decision"].as_str().unwrap().parse().unwrap();
    let record = app.broker().ledger().decision(decision).await.unwrap().unwrap();
    assert_eq!(record.result, "not_allowed");
    assert_eq!(record.input.unwrap()["identity"]["trust"], "untrusted");
    app.stop().await;
}
