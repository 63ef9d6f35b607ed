//! Tokens and leases that are bound to a key: of no use to whoever reads them in a log (RFC 9449).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use crate::harness::api::Answer;
use crate::harness::book::{counted, refused};
use crate::harness::parts::job::{job, run};
use crate::harness::site::DEPLOY;
use crate::harness::{JobKey, Replicas, Site};

const CREDENTIALS: &str = "/v1/credentials";

async fn deploy_with(site: &Site, token: &str, proof: &str) -> Answer {
    site.api().credentials_with(token, &json!({ "role": "deploy" }), &[("dpop", proof)]).await
}

fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn i_22_a_stolen_token_is_refused_without_its_key() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let key = JobKey::new();
    let token = key.token(&site);

    let stolen = site.api().deploy(&token).await;
    assert_eq!((stolen.status, stolen.code()), (401, "proof_missing"), "{}", stolen.text);
    let challenge = stolen.headers["www-authenticate"].to_str().unwrap();
    assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\"ES256 "), "{challenge}");
    let forged = JobKey::new().proof(&site, "POST", CREDENTIALS, &token, &json!({}));
    assert_eq!(deploy_with(&site, &token, &forged).await.code(), "proof_invalid");

    let granted = key.deploy(&site, &site.api(), &token).await.ok();
    let credential = granted["credential"]["token"].as_str().unwrap();
    assert_eq!(claims(credential)["cnf"], json!({ "jkt": key.thumbprint() }));
    let plain = site.api().deploy(&site.token()).await.ok();
    assert_eq!(claims(plain["credential"]["token"].as_str().unwrap()).get("cnf"), None);
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_missing_proof_is_counted_and_nothing_is_minted() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let stolen = site.api().deploy(&JobKey::new().token(&site)).await;
    counted(&site, &app, &stolen, "proof_missing").await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_proof_for_anything_else_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let key = JobKey::new();
    let token = key.token(&site);
    let now = site.now().as_second();
    for changes in [
        json!({ "htm": "GET" }),
        json!({ "htu": format!("{}/token", site.url) }),
        json!({ "htu": "https://other.example/v1/credentials" }),
        json!({ "iat": now - 7 * 24 * 3600 }),
        json!({ "iat": now + 3600 }),
        json!({ "ath": "AAAA" }),
    ] {
        let proof = key.proof(&site, "POST", CREDENTIALS, &token, &changes);
        let answer = deploy_with(&site, &token, &proof).await;
        assert_eq!((answer.status, answer.code()), (401, "proof_invalid"), "{changes}: {}", answer.text);
    }
    let unbound = site.token();
    let beside = key.proof(&site, "POST", CREDENTIALS, &unbound, &json!({}));
    assert_eq!(deploy_with(&site, &unbound, &beside).await.code(), "proof_invalid");
    key.deploy(&site, &site.api(), &token).await.ok();
    app.stop().await;
}

/// Tokens that may be used again, so that nothing but the proof can be the reason.
#[tokio::test]
async fn i_22_a_proof_serves_once_even_for_a_retry() {
    let site = Site::new(&[]).await;
    site.write("config/issuers/ci.toml", &site.issuer_file("replay = \"off\""));
    let app = site.start().await;
    let key = JobKey::new();
    let token = key.token(&site);
    let proof = key.proof(&site, "POST", CREDENTIALS, &token, &json!({}));
    let headers = [("dpop", proof.as_str()), ("idempotency-key", "k-1")];
    let body = json!({ "role": "deploy" });
    site.api().credentials_with(&token, &body, &headers).await.ok();
    let again = site.api().credentials_with(&token, &body, &headers).await;
    refused(&site, &app, &again, "proof_replayed").await;
    assert_eq!(site.rows("audit WHERE kind = 'superseded'"), 0, "the first one keeps its place");
    let fresh = key.proof(&site, "POST", CREDENTIALS, &token, &json!({}));
    let headers = [("dpop", fresh.as_str()), ("idempotency-key", "k-1")];
    site.api().credentials_with(&token, &body, &headers).await.ok();
    app.stop().await;
}

#[tokio::test]
async fn the_token_endpoint_takes_a_proof_and_names_its_error() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let key = JobKey::new();
    let token = key.token(&site);
    let form = url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .append_pair("subject_token", &token)
        .append_pair("subject_token_type", "urn:ietf:params:oauth:token-type:jwt")
        .append_pair("audience", "deploy")
        .finish();
    let kind = ("content-type", "application/x-www-form-urlencoded");
    let missing = site.api().send(Method::POST, "/token", &[kind], &form).await;
    assert_eq!(
        (missing.status, &missing.json["error"]),
        (400, &json!("invalid_dpop_proof")),
        "{}",
        missing.text
    );
    let proof = key.proof(&site, "POST", "/token", &token, &json!({}));
    let granted = site.api().send(Method::POST, "/token", &[kind, ("dpop", &proof)], &form).await.ok();
    assert_eq!(claims(granted["access_token"].as_str().unwrap())["cnf"]["jkt"], key.thumbprint());
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_bound_lease_is_looked_after_with_its_key_only() {
    let role = format!("heartbeat = \"1m\"\nmax_session = \"2h\"\n{DEPLOY}");
    let site = Site::new(&[("config/roles/deploy.toml", &role)]).await;
    let app = site.start().await;
    let key = JobKey::new();
    let granted = key.deploy(&site, &site.api(), &key.token(&site)).await.ok();
    let [id, secret] = ["id", "secret"].map(|part| granted["lease"][part].as_str().unwrap().to_owned());
    let path = format!("/v1/leases/{id}");
    let asks = [
        (Method::GET, path.clone()),
        (Method::POST, format!("{path}/heartbeat")),
        (Method::POST, format!("{path}/renew")),
        (Method::DELETE, path.clone()),
    ];
    let bearer = format!("Bearer {secret}");
    for (method, path) in &asks {
        let alone = site.api().send(method.clone(), path, &[("authorization", &bearer)], "").await;
        assert_eq!(alone.code(), "proof_missing", "{method} {path}: {}", alone.text);
        let other = JobKey::new().send(&site, method.clone(), path, &secret).await;
        assert_eq!(other.code(), "proof_invalid", "{method} {path}: {}", other.text);
    }
    // Whoever has no secret learns nothing of the binding.
    let wrong = format!("Bearer tgl_{}", "A".repeat(43));
    let unknown = site.api().send(Method::GET, &path, &[("authorization", &wrong)], "").await;
    assert_eq!(unknown.code(), "lease_unknown");
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL"), 0);

    site.clock.set(site.now() + Duration::from_secs(30));
    let renew = key.proof(&site, "POST", &asks[2].1, &secret, &json!({}));
    let renewing = [("authorization", bearer.as_str()), ("dpop", renew.as_str())];
    let renewed = site.api().send(Method::POST, &asks[2].1, &renewing, "").await.ok();
    assert_eq!(claims(renewed["credential"]["token"].as_str().unwrap())["cnf"]["jkt"], key.thumbprint());
    // Later, so that there is something to renew, and within the proof's minute.
    site.clock.set(site.now() + Duration::from_secs(20));
    let again = site.api().send(Method::POST, &asks[2].1, &renewing, "").await;
    assert_eq!(again.code(), "proof_replayed", "{}", again.text);
    for (method, path) in [&asks[0], &asks[1], &asks[3]] {
        key.send(&site, method.clone(), path, &secret).await.ok();
    }
    assert_eq!(site.rows("leases WHERE end_asked_at IS NOT NULL"), 1);
    app.stop().await;
}

#[tokio::test]
async fn a_role_and_an_issuer_can_require_a_bound_token_and_policy_sees_it() {
    let role = format!("possession = \"required\"\n{DEPLOY}");
    let only_bound = "package ci.test\n\nimport rego.v1\n\nallow if input.identity.bound\n";
    let site = Site::new(&[("config/roles/strict.toml", &role), ("policies/ci/test.rego", only_bound)]).await;
    let app = site.start().await;
    let key = JobKey::new();
    let strict = json!({ "role": "strict" });
    let plain = site.api().credentials(&site.token(), &strict).await;
    assert_eq!(plain.status, 403);
    refused(&site, &app, &plain, "possession_required").await;
    refused(&site, &app, &site.api().deploy(&site.token()).await, "not_allowed").await;
    let token = key.token(&site);
    let proof = key.proof(&site, "POST", CREDENTIALS, &token, &json!({}));
    site.api().credentials_with(&token, &strict, &[("dpop", &proof)]).await.ok();

    assert_eq!(key.send(&site, Method::GET, "/v1/whoami", &key.token(&site)).await.ok()["bound"], true);
    assert_eq!(site.api().get("/v1/whoami", Some(&site.token())).await.ok()["bound"], false);
    app.stop().await;

    site.write("config/issuers/ci.toml", &site.issuer_file("possession = \"required\""));
    let app = site.start().await;
    assert_eq!(site.api().deploy(&site.token()).await.code(), "possession_required");
    key.deploy(&site, &site.api(), &key.token(&site)).await.ok();
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_proof_serves_once_at_two_replicas() {
    let site = Site::of_process(&[]).await;
    site.write("config/issuers/ci.toml", &site.issuer_file("replay = \"off\""));
    let scene = Replicas::of(site, "");
    let _one = scene.start("");
    let (_two, beside) = scene.start_beside();
    let (site, key) = (&scene.site, JobKey::new());
    let token = key.token(site);
    let proof = key.proof(site, "POST", CREDENTIALS, &token, &json!({}));
    let body = json!({ "role": "deploy" });
    let granted = site.api().credentials_with(&token, &body, &[("dpop", &proof)]).await.ok();
    let again = beside.credentials_with(&token, &body, &[("dpop", &proof)]).await;
    assert_eq!(again.code(), "proof_replayed", "{}", again.text);
    let [id, secret] = ["id", "secret"].map(|part| granted["lease"][part].as_str().unwrap().to_owned());
    assert_eq!(beside.end(&id, &secret).await.code(), "proof_missing", "the other replica knows the key");
    key.send(site, Method::DELETE, &format!("/v1/leases/{id}"), &secret).await.ok();
    assert_eq!(scene.count("leases WHERE bound_to IS NOT NULL"), "1");
    scene.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn exec_refuses_a_source_that_ignores_the_key() {
    let site = Site::of_process(&[]).await;
    let app = site.start().await;
    let mut ignores = job(&site, &["exec", "deploy", "--bind", "always", "--", "true"]);
    ignores.env("JOB_TOKEN", site.token()).env("TOLLGATE_TOKEN_FROM", "env:JOB_TOKEN");
    let ignores = run(ignores).await;
    assert_eq!(ignores.code(), Some(64), "{ignores:?}");
    assert!(ignores.err.contains("names the key"), "{ignores:?}");
    app.stop().await;
}
