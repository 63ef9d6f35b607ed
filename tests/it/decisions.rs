//! One's own decision can be read again, by the same principal and nobody else.

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::book::decision_of;

async fn read(site: &Site, id: &str, token: &str) -> Answer {
    site.api().get(&format!("/v1/decisions/{id}"), Some(token)).await
}

#[tokio::test]
async fn each_outcome_reads_back_as_it_was_told() {
    let policy = "package ci.test\n\nallow := true\n\ndeny contains {\"id\": \"T-01\", \"message\": \"not today\", \
                  \"fix\": \"tomorrow\"} if input.identity.workflow == \"denied\"\n";
    let site = Site::new(&[("policies/ci/test.rego", policy)]).await;
    let app = site.start().await;
    let later = site.token();

    let granted = site.api().deploy(&site.token()).await;
    let told = read(&site, &decision_of(&granted).to_string(), &later).await.ok();
    assert_eq!((&told["outcome"], &told["ttl"]), (&json!("allowed"), &json!("15m")));
    assert_eq!(told["scopes"], json!(["read", "write"]));
    assert!(told["dies_by"].as_str().unwrap() >= granted.json["lease"]["dies_at"].as_str().unwrap());

    let body = json!({ "role": "deploy", "dry_run": true });
    let dry = site.api().credentials(&site.token(), &body).await;
    let told = read(&site, &decision_of(&dry).to_string(), &later).await.ok();
    assert_eq!((&told["outcome"], told.get("dies_by")), (&json!("would_allow"), None));

    let denied = site.api().deploy(&site.token_with(&json!({ "workflow": "denied" }))).await;
    let told = read(&site, &decision_of(&denied).to_string(), &later).await.ok();
    assert_eq!((&told["outcome"], &told["code"]), (&json!("refused"), &json!("policy_denied")));
    assert_eq!(told["reasons"], json!([{ "message": "not today", "fix": "tomorrow" }]));

    let early = site.api().credentials(&site.token(), &json!({ "role": "absent" })).await;
    let told = read(&site, &decision_of(&early).to_string(), &later).await.ok();
    assert_eq!((&told["code"], &told["role"]), (&json!("role_unknown"), &json!("absent")));
    app.stop().await;
}

#[tokio::test]
async fn c_07_somebody_elses_decision_is_answered_like_one_that_is_not_there() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let id = decision_of(&site.api().deploy(&site.token()).await).to_string();
    let neighbour = site.token_with(&json!({ "repository_id": "70107787" }));
    let mut told = Vec::new();
    for (id, token) in [
        (id.as_str(), neighbour.as_str()),
        ("019cadfd-8900-7da0-b03f-0590c2ac6c55", site.token().as_str()),
        ("no-id", site.token().as_str()),
    ] {
        let answer = read(&site, id, token).await;
        assert_eq!((answer.status, answer.code()), (404, "decision_unknown"), "{}", answer.text);
        told.push(answer.json["title"].clone());
    }
    told.dedup();
    assert_eq!(told.len(), 1);
    app.stop().await;
}

#[tokio::test]
async fn p_08_the_record_itself_is_not_for_the_caller() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let denied = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    let told = read(&site, &decision_of(&denied).to_string(), &site.token()).await;
    let record = app.broker().ledger().decision(decision_of(&denied)).await.unwrap().unwrap();
    let detail = record.outcome["detail"].as_str().unwrap();
    assert!(!told.text.contains(detail) && !told.text.contains("ci.test"), "{}", told.text);
    app.stop().await;
}

#[tokio::test]
async fn reading_needs_a_good_token_and_does_not_use_it_up() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let id = decision_of(&site.api().deploy(&site.token()).await).to_string();
    let token = site.token();
    for _ in 0..2 {
        read(&site, &id, &token).await.ok();
    }
    site.api().deploy(&token).await.ok();
    let answer = site.api().get(&format!("/v1/decisions/{id}"), None).await;
    assert_eq!((answer.status, answer.code()), (401, "token_missing"));
    let forged = site.issuer.forge(&site.issuer.github(&site.url, site.now().as_second()));
    let answer = read(&site, &id, &forged).await;
    assert_eq!((answer.status, answer.code()), (401, "token_signature_invalid"));
    assert_eq!(answer.json.get("reasons"), None::<&Value>);
    app.stop().await;
}
