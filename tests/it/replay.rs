//! A token counts once per role; an `Idempotency-Key` makes a retry safe, and nothing else.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::book::{leased, refused};
use crate::harness::site::{ALLOW_TRUSTED, DEPLOY};

async fn retry(site: &Site, token: &str, key: &str, body: &Value) -> Answer {
    site.api().credentials_with(token, body, &[("idempotency-key", key)]).await
}

fn deploy() -> Value {
    json!({ "role": "deploy" })
}

async fn status(site: &Site, answer: &Answer) -> Value {
    let lease = &answer.json["lease"];
    let path = format!("/v1/leases/{}", lease["id"].as_str().unwrap());
    site.api().get(&path, lease["secret"].as_str()).await.ok()
}

#[tokio::test]
async fn i_10_a_token_is_taken_once_per_role() {
    let site = Site::new(&[("config/roles/other.toml", DEPLOY)]).await;
    let app = site.start().await;
    let token = site.token();
    leased(&site, &app, &site.api().deploy(&token).await).await;
    let again = site.api().deploy(&token).await;
    assert_eq!(again.status, 401);
    refused(&site, &app, &again, "token_replayed").await;
    let other = site.api().credentials(&token, &json!({ "role": "other" })).await;
    leased(&site, &app, &other).await;
    assert_eq!(site.rows("leases"), 2);
    app.stop().await;
}

#[tokio::test]
async fn i_10_both_endpoints_share_what_was_used() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    site.api().deploy(&token).await.ok();
    let again = site.api().exchange(&token, &[("audience", "deploy")]).await;
    assert_eq!((again.status, &again.json["error"]), (400, &json!("invalid_request")));
    refused(&site, &app, &again, "token_replayed").await;
    app.stop().await;
}

#[tokio::test]
async fn i_10_a_restart_does_not_forget_what_was_used() {
    let site = Site::new(&[]).await;
    let token = site.token();
    let app = site.start().await;
    site.api().deploy(&token).await.ok();
    app.stop().await;
    let app = site.start().await;
    refused(&site, &app, &site.api().deploy(&token).await, "token_replayed").await;
    app.stop().await;
}

#[tokio::test]
async fn i_10_of_many_at_once_exactly_one_wins() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let asks: Vec<_> = (0..12)
        .map(|_| {
            let (api, token) = (site.api(), token.clone());
            tokio::spawn(async move { api.deploy(&token).await })
        })
        .collect();
    let mut won = 0;
    for ask in asks {
        let answer = ask.await.unwrap();
        if answer.status == 200 {
            won += 1;
        } else {
            assert_eq!(answer.code(), "token_replayed", "{}", answer.text);
        }
    }
    assert_eq!((won, site.rows("leases"), site.rows("authorisations")), (1, 1, 0));
    app.stop().await;
}

#[tokio::test]
async fn a_refused_request_does_not_use_the_token_up() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let body = json!({ "role": "deploy", "scopes": ["root"] });
    refused(&site, &app, &site.api().credentials(&token, &body).await, "scope_unknown").await;
    leased(&site, &app, &site.api().deploy(&token).await).await;
    app.stop().await;
}

#[tokio::test]
async fn replay_off_takes_a_token_again() {
    let site = Site::new(&[]).await;
    site.write("config/issuers/ci.toml", &site.issuer_file("replay = \"off\""));
    let app = site.start().await;
    let token = site.token();
    for _ in 0..2 {
        leased(&site, &app, &site.api().deploy(&token).await).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_retry_with_the_same_key_takes_the_first_ones_place_and_ends_it() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let first = retry(&site, &token, "k-1", &deploy()).await;
    leased(&site, &app, &first).await;
    site.clock.set(site.now() + Duration::from_secs(59));
    let second = retry(&site, &token, "k-1", &deploy()).await;
    leased(&site, &app, &second).await;
    assert_ne!(first.json["lease"]["id"], second.json["lease"]["id"]);
    assert_ne!(first.json["credential"]["token"], second.json["credential"]["token"]);
    // Nothing can end a signed token early, and nobody says that it was.
    assert_eq!(status(&site, &first).await["last_known"], "alive");
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL AND end_how = 'dies_at_expiry'"), 1);
    assert_eq!(site.rows("audit WHERE kind = 'superseded'"), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_retry_may_come_with_a_fresh_token() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for _ in 0..2 {
        leased(&site, &app, &retry(&site, &site.token(), "k-1", &deploy()).await).await;
    }
    assert_eq!(site.rows("audit WHERE kind = 'superseded'"), 1);
    app.stop().await;
}

#[tokio::test]
async fn i_10_after_a_minute_the_key_excuses_no_replay() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    leased(&site, &app, &retry(&site, &token, "k-1", &deploy()).await).await;
    site.clock.set(site.now() + Duration::from_secs(61));
    refused(&site, &app, &retry(&site, &token, "k-1", &deploy()).await, "token_replayed").await;
    app.stop().await;
}

#[tokio::test]
async fn i_10_another_key_excuses_no_replay() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    leased(&site, &app, &retry(&site, &token, "k-1", &deploy()).await).await;
    refused(&site, &app, &retry(&site, &token, "k-2", &deploy()).await, "token_replayed").await;
    app.stop().await;
}

#[tokio::test]
async fn one_key_for_two_requests_is_a_conflict() {
    let site = Site::new(&[("config/roles/other.toml", DEPLOY)]).await;
    let app = site.start().await;
    leased(&site, &app, &retry(&site, &site.token(), "k-1", &deploy()).await).await;
    for body in [
        json!({ "role": "deploy", "ttl": "1m" }),
        json!({ "role": "deploy", "scopes": ["write"] }),
        json!({ "role": "other" }),
    ] {
        let answer = retry(&site, &site.token(), "k-1", &body).await;
        assert_eq!(answer.status, 422, "{}", answer.text);
        refused(&site, &app, &answer, "idempotency_conflict").await;
    }
    assert_eq!(site.rows("leases"), 1);
    app.stop().await;
}

#[tokio::test]
async fn two_principals_may_use_the_same_key() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let other = site.token_with(&json!({ "repository_id": "70107787" }));
    for token in [site.token(), other] {
        leased(&site, &app, &retry(&site, &token, "k-1", &deploy()).await).await;
    }
    assert_eq!(site.rows("audit WHERE kind = 'superseded'"), 0);
    app.stop().await;
}

#[tokio::test]
async fn of_many_retries_at_once_one_lease_is_the_last_word() {
    let site = Site::new(&[("policies/ci/test.rego", ALLOW_TRUSTED)]).await;
    let app = site.start().await;
    let token = site.token();
    let asks: Vec<_> = (0..8)
        .map(|_| {
            let (api, token) = (site.api(), token.clone());
            tokio::spawn(async move {
                api.credentials_with(&token, &deploy(), &[("idempotency-key", "k-1")]).await
            })
        })
        .collect();
    for ask in asks {
        let answer = ask.await.unwrap();
        assert!(answer.status == 200 || answer.code() == "superseded", "{}", answer.text);
    }
    // Each attempt but the last was told to end, or never got a lease.
    assert_eq!(site.rows("leases WHERE end_asked_at IS NULL"), 1);
    assert_eq!(site.rows("authorisations WHERE state = 'open'"), 0);
    app.stop().await;
}

#[tokio::test]
async fn a_key_that_is_none_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let long = "k".repeat(129);
    for key in ["", "two words", long.as_str()] {
        let answer = retry(&site, &site.token(), key, &deploy()).await;
        crate::harness::book::counted(&site, &app, &answer, "request_malformed").await;
    }
    app.stop().await;
}
