use std::collections::BTreeMap;

use jiff::Timestamp;
use url::form_urlencoded::Serializer;

use super::answer::TokenAnswer;
use super::*;
use crate::config::{DeclaredKey, ProviderRole, VaultRole};
use crate::domain::{Credential, Window};
use crate::facts::testing::role;
use crate::http::endpoint::credentials::tests::{aws_keys, leased};

const PLAIN: [(&str, &str); 4] = [
    ("grant_type", GRANT_TYPE),
    ("subject_token", "a.b.c"),
    ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
    ("audience", "deploy"),
];

/// The plain request with `changes`: a value replaces, an empty one removes.
fn read(changes: &[(&str, &str)]) -> Result<Exchange, Refusal> {
    read_for(&role(), changes)
}

fn read_for(role: &Role, changes: &[(&str, &str)]) -> Result<Exchange, Refusal> {
    let parameters: BTreeMap<_, _> = PLAIN.iter().chain(changes).copied().collect();
    let body = Serializer::new(String::new()).extend_pairs(parameters).finish();
    let url = "https://tollgate.example".parse().unwrap();
    let parts = Request::post("/token").body(()).unwrap().into_parts().0;
    exchange(&url, &parts, Form::parse(body.as_bytes())?, None, |_| Some(role))
}

fn refusal(changes: &[(&str, &str)]) -> Refusal {
    read(changes).err().expect("refused")
}

#[test]
fn reads_every_parameter() {
    let exchange = read(&[
        ("scope", "read  write"),
        ("ttl", "30m"),
        ("requested_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("client_id", "ignored"),
    ])
    .unwrap_or_else(|refusal| panic!("{refusal:?}"));
    assert_eq!(exchange.ask.role.as_str(), "deploy");
    assert_eq!(exchange.ask.scopes.unwrap().len(), 2);
    assert_eq!(exchange.ask.ttl.unwrap().as_secs(), 1800);
    assert_eq!(exchange.wanted, Some(TokenKind::Jwt));
}

#[test]
fn the_grant_type_is_exact() {
    assert_eq!(refusal(&[("grant_type", "")]).code, Code::RequestMalformed);
    for other in ["client_credentials", "urn:ietf:params:oauth:grant-type:token-exchange ", "token-exchange"]
    {
        assert_eq!(refusal(&[("grant_type", other)]).code, Code::GrantTypeUnsupported, "{other}");
    }
}

#[test]
fn i_12_takes_identity_tokens_only() {
    assert!(read(&[("subject_token_type", TOKEN_TYPES[1])]).is_ok());
    for other in ["", "urn:ietf:params:oauth:token-type:access_token", "jwt"] {
        let refusal = refusal(&[("subject_token_type", other)]);
        assert_eq!(refusal.code, Code::RequestMalformed);
        assert!(refusal.message.contains("token-type:id_token"), "{}", refusal.message);
    }
    assert_eq!(refusal(&[("subject_token", "")]).code, Code::TokenMissing);
    assert_eq!(refusal(&[("subject_token", "a b")]).code, Code::TokenMalformed);
}

#[test]
fn i_09_request_refuses_a_large_subject_token_by_its_size() {
    let large = "a".repeat(bearer::MAX_TOKEN_BYTES + 1);
    assert_eq!(refusal(&[("subject_token", &large)]).code, Code::TokenTooLarge);
}

#[test]
fn an_actor_token_comes_with_its_type_and_never_without() {
    let (token, kind) = (("actor_token", "d.e.f"), ("actor_token_type", TOKEN_TYPES[0]));
    let actor = read(&[token, kind]).map(|exchange| exchange.evidence.actor.is_some());
    assert!(actor.is_ok_and(|shown| shown));
    assert!(read(&[]).is_ok_and(|exchange| exchange.evidence.actor.is_none()));
    for wrong in
        [&[token] as &[_], &[kind], &[token, ("actor_token_type", "jwt")], &[("actor_token", ""), kind]]
    {
        let refusal = refusal(wrong);
        assert!(refusal.message.contains("actor_token"), "{}", refusal.message);
    }
    assert_eq!(refusal(&[("actor_token", "a b"), kind]).code, Code::TokenMalformed);
}

#[test]
fn c_05_exactly_one_parameter_names_the_role() {
    let resource = read(&[("audience", ""), ("resource", "urn:tollgate:role:deploy/production")]);
    assert_eq!(resource.map(|e| e.ask.role.to_string()).ok(), Some("deploy/production".into()));
    assert_eq!(refusal(&[("audience", "")]).code, Code::RequestMalformed);
    assert_eq!(refusal(&[("resource", "urn:tollgate:role:deploy")]).code, Code::RequestMalformed);
    let foreign = [("audience", ""), ("resource", "https://vault.example/prod")];
    assert_eq!(refusal(&foreign).code, Code::RequestMalformed);
    assert_eq!(refusal(&[("audience", "arn:aws:iam::1:role/Admin")]).code, Code::NameInvalid);
}

#[test]
fn unknown_kinds_of_tokens_are_refused_with_the_known_ones() {
    let refusal = refusal(&[("requested_token_type", "urn:ietf:params:oauth:token-type:saml2")]);
    assert_eq!(refusal.code, Code::RequestMalformed);
    assert!(refusal.message.contains("urn:tollgate:token-type:vault-token"), "{}", refusal.message);
}

#[test]
fn a_role_gives_its_own_kind_of_token_only() {
    let jwt = role();
    assert!(TokenKind::AccessToken.is_given_by(&jwt) && TokenKind::Jwt.is_given_by(&jwt));
    assert!(!TokenKind::AwsCredentials.is_given_by(&jwt) && !TokenKind::VaultToken.is_given_by(&jwt));
    let provider = ProviderRole::Vault(VaultRole { login_role: "x".into(), uses: None, cidrs: Vec::new() });
    let vault = Role { provider, ..role() };
    assert!(TokenKind::VaultToken.is_given_by(&vault) && !TokenKind::Jwt.is_given_by(&vault));
}

#[test]
fn a_declared_value_takes_the_type_of_its_key() {
    let kinds = [
        ("attempt", DeclaredType::Integer),
        ("urgent", DeclaredType::Boolean),
        ("ticket", DeclaredType::Text { max_bytes: 64 }),
    ];
    let key = |kind| DeclaredKey { kind, required: false, one_of: None };
    let declared = kinds.map(|(name, kind)| (name.parse().unwrap(), key(kind))).into();
    let role = Role { declared, ..role() };
    let read = |name: &str, value: &str| {
        let exchange = read_for(&role, &[(&format!("declared.{name}"), value)]);
        exchange.map(|e| e.ask.declared.into_values().next().unwrap()).map_err(|refusal| refusal.code)
    };
    assert_eq!(read("attempt", "2"), Ok(Scalar::Integer(2)));
    assert_eq!(read("attempt", "two"), Ok(Scalar::Text("two".into())));
    assert_eq!(read("urgent", "true"), Ok(Scalar::Bool(true)));
    assert_eq!(read("ticket", "12345"), Ok(Scalar::Text("12345".into())));
    assert_eq!(read("elsewhere", "true"), Ok(Scalar::Text("true".into())));
    assert_eq!(read("Bad-Key", "x"), Err(Code::NameInvalid));
}

#[test]
fn i_09_request_bounds_declared_parameters() {
    let names: Vec<_> = (0..=MAX_DECLARED).map(|n| format!("declared.k{n}")).collect();
    let pairs: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert!(read(&pairs[1..]).is_ok());
    assert_eq!(refusal(&pairs).code, Code::RequestMalformed);
}

fn answered(credential: Credential, window: Option<Window>) -> String {
    let leased = leased(credential, window);
    let decision = leased.grant().facts().decision().to_string();
    let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
    let answer = TokenAnswer::of(&leased, None, now);
    serde_json::to_string_pretty(&answer).unwrap().replace(&decision, "DECISION")
}

#[test]
fn a_signed_token_is_a_bearer_token() {
    insta::assert_snapshot!("jwt", answered(Credential::Jwt { token: "a.b.c".to_owned().into() }, None));
}

#[test]
fn a_signed_token_is_called_as_it_was_asked_for() {
    let leased = leased(Credential::Jwt { token: "a.b.c".to_owned().into() }, None);
    let answer = TokenAnswer::of(&leased, Some(TokenKind::Jwt), Timestamp::UNIX_EPOCH);
    let answer = serde_json::to_value(&answer).unwrap();
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:jwt");
}

#[test]
fn aws_keys_are_no_bearer_token_and_end_with_their_window() {
    let window = Window {
        window_ends: "2026-01-02T03:09:05Z".parse().unwrap(),
        session_ends: "2026-01-02T03:19:05Z".parse().unwrap(),
    };
    insta::assert_snapshot!("aws", answered(aws_keys(), Some(window)));
}

#[test]
fn a_vault_token_is_no_bearer_token_and_comes_with_its_address() {
    let credential = Credential::Vault {
        address: "https://vault.example:8200".into(),
        namespace: None,
        token: "hvs.x".to_owned().into(),
    };
    insta::assert_snapshot!("vault", answered(credential, None));
}
