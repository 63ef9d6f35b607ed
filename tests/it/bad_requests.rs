//! Requests that cannot be read: a stable code each, counted, and nothing decided or minted.

use http::Method;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::book::{counted, leased, refused};
use crate::harness::site::DEPLOY;

/// `POST /v1/credentials` with a good token and any body.
async fn raw(site: &Site, content_type: Option<&str>, body: &str) -> Answer {
    let bearer = format!("Bearer {}", site.token());
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(content_type.map(|kind| ("content-type", kind)));
    site.api().send(Method::POST, "/v1/credentials", &headers, body).await
}

async fn json_text(site: &Site, body: &str) -> Answer {
    raw(site, Some("application/json"), body).await
}

#[tokio::test]
async fn only_the_documented_content_type_is_read() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let body = json!({ "role": "deploy" }).to_string();
    let form = "application/x-www-form-urlencoded";
    for kind in [None, Some("text/plain"), Some(form), Some("application/json; charset=utf-16"), Some("*/*")]
    {
        let answer = raw(&site, kind, &body).await;
        assert_eq!(answer.status, 415, "{kind:?}");
        counted(&site, &app, &answer, "content_type_unsupported").await;
    }
    let answer = site.api().send(Method::POST, "/token", &[("content-type", "application/json")], "{}").await;
    assert_eq!(answer.json["error"], "invalid_request");
    counted(&site, &app, &answer, "content_type_unsupported").await;
    leased(&site, &app, &raw(&site, Some("application/json; charset=utf-8"), &body).await).await;
    app.stop().await;
}

#[tokio::test]
async fn i_08_a_key_twice_is_refused_at_any_depth() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for body in [
        r#"{"role":"deploy","role":"other"}"#,
        r#"{"role":"deploy","r\u006fle":"other"}"#,
        r#"{"role":"deploy","declared":{"a":1,"a":2}}"#,
    ] {
        let answer = json_text(&site, body).await;
        assert_eq!(answer.status, 400, "{body}");
        counted(&site, &app, &answer, "duplicate_parameter").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_says_what_to_write() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let deep = format!(r#"{{"role":{}1{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let wide = format!(r#"{{"role":"deploy","scopes":[{}]}}"#, vec!["\"read\""; 2000].join(","));
    for (body, hint) in [
        ("", "not JSON"),
        ("null", "not an object"),
        ("[]", "not an object"),
        ("{\"role\":\"deploy\"} {}", "not JSON"),
        ("{}", "name the role"),
        (r#"{"rloe":"deploy"}"#, "did you mean `role`?"),
        (r#"{"role":"deploy","identity":{"trust":"trusted"}}"#, "unknown field"),
        (r#"{"role":["deploy"]}"#, "expected text"),
        (r#"{"role":"deploy","scopes":"read"}"#, "a list of texts"),
        (r#"{"role":"deploy","scopes":[]}"#, "at least one scope"),
        (r#"{"role":"deploy","dry_run":"yes"}"#, "true or false"),
        (r#"{"role":"deploy","declared":{"a":{}}}"#, "text, a whole number or a boolean"),
        (r#"{"role":"deploy","declared":{"a":1.5}}"#, "text, a whole number or a boolean"),
        (deep.as_str(), "nested deeper"),
        (wide.as_str(), "more than"),
    ] {
        let answer = json_text(&site, body).await;
        assert_eq!(answer.status, 400, "{body:.60}");
        assert!(answer.text.contains(hint), "{body:.60}: {}", answer.text);
        counted(&site, &app, &answer, "request_malformed").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_lifetime_that_is_none_is_refused_and_not_corrected() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let texts =
        ["0s", "0h", "-5m", "13h", "99999999999999999999h", "1.5h", "30d", "30", "", "5M", "1h30m", " 5m"];
    let numbers = [json!(30), json!(0), json!(-1), json!(1.5), json!(null), json!(["5m"]), json!(true)];
    for ttl in texts.map(Value::from).into_iter().chain(numbers) {
        let answer = site.api().credentials(&site.token(), &json!({ "role": "deploy", "ttl": ttl })).await;
        assert_eq!(answer.status, 400, "{ttl}");
        counted(&site, &app, &answer, "ttl_invalid").await;
    }
    for ttl in texts.iter().filter(|text| !text.is_empty()) {
        let answer = site.api().exchange(&site.token(), &[("audience", "deploy"), ("ttl", ttl)]).await;
        counted(&site, &app, &answer, "ttl_invalid").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn names_outside_their_grammar_are_refused_before_anything_is_looked_up() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for body in [
        json!({ "role": "../deploy" }),
        json!({ "role": "Deploy" }),
        json!({ "role": "" }),
        json!({ "role": "a".repeat(500) }),
        json!({ "role": "arn:aws:iam::1:role/Admin" }),
        json!({ "role": "deploy", "scopes": ["*"] }),
        json!({ "role": "deploy", "declared": { "input.trust": "trusted" } }),
    ] {
        let answer = site.api().credentials(&site.token(), &body).await;
        assert_eq!(answer.status, 400, "{body}");
        counted(&site, &app, &answer, "name_invalid").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn unknown_roles_scopes_and_keys_are_recorded_under_the_caller() {
    let role = format!("{DEPLOY}\n[declared.ticket]\ntype = \"text\"\nmax_bytes = 8\n");
    let site = Site::new(&[("config/roles/deploy.toml", role.as_str())]).await;
    let app = site.start().await;
    for (body, status, code) in [
        (json!({ "role": "absent" }), 404, "role_unknown"),
        (json!({ "role": "deploy", "scopes": ["root"] }), 400, "scope_unknown"),
        (json!({ "role": "deploy", "declared": { "purpose": "x" } }), 400, "declared_key_refused"),
        (json!({ "role": "deploy", "declared": { "ticket": 7 } }), 400, "declared_key_refused"),
        (json!({ "role": "deploy", "declared": { "ticket": "far too long" } }), 400, "declared_key_refused"),
    ] {
        let answer = site.api().credentials(&site.token(), &body).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let record = refused(&site, &app, &answer, code).await;
        assert!(record.principal.ends_with(":repository:70107786"), "{}", record.principal);
    }
    app.stop().await;
}

#[tokio::test]
async fn p_06_nobody_declares_what_is_verified() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for key in ["branch", "trust", "environment", "commit_signed", "timestamp", "requested_ttl"] {
        let body = json!({ "role": "deploy", "declared": { key: "main" } });
        let answer = site.api().credentials(&site.token(), &body).await;
        refused(&site, &app, &answer, "declared_key_refused").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn s_07_a_body_of_a_megabyte_is_refused_by_its_size() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let body = format!(r#"{{"role":"deploy","declared":{{"a":"{}"}}}}"#, "x".repeat(1 << 20));
    let answer = json_text(&site, &body).await;
    assert_eq!(answer.status, 413);
    counted(&site, &app, &answer, "request_too_large").await;
    app.stop().await;
}

#[tokio::test]
async fn i_09_a_token_of_a_megabyte_is_refused_wherever_it_stands() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let huge = "a".repeat(1 << 20);
    let answer = site.api().exchange(&huge, &[("audience", "deploy")]).await;
    assert_eq!((answer.status, &answer.json["error"]), (400, &json!("invalid_request")));
    counted(&site, &app, &answer, "request_too_large").await;
    // A head of that size never becomes a request, and is answered and counted all the same.
    let answer = site.api().deploy(&huge).await;
    assert_eq!(answer.status, 431);
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    counted(&site, &app, &answer, "headers_too_large").await;
    // One that fits is read, and refused for its token.
    let answer = site.api().deploy(&huge[..40 * 1024]).await;
    assert_eq!(answer.status, 401);
    counted(&site, &app, &answer, "token_too_large").await;
    assert_eq!((site.rows("decisions"), site.rows("leases")), (0, 0));
    app.stop().await;
}

#[tokio::test]
async fn i_09_a_token_just_above_the_cap_is_refused_before_it_is_decoded() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let large = format!("{}.{}.{}", "a".repeat(6000), "b".repeat(6000), "c".repeat(6000));
    let answer = site.api().deploy(&large).await;
    assert_eq!(answer.status, 401);
    counted(&site, &app, &answer, "token_too_large").await;
    let answer = site.api().exchange(&large, &[("audience", "deploy")]).await;
    counted(&site, &app, &answer, "token_too_large").await;
    app.stop().await;
}

#[tokio::test]
async fn i_17_only_tokens_are_proof_of_who_asks() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let body = json!({ "role": "deploy" }).to_string();
    let signed = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260302/us-east-1/sts/aws4_request, \
                  SignedHeaders=host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    let none = [signed, "Basic cm9iaW46aHVudGVyMg==", "Negotiate YII"].map(|proof| (proof, "token_missing"));
    // A scheme that is known, without the proof that it stands for.
    for (proof, code) in none.into_iter().chain([("DPoP a.b.c", "proof_missing")]) {
        let headers = [("authorization", proof), ("content-type", "application/json")];
        let answer = site.api().send(Method::POST, "/v1/credentials", &headers, &body).await;
        assert_eq!((answer.status, answer.code()), (401, code), "{proof}");
        counted(&site, &app, &answer, code).await;
    }
    // A request that somebody signed for STS, handed on as the body or the token, is no token either.
    let presigned = "https://sts.amazonaws.com/?Action=GetCallerIdentity&X-Amz-Signature=5d67";
    let answer = site.api().exchange(presigned, &[("audience", "deploy")]).await;
    counted(&site, &app, &answer, "token_malformed").await;
    app.stop().await;
}
