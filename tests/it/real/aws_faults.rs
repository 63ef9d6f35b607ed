//! STS down, slow, throttling, or answering nonsense: stable codes, and nothing is handed out.

use serde_json::json;

use crate::harness::Site;
use crate::harness::parts::recorder::{Behaviour, Recorder};

const ROLE: &str = crate::harness::parts::aws::ROLE;

async fn site(endpoint: &str) -> Site {
    let target = format!(
        "provider = \"aws\"\nregion = \"us-east-1\"\nendpoint = \"{endpoint}\"\ninsecure_loopback = true\n"
    );
    Site::new(&[("config/targets/cloud.toml", target.as_str()), ("config/roles/deploy/app.toml", ROLE)]).await
}

/// An error as STS writes it.
fn error(status: u16, code: &str) -> Behaviour {
    let body = format!(
        "<ErrorResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>no</Message></Error><RequestId>r1</RequestId></ErrorResponse>"
    );
    Behaviour::Answer { status, kind: "text/xml", body }
}

/// A session of the role with this ARN.
fn session(arn: &str, expires: &str) -> Behaviour {
    let body = format!(
        "<AssumeRoleWithWebIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
         <AssumeRoleWithWebIdentityResult><AssumedRoleUser><AssumedRoleId>A:b</AssumedRoleId><Arn>{arn}</Arn>\
         </AssumedRoleUser><Credentials><AccessKeyId>AKIA</AccessKeyId><SecretAccessKey>SENTINEL</SecretAccessKey>\
         <SessionToken>SENTINEL</SessionToken><Expiration>{expires}</Expiration></Credentials>\
         </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>"
    );
    Behaviour::Answer { status: 200, kind: "text/xml", body }
}

#[tokio::test]
async fn c_09_what_sts_answers_becomes_a_stable_code_and_no_credential() {
    let recorder = Recorder::start("http://127.0.0.1:9").await;
    let site = site(&recorder.url).await;
    let app = site.start().await;
    let html = "<html>sign in</html>".to_owned();
    let cases = [
        ("throttled", error(400, "Throttling"), 503, "provider_throttled"),
        ("busy", error(503, "ServiceUnavailable"), 503, "provider_unavailable"),
        ("refused", error(403, "AccessDenied"), 502, "provider_refused"),
        ("packed", error(400, "PackedPolicyTooLarge"), 422, "session_policy_too_large"),
        (
            "html",
            Behaviour::Answer { status: 200, kind: "text/html", body: html },
            502,
            "provider_answer_unexpected",
        ),
        (
            "empty",
            Behaviour::Answer { status: 200, kind: "text/xml", body: String::new() },
            502,
            "provider_answer_unexpected",
        ),
        (
            "huge",
            Behaviour::Answer { status: 200, kind: "text/xml", body: "x".repeat(1 << 20) },
            502,
            "provider_answer_unexpected",
        ),
        (
            "other role",
            session("arn:aws:sts::000000000000:assumed-role/admin/x", "2026-03-02T10:15:00Z"),
            502,
            "provider_answer_unexpected",
        ),
        ("silent", Behaviour::Silent, 503, "provider_unavailable"),
    ];
    for (name, behaviour, status, code) in cases {
        recorder.behave(behaviour);
        let answer = site.api().credentials(&site.token(), &json!({ "role": "deploy/app" })).await;
        assert_eq!((answer.status, answer.code()), (status, code), "{name}: {}", answer.text);
        assert!(!answer.text.contains("SENTINEL"), "{name}");
        assert!(answer.json["decision"].is_string(), "{name}");
        assert!((1..=2).contains(&recorder.take().len()), "{name}: no more than two attempts");
    }
    app.stop().await;
}

#[tokio::test]
async fn an_sts_that_is_down_is_unavailable() {
    let site = site(&format!("http://127.0.0.1:{}", crate::harness::site::free_port())).await;
    let app = site.start().await;
    let answer = site.api().credentials(&site.token(), &json!({ "role": "deploy/app" })).await;
    assert_eq!((answer.status, answer.code()), (503, "provider_unavailable"));
    app.stop().await;
}
