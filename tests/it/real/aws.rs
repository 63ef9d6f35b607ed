//! The whole path to an AWS that enforces trust, role and session policies.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::harness::Site;
use crate::harness::parts::aws::{Aws, ROLE_ARN, Signer};
use crate::harness::parts::job::{job, run, trusted};
use crate::harness::parts::recorder::{Recorded, Recorder};
use crate::harness::wait::until;

/// What a federation token claims: it is decoded here, its signature is verified by `OpenBao` elsewhere.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn policy(request: &Recorded) -> Value {
    serde_json::from_str(&request.field("Policy").unwrap()).unwrap()
}

async fn granted(site: &Site, body: &Value) -> Value {
    site.api().credentials(&site.token(), body).await.ok()
}

#[tokio::test]
async fn awscli_works_inside_the_scope_and_is_refused_by_the_server_outside() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let recorder = Recorder::start(&aws.url).await;
    let site = aws.ambient_site(&recorder.url).await;
    let app = site.start().await;
    let copy = |key: &str| {
        let from = format!("s3://bucket/{key}");
        trusted(job(&site, &["exec", "deploy/app", "--", "aws", "s3", "cp", &from, "-"]), &site)
    };
    assert_eq!(run(copy("acme/shop/x")).await.ok(), "hello");
    let outside = run(copy("acme/other/x")).await;
    assert_eq!(outside.code(), Some(1), "{outside:?}");
    assert!(outside.err.contains("403") || outside.err.contains("AccessDenied"), "{outside:?}");

    let requests = recorder.take();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0].field("ExternalId").as_deref(), Some("ext-1"));
    assert!(requests[0].headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 "));
    app.stop().await;
}

#[tokio::test]
async fn c_12_no_right_to_revoke_is_taken_and_the_lease_says_so() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let recorder = Recorder::start(&aws.url).await;
    let site = aws.ambient_site(&recorder.url).await;
    let app = site.start().await;
    let granted = granted(&site, &json!({ "role": "deploy/app" })).await;
    let lease = &granted["lease"];
    assert_eq!(lease["revocable"], "dies_at_expiry");

    let ended = site.api().end(lease["id"].as_str().unwrap(), lease["secret"].as_str().unwrap()).await.ok();
    assert_eq!((&ended["revocable"], &ended["last_known"]), (&json!("dies_at_expiry"), &json!("alive")));
    let keys = Signer::of(&granted["credential"]);
    assert_eq!(aws.s3(&keys, Method::GET, "/bucket/acme/shop/x").await.0, 200, "the session lives on");

    // To end a session early, Tollgate would have to change the role's policies: the right to that is one to grant.
    let actions: Vec<_> = recorder.take().iter().map(|request| request.field("Action").unwrap()).collect();
    assert_eq!(actions, ["AssumeRole"]);
    app.stop().await;
}

#[tokio::test]
async fn a_wrong_external_id_is_refused_by_the_server() {
    let trust = Aws::trusts_keys().to_string().replace("ext-1", "ext-2").parse().unwrap();
    let aws = Aws::start(&trust).await;
    let site = aws.ambient_site(&aws.url).await;
    let app = site.start().await;
    let refused = site.api().credentials(&site.token(), &json!({ "role": "deploy/app" })).await;
    assert_eq!((refused.status, refused.code()), (502, "provider_refused"));
    assert!(refused.json["decision"].is_string());
    app.stop().await;
}

#[tokio::test]
async fn c_13_web_identity_sends_exactly_what_was_granted_and_the_server_checks_who_asks() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let recorder = Recorder::start(&aws.url).await;
    let site = aws.federated_site(&recorder.url).await;
    let app = site.start().await;
    aws.trust(&site, "role:default:deploy/app", "sts.amazonaws.com").await;

    let answer = granted(&site, &json!({ "role": "deploy/app", "ttl": "20m" })).await;
    let decision = answer["decision"].as_str().unwrap();
    let requests = recorder.take();
    let [request] = &requests[..] else { panic!("one request, not {requests:?}") };
    web_identity(request, decision, &site);
    let keys = Signer::of(&answer["credential"]);
    let who = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")];
    let (status, body) = aws.query("sts", &keys, &who).await;
    assert!(status == 200 && body.contains(&format!("assumed-role/deploy/tg-{decision}")), "{body}");

    for (subject, audience) in [
        ("role:default:deploy/other", "sts.amazonaws.com"),
        ("role:default:deploy/app", "https://vault.example"),
    ] {
        aws.trust_only(&site, subject, audience).await;
        let refused = site.api().credentials(&site.token(), &json!({ "role": "deploy/app" })).await;
        assert_eq!((refused.status, refused.code()), (502, "provider_refused"), "{subject} {audience}");
        let decision = refused.json["decision"].as_str().unwrap().parse().unwrap();
        let record = app.broker().ledger().decision(decision).await.unwrap().unwrap();
        assert_eq!(record.role, "deploy/app");
    }
    app.stop().await;
}

/// The request of `AssumeRoleWithWebIdentity`, member by member.
fn web_identity(request: &Recorded, decision: &str, site: &Site) {
    assert!(!request.headers.contains_key("authorization"), "Tollgate holds no key to sign with");
    let expected =
        ["Action", "DurationSeconds", "Policy", "RoleArn", "RoleSessionName", "Version", "WebIdentityToken"];
    assert_eq!(request.fields(), expected);
    let field = |name| request.field(name).unwrap();
    assert_eq!(field("Action"), "AssumeRoleWithWebIdentity");
    assert_eq!(field("DurationSeconds"), "1200");
    assert_eq!(field("RoleArn"), ROLE_ARN);
    assert_eq!(field("RoleSessionName"), format!("tg-{decision}"));
    assert_eq!(
        policy(request),
        json!({ "Version": "2012-10-17", "Statement": [{ "Sid": "read", "Effect": "Allow",
            "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::bucket/acme/shop/*"] }] })
    );
    let claims = claims(&field("WebIdentityToken"));
    assert_eq!(claims["iss"], format!("{}/federation", site.url));
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("role:default:deploy/app"), &json!("sts.amazonaws.com"))
    );
    assert_eq!(claims["https://aws.amazon.com/source_identity"], format!("tg-{decision}"));
    let tags =
        json!({ "principal_tags": { "repository": ["acme/shop"] }, "transitive_tag_keys": ["repository"] });
    assert_eq!(claims["https://aws.amazon.com/tags"], tags);
    assert_eq!(claims["jti"], decision);
    let lives = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((1..=120).contains(&lives), "{lives}");
}

#[tokio::test]
async fn c_14_a_window_under_15_minutes_is_closed_by_the_server() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let recorder = Recorder::start(&aws.url).await;
    let site = aws.ambient_site(&recorder.url).await;
    let app = site.start().await;
    let chain = [
        ("Action", "AssumeRole"),
        ("Version", "2011-06-15"),
        ("RoleArn", ROLE_ARN),
        ("RoleSessionName", "chained"),
        ("ExternalId", "ext-1"),
    ];
    for (ttl, chained) in [("5m", 403), ("15m", 200)] {
        let answer = granted(&site, &json!({ "role": "deploy/app", "scopes": ["chain"], "ttl": ttl })).await;
        let keys = Signer::of(&answer["credential"]);
        assert_eq!(aws.s3(&keys, Method::GET, "/bucket/acme/shop/x").await.0, 200);
        let (status, body) = aws.query("sts", &keys, &chain).await;
        assert_eq!(status, chained, "{body}");
        let windowed = &answer["window"];
        assert_eq!(windowed.is_object(), ttl == "5m", "{answer}");
    }
    let requests = recorder.take();
    assert_eq!(requests[0].field("DurationSeconds").as_deref(), Some("900"));
    let statements = policy(&requests[0])["Statement"].clone();
    assert_eq!((&statements[1]["Effect"], &statements[1]["Action"]), (&json!("Deny"), &json!(["*"])));
    let closes: Timestamp = statements[1]["Condition"]["DateGreaterThanEquals"]["aws:CurrentTime"]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(closes.duration_since(site.now()) <= SignedDuration::from_mins(5));
    assert_eq!(policy(&requests[1])["Statement"].as_array().unwrap().len(), 1, "15 minutes need no Deny");
    app.stop().await;

    // A minute granted nearly a minute ago: the session lives on, and its window closes before our eyes.
    let mut site = aws.ambient_site(&recorder.url).await;
    site.clock = Clock::manual(Clock::system().now() - SignedDuration::from_secs(57));
    let app = site.start().await;
    let answer = granted(&site, &json!({ "role": "deploy/app", "ttl": "1m" })).await;
    let keys = Signer::of(&answer["credential"]);
    let session_ends: Timestamp = answer["window"]["session_ends"].as_str().unwrap().parse().unwrap();
    assert!(session_ends.duration_since(Clock::system().now()).unsigned_abs() > Duration::from_mins(10));
    until("the window closes", async || aws.s3(&keys, Method::GET, "/bucket/acme/shop/x").await.0 == 403)
        .await;
    app.stop().await;
}

#[tokio::test]
async fn p_09_an_aws_lease_is_renewed_while_policy_allows_and_never_past_its_session() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let recorder = Recorder::start(&aws.url).await;
    let mut site = aws.ambient_site(&recorder.url).await;
    let role = std::fs::read_to_string(site.path("config/roles/deploy/app.toml")).unwrap();
    let renewable = role.replace("max = \"1h\"", "max = \"40m\"");
    let renewable = renewable.replace("policies =", "max_session = \"40m\"\npolicies =");
    site.write("config/roles/deploy/app.toml", &renewable);
    site.clock = Clock::manual(Clock::system().now());
    let app = site.start().await;
    let first = granted(&site, &json!({ "role": "deploy/app" })).await;
    let lease = |name: &str| first["lease"][name].as_str().unwrap().to_owned();
    assert_eq!(lease("renewal"), "replaces");
    let renew = async || {
        let body = json!({ "ttl": "40m" });
        site.api().post_lease(&lease("id"), "renew", &lease("secret"), &body).await
    };
    site.clock.set(site.now() + SignedDuration::from_mins(5));
    let renewed = renew().await.ok();
    assert_eq!(renewed["lease"]["id"], lease("id"));
    let keys = Signer::of(&renewed["credential"]);
    assert_ne!(renewed["credential"]["access_key_id"], first["credential"]["access_key_id"]);
    assert_eq!(aws.s3(&keys, Method::GET, "/bucket/acme/shop/x").await.0, 200);
    assert_eq!(aws.s3(&keys, Method::GET, "/bucket/acme/other/x").await.0, 403);

    // What the server is asked for reaches to the end of the session, by its clock, and no further.
    let [_, second] = &recorder.take()[..] else { panic!("two requests") };
    let seconds: i64 = second.field("DurationSeconds").unwrap().parse().unwrap();
    let ends: Timestamp = lease("renewable_until").parse().unwrap();
    assert!((900..=2100).contains(&seconds), "{seconds}");
    assert!(site.now() + SignedDuration::from_secs(seconds) <= ends);
    let dies_at: Timestamp = renewed["lease"]["dies_at"].as_str().unwrap().parse().unwrap();
    assert!(dies_at <= ends, "{dies_at} {ends}");

    site.write("policies/ci/test.rego", "package ci.test\n\ndefault allow := false\n");
    app.reload().await.unwrap();
    site.clock.set(site.now() + SignedDuration::from_mins(5));
    let refused = renew().await;
    assert_eq!((refused.status, refused.code()), (403, "not_allowed"), "{}", refused.text);
    assert_eq!(recorder.take().len(), 0, "the server is not even asked");
    app.stop().await;
}
