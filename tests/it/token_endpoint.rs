//! `POST /token` as RFC 8693 has it: what it takes, what it gives, and how it says no.

use http::Method;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::book::{counted, leased, refused};
use crate::harness::site::DEPLOY;

const FORM: [(&str, &str); 1] = [("content-type", "application/x-www-form-urlencoded")];
const GRANT: &str = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
const TYPE: &str = "subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Ajwt";

async fn raw(site: &Site, body: &str) -> Answer {
    site.api().send(Method::POST, "/token", &FORM, body).await
}

/// Status, OAuth error and code.
fn told(answer: &Answer) -> (u16, &str, &str) {
    assert_eq!(answer.headers["content-type"], "application/json", "{}", answer.text);
    assert_eq!(answer.headers["cache-control"], "no-store", "{}", answer.text);
    (answer.status, answer.json["error"].as_str().unwrap_or_default(), answer.code())
}

#[tokio::test]
async fn a_grant_has_every_member_that_the_rfc_requires() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().exchange(&site.token(), &[("audience", "deploy"), ("scope", "write read")]).await;
    leased(&site, &app, &answer).await;
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(answer.json["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!(answer.json["token_type"], "Bearer");
    assert_eq!(answer.json["expires_in"], 900);
    assert_eq!(answer.json["scope"], "read write");
    assert_eq!(answer.json["access_token"].as_str().unwrap().split('.').count(), 3);
    app.stop().await;
}

#[tokio::test]
async fn the_role_may_be_named_as_a_resource() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().exchange(&site.token(), &[("resource", "urn:tollgate:role:deploy")]).await;
    assert_eq!(leased(&site, &app, &answer).await.role, "deploy");
    app.stop().await;
}

#[tokio::test]
async fn an_unknown_or_forbidden_role_is_an_invalid_target() {
    let role = format!("tenant = \"other\"\n{DEPLOY}");
    let site = Site::new(&[("config/roles/hidden.toml", role.as_str())]).await;
    let app = site.start().await;
    for name in ["absent", "hidden"] {
        let answer = site.api().exchange(&site.token(), &[("audience", name)]).await;
        assert_eq!(told(&answer), (400, "invalid_target", "role_unknown"), "{}", answer.text);
        refused(&site, &app, &answer, "role_unknown").await;
    }
    let untrusted = site.token_with(&json!({ "event_name": "pull_request" }));
    let answer = site.api().exchange(&untrusted, &[("audience", "deploy")]).await;
    assert_eq!((answer.status, &answer.json["error"]), (400, &json!("invalid_target")), "{}", answer.text);
    refused(&site, &app, &answer, "not_allowed").await;
    app.stop().await;
}

#[tokio::test]
async fn a_token_that_is_not_good_is_an_invalid_request() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let forged = site.issuer.forge(&site.issuer.github(&site.url, site.now().as_second()));
    let answer = site.api().exchange(&forged, &[("audience", "deploy")]).await;
    assert_eq!(told(&answer), (400, "invalid_request", "token_signature_invalid"), "{}", answer.text);
    counted(&site, &app, &answer, "token_signature_invalid").await;
    app.stop().await;
}

#[tokio::test]
async fn i_08_no_parameter_may_come_twice_however_it_is_written() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    for twice in
        ["audience=deploy&audience=deploy", "audience=deploy&audi%65nce=other", "x=1&audience=deploy&x="]
    {
        let answer = raw(&site, &format!("{GRANT}&{TYPE}&subject_token={token}&{twice}")).await;
        assert_eq!(told(&answer), (400, "invalid_request", "duplicate_parameter"), "{twice}");
        counted(&site, &app, &answer, "duplicate_parameter").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_request_without_what_it_needs_says_what_is_missing() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    let refresh = format!("grant_type=refresh_token&{TYPE}&subject_token={token}&audience=deploy");
    for (body, error, code) in [
        (format!("{TYPE}&subject_token={token}&audience=deploy"), "invalid_request", "request_malformed"),
        (refresh, "unsupported_grant_type", "grant_type_unsupported"),
        (format!("{GRANT}&{TYPE}&audience=deploy"), "invalid_request", "token_missing"),
        (format!("{GRANT}&subject_token={token}&audience=deploy"), "invalid_request", "request_malformed"),
        (format!("{GRANT}&{TYPE}&subject_token={token}"), "invalid_request", "request_malformed"),
        (
            format!("{GRANT}&{TYPE}&subject_token={token}&audience=Deploy%21"),
            "invalid_request",
            "name_invalid",
        ),
        (
            format!("{GRANT}&{TYPE}&subject_token={token}&audience=a&resource=b"),
            "invalid_request",
            "request_malformed",
        ),
        (String::new(), "invalid_request", "request_malformed"),
    ] {
        let answer = raw(&site, &body).await;
        assert_eq!(told(&answer), (400, error, code), "{}", answer.text);
        counted(&site, &app, &answer, code).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn i_12_other_kinds_of_subject_tokens_are_not_read() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for kind in ["access_token", "refresh_token", "saml2"] {
        let kind = format!("subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3A{kind}");
        let answer =
            raw(&site, &format!("{GRANT}&{kind}&subject_token={}&audience=deploy", site.token())).await;
        assert_eq!(told(&answer), (400, "invalid_request", "request_malformed"), "{kind}");
        counted(&site, &app, &answer, "request_malformed").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn an_actor_token_without_its_type_or_a_type_without_it_is_refused_and_never_ignored() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    for actor in
        [("actor_token", token.as_str()), ("actor_token_type", "urn:ietf:params:oauth:token-type:jwt")]
    {
        let answer = site.api().exchange(&token, &[("audience", "deploy"), actor]).await;
        assert_eq!(told(&answer), (400, "invalid_request", "request_malformed"), "{}", answer.text);
        assert!(answer.text.contains("actor_token"), "{}", answer.text);
        counted(&site, &app, &answer, "request_malformed").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_kind_of_token_that_the_role_gives_may_be_asked_for() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for kind in ["access_token", "jwt"] {
        let kind = format!("urn:ietf:params:oauth:token-type:{kind}");
        let more = [("audience", "deploy"), ("requested_token_type", kind.as_str())];
        let answer = site.api().exchange(&site.token(), &more).await;
        leased(&site, &app, &answer).await;
        assert_eq!(answer.json["issued_token_type"], kind);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_kind_of_token_that_the_role_does_not_give_is_refused_before_anything_is_minted() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    for kind in ["urn:tollgate:token-type:vault-token", "urn:ietf:params:oauth:token-type:saml2"] {
        let more = [("audience", "deploy"), ("requested_token_type", kind)];
        let answer = site.api().exchange(&token, &more).await;
        assert_eq!(told(&answer), (400, "invalid_request", "request_malformed"), "{}", answer.text);
        counted(&site, &app, &answer, "request_malformed").await;
    }
    // Nor did it use the token up.
    leased(&site, &app, &site.api().exchange(&token, &[("audience", "deploy")]).await).await;
    app.stop().await;
}

#[tokio::test]
async fn s_13_the_kind_of_token_does_not_show_whether_a_hidden_role_exists() {
    let role = format!("tenant = \"other\"\n{DEPLOY}");
    let site = Site::new(&[("config/roles/hidden.toml", role.as_str())]).await;
    let app = site.start().await;
    for name in ["hidden", "absent"] {
        let kind = ("requested_token_type", "urn:tollgate:token-type:vault-token");
        let answer = site.api().exchange(&site.token(), &[("audience", name), kind]).await;
        assert_eq!(told(&answer), (400, "invalid_target", "role_unknown"), "{name}: {}", answer.text);
        refused(&site, &app, &answer, "role_unknown").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn declared_facts_and_lifetime_are_parameters_of_their_own() {
    let role = format!("{DEPLOY}\n[declared.attempt]\ntype = \"integer\"\nrequired = true\n");
    let policy = "package ci.test\n\nallow if input.context.attempt == 2\n";
    let site =
        Site::new(&[("config/roles/deploy.toml", role.as_str()), ("policies/ci/test.rego", policy)]).await;
    let app = site.start().await;
    let ask = [("audience", "deploy"), ("ttl", "2m"), ("declared.attempt", "2")];
    let answer = site.api().exchange(&site.token(), &ask).await;
    let record = leased(&site, &app, &answer).await;
    assert_eq!(answer.json["expires_in"], 120);
    assert_eq!(record.origins["context.attempt"]["origin"], json!("declared"), "{:?}", record.origins);
    let wrong = [("audience", "deploy"), ("declared.attempt", "two")];
    let answer = site.api().exchange(&site.token(), &wrong).await;
    assert_eq!(told(&answer), (400, "invalid_request", "declared_key_refused"), "{}", answer.text);
    refused(&site, &app, &answer, "declared_key_refused").await;
    app.stop().await;
}

#[tokio::test]
async fn an_error_description_has_only_the_characters_that_the_rfc_allows() {
    let policy = "package ci.test\n\nallow := true\n\ndeny contains \"sagt \\\"nein\\\" — größer\"\n";
    let site = Site::new(&[("policies/ci/test.rego", policy)]).await;
    let app = site.start().await;
    let answer = site.api().exchange(&site.token(), &[("audience", "deploy")]).await;
    let text = answer.json["error_description"].as_str().unwrap();
    let allowed = |c: char| matches!(c, ' '..='!' | '#'..='[' | ']'..='~');
    assert!(text.chars().all(allowed), "{text}");
    assert_eq!(answer.json["reasons"][0]["message"], Value::from("sagt \"nein\" — größer"));
    refused(&site, &app, &answer, "policy_denied").await;
    app.stop().await;
}
