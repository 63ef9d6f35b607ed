//! A lease belongs to whoever holds its secret: its state, its end, and nothing about anybody else's.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;

/// Id and secret of a fresh lease.
async fn lease(site: &Site) -> (String, String) {
    let answer = site.api().deploy(&site.token()).await.ok();
    let text = |name: &str| answer["lease"][name].as_str().unwrap().to_owned();
    (text("id"), text("secret"))
}

async fn status(site: &Site, id: &str, secret: &str) -> Answer {
    site.api().get(&format!("/v1/leases/{id}"), Some(secret)).await
}

#[tokio::test]
async fn its_holder_sees_when_it_dies_and_what_can_end_it() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let (id, secret) = lease(&site).await;
    let answer = status(&site, &id, &secret).await.ok();
    assert_eq!((answer["id"].as_str(), answer["role"].as_str()), (Some(id.as_str()), Some("deploy")));
    assert_eq!(answer["issued_at"], "2026-03-02T10:00:00Z");
    assert_eq!(answer["dies_at"], "2026-03-02T10:15:00Z");
    assert_eq!((&answer["revocable"], &answer["last_known"]), (&json!("dies_at_expiry"), &json!("alive")));
    site.clock.set(site.now() + Duration::from_mins(15));
    assert_eq!(status(&site, &id, &secret).await.ok()["last_known"], "expired");
    app.stop().await;
}

#[tokio::test]
async fn c_06_ending_what_nothing_can_end_does_not_call_it_dead() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let (id, secret) = lease(&site).await;
    for _ in 0..2 {
        let answer = site.api().end(&id, &secret).await.ok();
        assert_eq!((&answer["last_known"], &answer["ended_at"]), (&json!("alive"), &Value::Null));
        assert_eq!(answer["revocable"], "dies_at_expiry");
    }
    assert_eq!(site.rows("leases WHERE end_how = 'dies_at_expiry' AND ended_at IS NULL"), 1);
    assert_eq!(
        (site.rows("audit WHERE kind = 'end_asked'"), site.rows("audit WHERE kind = 'ended'")),
        (1, 1)
    );
    app.stop().await;
}

#[tokio::test]
async fn c_07_a_wrong_secret_and_an_unknown_lease_are_one_answer() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let (id, secret) = lease(&site).await;
    let (other_id, other_secret) = lease(&site).await;
    let unknown = "00000000-0000-4000-8000-000000000000";
    let flipped =
        if secret.ends_with('A') { secret.replace('A', "E") } else { format!("{}A", &secret[..46]) };
    let mut told = Vec::new();
    for (id, secret) in [
        (id.as_str(), other_secret.as_str()),
        (other_id.as_str(), secret.as_str()),
        (unknown, secret.as_str()),
        ("no-id", secret.as_str()),
        ("..%2F..%2Fetc", secret.as_str()),
        (id.as_str(), "tgl_short"),
        (id.as_str(), flipped.as_str()),
    ] {
        for method in [Method::GET, Method::DELETE] {
            let bearer = format!("Bearer {secret}");
            let path = format!("/v1/leases/{id}");
            let answer = site.api().send(method, &path, &[("authorization", &bearer)], "").await;
            assert_eq!((answer.status, answer.code()), (404, "lease_unknown"), "{id}: {}", answer.text);
            told.push(answer.json["title"].clone());
        }
    }
    told.dedup();
    assert_eq!(told.len(), 1);
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL"), 0, "nothing was ended");
    assert_eq!(site.counted(&app, "lease_unknown").await, 14, "guesses leave a trace");
    app.stop().await;
}

#[tokio::test]
async fn c_16_neither_the_job_nor_its_credential_ends_a_lease() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let answer = site.api().deploy(&token).await.ok();
    let id = answer["lease"]["id"].as_str().unwrap();
    for proof in [token.as_str(), answer["credential"]["token"].as_str().unwrap()] {
        let refused = site.api().end(id, proof).await;
        assert_eq!((refused.status, refused.code()), (404, "lease_unknown"));
    }
    let bare = site.api().send(Method::DELETE, &format!("/v1/leases/{id}"), &[], "").await;
    assert_eq!((bare.status, bare.code()), (401, "token_missing"));
    assert!(bare.headers.contains_key("www-authenticate"));
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL"), 0);
    app.stop().await;
}

#[tokio::test]
async fn c_16_the_secret_is_told_once_and_only_its_hash_is_kept() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let (id, secret) = lease(&site).await;
    let answer = status(&site, &id, &secret).await;
    assert!(!answer.text.contains(&secret), "{}", answer.text);
    app.stop().await;
    assert!(!crate::harness::site::file_holds(&site.store(), &secret));
}

#[tokio::test]
async fn a_lease_outlives_a_restart() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let (id, secret) = lease(&site).await;
    app.stop().await;
    let app = site.start().await;
    assert_eq!(status(&site, &id, &secret).await.ok()["last_known"], "alive");
    app.stop().await;
}
