use std::net::Ipv4Addr;

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{AwsKeys, Code, Credential, Handle, Minted, Revocability, Ttl, Window};
use crate::ledger::Planned;
use crate::secret::LeaseSecret;
use crate::{facts, ledger, policy};

fn asked(body: &Value) -> Result<Ask, Refusal> {
    ask(&HeaderMap::new(), body.to_string().as_bytes(), Some(Ipv4Addr::LOCALHOST.into()))
}

fn code(body: &Value) -> Code {
    asked(body).unwrap_err().code
}

#[test]
fn reads_every_member() {
    let mut headers = HeaderMap::new();
    headers.insert(IDEMPOTENCY_KEY, "6f1b".parse().unwrap());
    let body = json!({
        "role": "deploy/production", "scopes": ["read", "write"], "ttl": "30m", "dry_run": true,
        "declared": {"purpose": "deploy", "attempt": 2, "urgent": false},
    });
    let ask = ask(&headers, body.to_string().as_bytes(), None).unwrap();
    assert_eq!(ask.role.as_str(), "deploy/production");
    assert_eq!(ask.scopes.unwrap().len(), 2);
    assert_eq!(ask.ttl.unwrap().as_secs(), 1800);
    assert!(ask.dry_run);
    assert_eq!(ask.idempotency_key.unwrap().as_str(), "6f1b");
    let declared: Vec<_> = ask.declared.into_values().collect();
    assert_eq!(declared, [Scalar::Integer(2), Scalar::Text("deploy".into()), Scalar::Bool(false)]);
}

#[test]
fn a_role_alone_asks_for_its_defaults() {
    let ask = asked(&json!({"role": "deploy"})).unwrap();
    assert!(ask.scopes.is_none() && ask.ttl.is_none() && !ask.dry_run && ask.declared.is_empty());
    assert_eq!(ask.source_ip, Some(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn refuses_unknown_members_and_wrong_types() {
    assert_eq!(code(&json!({})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": "x", "target": "prod"})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": null})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": "../x"})), Code::NameInvalid);
    assert_eq!(code(&json!({"role": "x", "scopes": "read"})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": "x", "scopes": []})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": "x", "dry_run": "true"})), Code::RequestMalformed);
    assert_eq!(code(&json!({"role": "x", "declared": {"Purpose": "a"}})), Code::NameInvalid);
    for value in [json!(1.5), json!(null), json!(["a"]), json!({"a": 1}), json!(u64::MAX)] {
        assert_eq!(code(&json!({"role": "x", "declared": {"a": value}})), Code::RequestMalformed);
    }
}

#[test]
fn c_05_the_caller_cannot_name_the_target() {
    for member in ["target", "audience", "role_arn", "account"] {
        let refusal = asked(&json!({"role": "x", member: "prod"})).unwrap_err();
        assert!(refusal.message.contains(&format!("unknown field `{member}`")), "{}", refusal.message);
    }
}

#[test]
fn refuses_lifetimes_that_are_none() {
    for ttl in [json!("0s"), json!("-5m"), json!("900000h"), json!("1.5h"), json!("30d"), json!(1800)] {
        assert_eq!(code(&json!({"role": "x", "ttl": ttl})), Code::TtlInvalid, "{ttl}");
    }
}

#[test]
fn i_08_request_refuses_duplicate_members() {
    let body = br#"{"role":"a","declared":{"x":1,"x":2}}"#;
    assert_eq!(ask(&HeaderMap::new(), body, None).unwrap_err().code, Code::DuplicateParameter);
}

#[test]
fn i_09_request_bounds_declared_keys() {
    let keys = |count: usize| (0..count).map(|n| (format!("k{n}"), json!(n))).collect::<Map<_, _>>();
    assert!(asked(&json!({"role": "x", "declared": keys(MAX_DECLARED)})).is_ok());
    assert_eq!(code(&json!({"role": "x", "declared": keys(MAX_DECLARED + 1)})), Code::RequestMalformed);
}

#[test]
fn refuses_two_idempotency_keys_and_bad_ones() {
    let mut headers = HeaderMap::new();
    headers.append(IDEMPOTENCY_KEY, "a b".parse().unwrap());
    assert_eq!(idempotency_key(&headers).unwrap_err().code, Code::RequestMalformed);
    headers.insert(IDEMPOTENCY_KEY, "a".parse().unwrap());
    headers.append(IDEMPOTENCY_KEY, "a".parse().unwrap());
    assert_eq!(idempotency_key(&headers).unwrap_err().code, Code::RequestMalformed);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_or_pass_without_a_role(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(ask) = ask(&HeaderMap::new(), &bytes, None) {
            prop_assert!(!ask.role.as_str().is_empty());
        }
    }
}

/// A lease of `credential`, as if recorded.
pub(in crate::http) fn leased(credential: Credential, window: Option<Window>) -> Leased {
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let grant = policy::testing::grant(facts::testing::plain_facts("a.b.c", now), BTreeMap::new());
    let handle = Handle::Jwt { jti: "j".into() };
    let auth = ledger::testing::authorised(Planned::new(grant, handle));
    let dies_at = now + std::time::Duration::from_mins(15);
    let minted = Minted { credential, dies_at, revocability: Revocability::DiesAtExpiry, window };
    let secret: LeaseSecret = format!("tgl_{}", "A".repeat(43)).parse().unwrap();
    ledger::testing::leased(auth, minted, secret)
}

pub(in crate::http) fn aws_keys() -> Credential {
    Credential::Aws(AwsKeys {
        access_key_id: "ASIAEXAMPLE".into(),
        secret_access_key: "secret-access-key".to_owned().into(),
        session_token: "session-token".to_owned().into(),
        region: "eu-central-1".into(),
        endpoint: None,
    })
}

/// The answer, with its random decision id replaced.
fn text(leased: &Leased) -> String {
    let decision = leased.grant().facts().decision().to_string();
    serde_json::to_string_pretty(&answer(leased)).unwrap().replace(&decision, "DECISION")
}

#[test]
fn c_06_the_answer_says_when_it_dies_and_whether_it_can_be_ended() {
    insta::assert_snapshot!("jwt", text(&leased(Credential::Jwt { token: "a.b.c".to_owned().into() }, None)));
}

#[test]
fn aws_keys_come_with_their_window() {
    let window = Window {
        window_ends: "2026-01-02T03:09:05Z".parse().unwrap(),
        session_ends: "2026-01-02T03:19:05Z".parse().unwrap(),
    };
    insta::assert_snapshot!("aws", text(&leased(aws_keys(), Some(window))));
}

#[test]
fn a_vault_token_comes_with_its_address() {
    let credential = Credential::Vault {
        address: "https://vault.example:8200".into(),
        namespace: Some("ci".into()),
        token: "hvs.x".to_owned().into(),
    };
    insta::assert_snapshot!("vault", text(&leased(credential, None)));
}

#[test]
fn the_ttl_type_keeps_answers_and_requests_alike() {
    let answer: Value = serde_json::from_str(&text(&leased(aws_keys(), None))).unwrap();
    assert!(answer["ttl"].as_str().unwrap().parse::<Ttl>().is_ok());
}
