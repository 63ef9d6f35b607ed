use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::routing::any;
use serde_json::Value;
use tower::ServiceExt;

use super::*;
use crate::domain::Reason;

fn denial() -> Denied {
    let mut refusal =
        Refusal::new(Code::PolicyDenied, "branch is not \"protected\"").with_detail("data.ci.deploy.deny[x]");
    refusal.reasons.push(Reason {
        package: "ci.deploy".parse().unwrap(),
        id: Some("DP-03".into()),
        message: "branch is not \"protected\"".into(),
        fix: Some("run this job from `main`".into()),
    });
    Denied { decision: DecisionId::from_bytes([1; 16]), refusal }
}

async fn answer(path: &'static str, failure: Failure) -> (StatusCode, HeaderMap, String) {
    let router: Router = Router::new().route(path, any(move || async move { failure }));
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = router.oneshot(request).await.unwrap();
    let response = render(response, Surface::of(path), &RequestId::named("the-request"));
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 64 * 1024).await.unwrap();
    (parts.status, parts.headers, String::from_utf8(body.to_vec()).unwrap())
}

fn pretty(json: &str) -> String {
    serde_json::to_string_pretty(&serde_json::from_str::<Value>(json).unwrap()).unwrap()
}

#[tokio::test]
async fn a_denial_is_problem_details_under_v1() {
    let (status, headers, body) = answer("/v1/x", Failure::denied(denial(), DenialDetail::Full)).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    insta::assert_snapshot!(pretty(&body));
}

#[tokio::test]
async fn a_denial_is_an_oauth_error_at_the_token_endpoint() {
    let (status, headers, body) = answer("/token", Failure::denied(denial(), DenialDetail::Reasons)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert_eq!(headers[CONTENT_TYPE], "application/json");
    insta::assert_snapshot!(pretty(&body));
}

#[tokio::test]
async fn p_08_the_caller_sees_as_much_as_configured() {
    for path in ["/v1/x", "/token"] {
        let (_, _, none) = answer(path, Failure::denied(denial(), DenialDetail::None)).await;
        assert!(none.contains("policy_denied") && none.contains("01010101-0101"), "{none}");
        assert!(!none.contains("protected") && !none.contains("main"), "{none}");
        let (_, _, reasons) = answer(path, Failure::denied(denial(), DenialDetail::Reasons)).await;
        assert!(reasons.contains("run this job from"), "{reasons}");
        assert!(!reasons.contains("ci.deploy") && !reasons.contains("DP-03"), "{reasons}");
        let (_, _, full) = answer(path, Failure::denied(denial(), DenialDetail::Full)).await;
        assert!(full.contains("ci.deploy") && full.contains("DP-03"), "{full}");
    }
}

#[tokio::test]
async fn p_08_the_records_detail_never_reaches_the_caller() {
    for path in ["/v1/x", "/token"] {
        for shown in [DenialDetail::None, DenialDetail::Reasons, DenialDetail::Full] {
            let (_, _, body) = answer(path, Failure::denied(denial(), shown)).await;
            assert!(!body.contains("data.ci.deploy"), "{body}");
        }
    }
}

#[tokio::test]
async fn every_code_says_what_to_do_on_both_surfaces() {
    for &code in Code::ALL {
        for path in ["/v1/x", "/token"] {
            let failure = Failure::request(Refusal::new(code, "what happened"));
            let (status, headers, body) = answer(path, failure).await;
            let body: Value = serde_json::from_str(&body).unwrap();
            assert_eq!(body["code"], code.as_str());
            assert!(body["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{body}");
            assert!(!body["next"].as_str().unwrap().contains("DECISION"), "{body}");
            let wait = [429, 503].contains(&status.as_u16());
            assert_eq!(headers.contains_key(RETRY_AFTER), wait, "{code}");
            assert_eq!(headers.contains_key(WWW_AUTHENTICATE), status == 401, "{code}");
        }
    }
}

#[tokio::test]
async fn s_07_a_limited_caller_is_told_when_to_come_back() {
    let refusal = Refusal::new(Code::RateLimited, "too often").with_retry_after(17);
    let (status, headers, body) = answer("/v1/x", Failure::request(refusal.clone())).await;
    assert_eq!((status, &headers[RETRY_AFTER]), (StatusCode::TOO_MANY_REQUESTS, &"17".parse().unwrap()));
    assert!(body.contains(r#""retry_after":17"#), "{body}");
    let (status, headers, _) = answer("/token", Failure::request(refusal)).await;
    assert_eq!((status, &headers[RETRY_AFTER]), (StatusCode::TOO_MANY_REQUESTS, &"17".parse().unwrap()));
}

#[tokio::test]
async fn a_request_without_token_gets_a_challenge_without_error() {
    let missing = Failure::request(Refusal::new(Code::TokenMissing, "no token"));
    assert_eq!(answer("/v1/x", missing).await.1[WWW_AUTHENTICATE], r#"Bearer realm="tollgate""#);
    let expired = Failure::request(Refusal::new(Code::TokenExpired, "expired"));
    let challenge = answer("/v1/x", expired).await.1;
    assert_eq!(challenge[WWW_AUTHENTICATE], r#"Bearer realm="tollgate", error="invalid_token""#);
}

#[test]
fn error_description_keeps_to_its_characters() {
    assert_eq!(plain("a \"b\" \\ é\n"), "a 'b' / ??");
}
