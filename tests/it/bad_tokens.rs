//! Tokens that prove nothing: each is refused with its own code, counted, and nothing is decided or minted.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::book::{counted, leased};

fn part(value: &Value) -> String {
    URL_SAFE_NO_PAD.encode(value.to_string())
}

/// The claims of a good token.
fn claims(site: &Site) -> Value {
    site.issuer.github(&site.url, site.now().as_second())
}

/// Refused by both endpoints and by whoami, with `code`.
async fn assert_refused(site: &Site, app: &tollgate::app::App, token: &str, status: u16, code: &str) {
    let answer = site.api().deploy(token).await;
    assert_eq!(answer.status, status, "{code}: {}", answer.text);
    counted(site, app, &answer, code).await;
    let answer = site.api().exchange(token, &[("audience", "deploy")]).await;
    let error = if status == 503 { "temporarily_unavailable" } else { "invalid_request" };
    assert_eq!(answer.json["error"], error, "{}", answer.text);
    counted(site, app, &answer, code).await;
    let answer = site.api().get("/v1/whoami", Some(token)).await;
    assert_eq!((answer.status, answer.code()), (status, code), "{}", answer.text);
}

#[tokio::test]
async fn a_token_signed_by_another_key_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let forged = site.issuer.forge(&claims(&site));
    assert_refused(&site, &app, &forged, 401, "token_signature_invalid").await;
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_was_changed_after_it_was_signed_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token_with(&json!({ "event_name": "pull_request" }));
    let parts: Vec<_> = token.split('.').collect();
    let changed = format!("{}.{}.{}", parts[0], part(&claims(&site)), parts[2]);
    assert_refused(&site, &app, &changed, 401, "token_signature_invalid").await;
    app.stop().await;
}

#[tokio::test]
async fn i_03_the_token_does_not_choose_its_algorithm() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let body = part(&claims(&site));
    for algorithm in ["none", "None", "HS256", "HS512", "RS256", "ES384", "EdDSA", ""] {
        let header = part(&json!({ "alg": algorithm, "typ": "JWT", "kid": "k1" }));
        let signature = URL_SAFE_NO_PAD.encode([7; 64]);
        let token = format!("{header}.{body}.{signature}");
        assert_refused(&site, &app, &token, 401, "token_algorithm_refused").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn i_03_a_token_without_a_signature_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let bare = token.rsplit_once('.').unwrap().0;
    for text in [bare.to_owned(), format!("{token}.more"), "a.b.c".into(), "abc".into()] {
        assert_refused(&site, &app, &text, 401, "token_malformed").await;
    }
    assert_refused(&site, &app, &format!("{bare}."), 401, "token_signature_invalid").await;
    app.stop().await;
}

#[tokio::test]
async fn i_04_header_members_that_bring_their_own_key_or_rule_change_nothing() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let rest = token.split_once('.').unwrap().1;
    let critical = json!({ "alg": "ES256", "kid": "k1", "crit": ["exp"], "exp": 1 });
    assert_refused(&site, &app, &format!("{}.{rest}", part(&critical)), 401, "token_header_refused").await;
    let asked = site.issuer.asked();
    let own = json!({ "alg": "ES256", "kid": "k1", "jku": format!("{}/jwks", site.issuer.url()), "jwk": {} });
    let answer = site.api().deploy(&format!("{}.{rest}", part(&own))).await;
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert!(site.issuer.asked() <= asked + 2, "only the issuer's own documents are fetched");
    assert_eq!(site.rows("leases"), 0);
    app.stop().await;
}

#[tokio::test]
async fn i_06_one_exact_audience_is_accepted() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let near = [format!("{}/", site.url), site.url.to_uppercase(), format!("{}x", site.url)];
    let others = ["https://github.com/acme".to_owned(), "sts.amazonaws.com".to_owned(), String::new()];
    for audience in near.into_iter().chain(others).map(Value::from) {
        let token = site.token_with(&json!({ "aud": audience }));
        assert_refused(&site, &app, &token, 401, "token_audience_refused").await;
    }
    let token = site.token_with(&json!({ "aud": [site.url, "https://other.example"] }));
    assert_refused(&site, &app, &token, 401, "token_audience_refused").await;
    app.stop().await;
}

#[tokio::test]
async fn i_01_an_issuer_that_is_not_configured_is_not_even_asked() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let other = crate::harness::Issuer::start().await;
    let token = other.sign(&other.github(&site.url, site.now().as_second()));
    assert_refused(&site, &app, &token, 401, "issuer_unknown").await;
    assert_eq!(other.asked(), 0);
    for issuer in [format!("{}/", site.issuer.url()), format!("{}#x", site.issuer.url())] {
        let token = site.token_with(&json!({ "iss": issuer }));
        assert_refused(&site, &app, &token, 401, "issuer_unknown").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn i_07_a_claim_of_the_wrong_type_is_refused_and_not_skipped() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let now = site.now().as_second();
    for changes in [
        json!({ "exp": (now + 300).to_string() }),
        json!({ "exp": null }),
        json!({ "iat": null }),
        json!({ "nbf": "soon" }),
        json!({ "exp": 9_999_999_999_999_i64 }),
        json!({ "sub": 7 }),
        json!({ "repository_id": ["70107786"] }),
    ] {
        assert_refused(&site, &app, &site.token_with(&changes), 401, "token_claim_invalid").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn i_08_a_claim_twice_is_refused() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let parts: Vec<_> = token.split('.').collect();
    let twice = claims(&site).to_string().replacen('{', "{\"sub\":\"x\",\"sub\":\"y\",", 1);
    let text = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(twice), parts[2]);
    assert_refused(&site, &app, &text, 401, "token_duplicate_key").await;
    app.stop().await;
}

#[tokio::test]
async fn i_12_what_tollgate_hands_out_is_no_proof_of_who_asks() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().deploy(&site.token()).await;
    leased(&site, &app, &answer).await;
    let own = answer.json["credential"]["token"].as_str().unwrap();
    let refused = site.api().credentials(own, &json!({ "role": "deploy" })).await;
    assert_eq!((refused.status, refused.code()), (401, "token_kind_refused"), "{}", refused.text);
    assert_eq!((site.counted(&app, "token_kind_refused").await, site.rows("decisions")), (1, 1));
    app.stop().await;
}

#[tokio::test]
async fn i_18_a_clock_an_hour_off_refuses_instead_of_guessing() {
    for (hours, code) in [(1, "token_expired"), (-1, "token_not_yet_valid")] {
        let site = Site::new(&[]).await;
        let token = site.token();
        let shift = jiff::SignedDuration::from_hours(hours);
        site.clock.set(site.now() + shift);
        let app = site.start().await;
        assert_refused(&site, &app, &token, 401, code).await;
        app.stop().await;
    }
}

#[tokio::test]
async fn i_18_a_clock_that_comes_back_needs_no_restart() {
    let site = Site::new(&[]).await;
    let token = site.token();
    site.clock.set(site.now() + Duration::from_hours(1));
    let app = site.start().await;
    counted(&site, &app, &site.api().deploy(&token).await, "token_expired").await;
    site.clock.set(site.now() - Duration::from_hours(1));
    leased(&site, &app, &site.api().deploy(&token).await).await;
    app.stop().await;
}

#[tokio::test]
async fn i_11_a_token_older_than_its_issuers_limit_is_refused_though_it_has_not_expired() {
    let site = Site::new(&[]).await;
    site.write("config/issuers/ci.toml", &site.issuer_file("max_age = \"10m\""));
    let app = site.start().await;
    let now = site.now().as_second();
    let old = site.token_with(&json!({ "iat": now - 3600, "nbf": now - 3600, "exp": now + 3600 }));
    assert_refused(&site, &app, &old, 401, "token_too_old").await;
    app.stop().await;
}
