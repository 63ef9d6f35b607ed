//! The exact calls to Vault, and what becomes of every kind of answer.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::config::TargetKind;
use crate::domain::Code;
use crate::ledger::Planned;
use crate::ledger::testing::authorised;
use crate::provider::testing::{
    Answer, Seen, Stub, answer, claims, federation, grant_of, now, traced, vault_grant, vault_role,
    vault_scope, vault_settings, vault_target,
};

fn auth_of(token: &str, accessor: &str, change: &Value) -> Answer {
    let mut auth = json!({
        "client_token": token, "accessor": accessor, "policies": ["login"], "token_policies": ["login"],
        "lease_duration": 60, "renewable": true, "orphan": true, "num_uses": 0, "token_type": "service",
    });
    for (key, value) in change.as_object().unwrap() {
        auth[key] = value.clone();
    }
    answer(200, json!({"request_id": "x", "auth": auth, "data": null, "warnings": null}).to_string())
}

fn login() -> Answer {
    auth_of("s.LOGIN-SENTINEL", "login-accessor", &json!({}))
}

fn renewed() -> Answer {
    auth_of("s.LOGIN-SENTINEL", "login-accessor", &json!({"lease_duration": 900}))
}

fn child(change: &Value) -> Answer {
    let mut auth =
        json!({"policies": ["a", "b"], "lease_duration": 900, "renewable": false, "orphan": false});
    for (key, value) in change.as_object().unwrap() {
        auth[key] = value.clone();
    }
    auth_of("s.CHILD-SENTINEL", "child-accessor", &auth)
}

fn gone() -> Answer {
    answer(204, "")
}

fn said(status: u16, text: &str) -> Answer {
    answer(status, json!({"errors": [text]}).to_string())
}

fn vault(stub: &Stub) -> Vault {
    vault_of(&vault_target(stub.url.clone()))
}

fn vault_of(target: &VaultTarget) -> Vault {
    let clock = Clock::manual(now());
    Vault::new(&"vault".parse().unwrap(), target, federation(clock.clone()), clock, None).unwrap()
}

fn grant() -> Grant {
    vault_grant(&["b", "a"])
}

/// Plans and mints against these answers.
async fn run(answers: Vec<Answer>, settings: &VaultRole) -> (Result<Minted, Refusal>, Vec<Seen>) {
    let stub = Stub::start(answers).await;
    let vault = vault(&stub);
    let grant = grant();
    let minted = match vault.plan(&grant, settings).await {
        Ok(handle) => vault.mint(&authorised(Planned::new(grant, handle)), settings).await,
        Err(refusal) => Err(refusal),
    };
    (minted, stub.seen())
}

async fn code(answers: Vec<Answer>) -> Code {
    let refusal = run(answers, &vault_settings()).await.0.unwrap_err();
    assert!(!format!("{refusal:?}").contains("SENTINEL"));
    refusal.code
}

fn paths(seen: &[Seen]) -> Vec<&str> {
    seen.iter().map(|seen| seen.path.as_str()).collect()
}

fn body(seen: &Seen) -> Value {
    serde_json::from_str(&seen.body).unwrap()
}

fn token(seen: &Seen) -> Option<&str> {
    seen.headers.get("x-vault-token").map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn plan_logs_in_and_mint_extends_the_login_and_creates_the_child() {
    let (minted, seen) = run(
        vec![login(), renewed(), child(&json!({"num_uses": 3}))],
        &VaultRole { uses: Some(3), ..vault_settings() },
    )
    .await;
    assert_eq!(paths(&seen), ["/v1/auth/jwt/login", "/v1/auth/token/renew-self", "/v1/auth/token/create"]);
    assert_eq!(token(&seen[0]), None);
    let mut form = body(&seen[0]);
    let claims = claims(&form["jwt"].take().as_str().unwrap().into()).1;
    assert_eq!(form, json!({"role": "deploy", "jwt": null}));
    assert_eq!(
        (&claims["aud"], &claims["sub"]),
        (&json!("https://vault.example"), &json!("role:default:deploy"))
    );
    assert_eq!(token(&seen[1]), Some("s.LOGIN-SENTINEL"));
    assert_eq!(body(&seen[1]), json!({"increment": "900s"}));
    assert_eq!(token(&seen[2]), Some("s.LOGIN-SENTINEL"));
    let decision = claims["jti"].as_str().unwrap();
    let expected = json!({
        "policies": ["a", "b"], "ttl": "900s", "explicit_max_ttl": "900s", "renewable": false,
        "no_default_policy": true, "num_uses": 3, "type": "service", "display_name": format!("tollgate-{decision}"),
        "meta": {"decision": decision, "role": "deploy", "tenant": "default", "principal": "github:repository:1234"},
    });
    assert_eq!(body(&seen[2]), expected);

    let minted = minted.unwrap();
    assert_eq!(minted.dies_at, now() + SignedDuration::from_secs(900));
    assert_eq!(minted.revocability, Revocability::Now);
    assert!(!format!("{minted:?}").contains("SENTINEL"));
    let Credential::Vault { address, namespace, token } = minted.credential else {
        panic!("not a Vault token")
    };
    assert_eq!(token.expose_secret(), "s.CHILD-SENTINEL");
    assert_eq!(namespace, None);
    assert!(address.starts_with("http://127.0.0.1:") && !address.ends_with('/'));
}

#[tokio::test]
async fn namespace_mount_and_base_path_reach_every_call() {
    let stub = Stub::start([login(), renewed(), child(&json!({}))]).await;
    let mut target = vault_target(stub.url.join("/behind/proxy/").unwrap());
    (target.namespace, target.mount) = (Some("team/a".into()), "ci/jwt/".into());
    let (vault, grant) = (vault_of(&target), grant());
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    vault.mint(&authorised(Planned::new(grant, handle)), &vault_settings()).await.unwrap();
    let seen = stub.seen();
    assert_eq!(seen[0].path, "/behind/proxy/v1/auth/ci/jwt/login");
    assert_eq!(seen[2].path, "/behind/proxy/v1/auth/token/create");
    assert!(seen.iter().all(|seen| seen.headers["x-vault-namespace"] == "team/a"));
}

#[test]
fn a_mount_cannot_lead_elsewhere() {
    assert_eq!(mount("ci/jwt").unwrap(), ["ci", "jwt"]);
    for bad in ["", "/", "../sys", "a//b", "a/..", "jwt?x=1", "a b", "é"] {
        assert_eq!(mount(bad), None, "{bad}");
    }
}

#[tokio::test]
async fn a_login_that_would_linger_is_revoked_and_refused() {
    for change in [json!({"lease_duration": 3600}), json!({"renewable": false}), json!({"num_uses": 1})] {
        let (minted, seen) =
            run(vec![auth_of("s.LOGIN-SENTINEL", "a", &change), gone()], &vault_settings()).await;
        let refusal = minted.unwrap_err();
        assert_eq!(refusal.code, Code::ProviderRefused);
        assert!(refusal.detail.unwrap().starts_with("login role deploy: its tokens"));
        assert_eq!(paths(&seen), ["/v1/auth/jwt/login", "/v1/auth/token/revoke-self"]);
    }
}

#[tokio::test]
async fn a_login_that_cannot_last_as_long_as_granted_is_refused_before_the_child() {
    let capped = auth_of("s.LOGIN-SENTINEL", "a", &json!({"lease_duration": 899}));
    let (minted, seen) = run(vec![login(), capped], &vault_settings()).await;
    let refusal = minted.unwrap_err();
    assert_eq!((refusal.code, seen.len()), (Code::ProviderRefused, 2));
    assert!(refusal.detail.unwrap().contains("raise token_max_ttl of login role deploy"));
}

/// A grant of fifteen minutes, of a role whose leases last for an hour over all renewals.
fn renewable_grant(stub: &Stub) -> Grant {
    let mut role = vault_role(vault_settings());
    role.lease.max_session = Some(crate::domain::Ttl::from_secs(3600).unwrap());
    let target = TargetKind::Vault(vault_target(stub.url.clone()));
    let scope = vault_scope(&["a", "b"]);
    grant_of(role, [("read", scope)], target, 900, now())
}

#[tokio::test]
async fn a_renewable_child_lasts_for_the_session_and_its_login_as_granted() {
    let long = json!({"lease_duration": 3600, "num_uses": 0});
    let stub = Stub::start([login(), renewed(), child(&long)]).await;
    let (vault, grant) = (vault(&stub), renewable_grant(&stub));
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    let minted = vault.mint(&authorised(Planned::new(grant, handle)), &vault_settings()).await.unwrap();
    assert_eq!(minted.dies_at, now() + SignedDuration::from_secs(900), "with its login");
    let seen = stub.seen();
    assert_eq!(body(&seen[1]), json!({"increment": "900s"}));
    assert_eq!(
        (&body(&seen[2])["ttl"], &body(&seen[2])["explicit_max_ttl"]),
        (&json!("3600s"), &json!("3600s"))
    );
    assert_eq!(body(&seen[2])["renewable"], false);

    let longer = auth_of("s.LOGIN-SENTINEL", "a", &json!({"lease_duration": 901}));
    let stub = Stub::start([login(), longer]).await;
    let (vault, grant) = (self::vault(&stub), renewable_grant(&stub));
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    let refused = vault.mint(&authorised(Planned::new(grant, handle)), &vault_settings()).await.unwrap_err();
    assert_eq!(refused.code, Code::ProviderAnswerUnexpected, "nothing else would end the child in time");
}

#[tokio::test]
async fn an_extension_is_of_the_recorded_login_and_no_longer_than_granted() {
    let extend = async |lives: u64| {
        let second = auth_of("s.SECOND-SENTINEL", "second", &json!({}));
        let extended = auth_of("", "login-accessor", &json!({"lease_duration": lives}));
        let stub = Stub::start([second, extended, gone()]).await;
        let (vault, grant) = (vault(&stub), renewable_grant(&stub));
        let handle = Handle::Vault { accessor: "login-accessor".into() };
        let extended = vault.extend(&authorised(Planned::new(grant, handle)), &vault_settings()).await;
        (extended, stub.seen())
    };
    let (extended, seen) = extend(600).await;
    assert_eq!(
        extended.unwrap().dies_at(),
        now() + SignedDuration::from_secs(600),
        "what Vault leaves of it"
    );
    let expected = ["/v1/auth/jwt/login", "/v1/auth/token/renew-accessor", "/v1/auth/token/revoke-self"];
    assert_eq!(paths(&seen), expected);
    assert_eq!(body(&seen[1]), json!({"accessor": "login-accessor", "increment": "900s"}));
    assert!(seen[1..].iter().all(|seen| token(seen) == Some("s.SECOND-SENTINEL")));
    assert_eq!(extend(901).await.0.unwrap_err().code, Code::ProviderAnswerUnexpected);
}

#[tokio::test]
async fn c_09_a_child_other_than_asked_is_refused() {
    for change in [
        json!({"policies": ["a", "b", "default"]}),
        json!({"policies": ["a"]}),
        json!({"orphan": true}),
        json!({"renewable": true}),
        json!({"lease_duration": 901}),
        json!({"num_uses": 5}),
        json!({"accessor": ""}),
    ] {
        let code = code(vec![login(), renewed(), child(&change)]).await;
        assert_eq!(code, Code::ProviderAnswerUnexpected, "{change}");
    }
}

#[tokio::test]
async fn networks_come_from_the_token_role_and_are_verified() {
    let settings = VaultRole { cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..vault_settings() };
    let looked = |cidrs: Value| answer(200, json!({"data": {"bound_cidrs": cidrs, "id": ""}}).to_string());
    let run = async |cidrs| run(vec![login(), renewed(), child(&json!({})), looked(cidrs)], &settings).await;
    let (minted, seen) = run(json!(["10.0.0.0/8"])).await;
    minted.unwrap();
    assert_eq!(paths(&seen)[2..], ["/v1/auth/token/create/deploy", "/v1/auth/token/lookup-accessor"]);
    assert_eq!(body(&seen[3]), json!({"accessor": "child-accessor"}));
    for other in
        [json!(null), json!([]), json!(["0.0.0.0/0"]), json!(["10.0.0.0/8", "192.0.2.1"]), json!(["x"])]
    {
        assert_eq!(run(other.clone()).await.0.unwrap_err().code, Code::ProviderAnswerUnexpected, "{other}");
    }
}

#[tokio::test]
async fn what_vault_answers_becomes_a_stable_code() {
    for (failure, expected) in [
        (said(400, "error validating token: invalid subject (sub) claim"), Code::ProviderRefused),
        (said(403, "permission denied"), Code::ProviderRefused),
        (said(404, "namespace not found"), Code::ProviderRefused),
        (said(429, "slow down"), Code::ProviderThrottled),
        (said(503, "Vault is sealed"), Code::ProviderUnavailable),
        (answer(502, "<html>"), Code::ProviderUnavailable),
        (answer(200, "<html>"), Code::ProviderAnswerUnexpected),
        (answer(200, r#"{"auth":null}"#), Code::ProviderAnswerUnexpected),
        (answer(200, r#"{"auth":{"client_token":7}}"#), Code::ProviderAnswerUnexpected),
        (answer(307, ""), Code::ProviderAnswerUnexpected),
        (answer(200, "x".repeat(MAX_ANSWER + 1)), Code::ProviderAnswerUnexpected),
    ] {
        for step in 0..3 {
            let mut answers = vec![login(), renewed(), child(&json!({}))];
            answers[step] = failure.clone();
            answers.truncate(step + 1);
            assert_eq!(
                code(answers).await,
                expected,
                "step {step}: {} {}",
                failure.status,
                &failure.body.chars().take(60).collect::<String>()
            );
        }
    }
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let stub = Stub::start([gone()]).await;
    let target = vault_target(stub.url.clone());
    drop(stub);
    tokio::task::yield_now().await;
    let refusal = vault_of(&target).plan(&grant(), &vault_settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderUnavailable);
}

#[tokio::test]
async fn discarding_before_mint_ends_the_login_with_its_own_token() {
    let stub = Stub::start([login(), gone()]).await;
    let (vault, grant) = (vault(&stub), grant());
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    assert!(vault.discard(grant.facts().role(), &vault_settings(), &handle).await);
    let seen = stub.seen();
    assert_eq!(paths(&seen), ["/v1/auth/jwt/login", "/v1/auth/token/revoke-self"]);
    assert_eq!(token(&seen[1]), Some("s.LOGIN-SENTINEL"));
}

#[tokio::test]
async fn discarding_after_mint_ends_the_login_by_its_accessor() {
    let second = auth_of("s.SECOND-SENTINEL", "second", &json!({}));
    let stub = Stub::start([login(), renewed(), child(&json!({})), second, gone()]).await;
    let (vault, grant) = (vault(&stub), grant());
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    let auth = authorised(Planned::new(grant, handle));
    vault.mint(&auth, &vault_settings()).await.unwrap();
    assert!(vault.discard(auth.grant().facts().role(), &vault_settings(), auth.handle()).await);
    let seen = stub.seen();
    let expected = ["/v1/auth/jwt/login", "/v1/auth/token/revoke-accessor", "/v1/auth/token/revoke-self"];
    assert_eq!(paths(&seen)[3..], expected);
    assert_eq!(body(&seen[4]), json!({"accessor": "login-accessor"}));
    assert!(seen[4..].iter().all(|seen| token(seen) == Some("s.SECOND-SENTINEL")));
}

#[tokio::test]
async fn c_06_an_end_counts_only_if_the_target_confirms_it() {
    let role = vault_role(vault_settings());
    let end = async |answer: Answer| {
        let stub = Stub::start([login(), answer, gone()]).await;
        vault(&stub).end(&role, &vault_settings(), "accessor").await
    };
    assert_eq!(end(gone()).await.unwrap(), Ended::Now);
    assert_eq!(
        end(answer(200, r#"{"warnings":["No token found with this accessor"]}"#)).await.unwrap(),
        Ended::Now
    );
    assert_eq!(end(said(400, "invalid accessor")).await.unwrap(), Ended::Now);
    assert_eq!(end(said(403, "permission denied")).await.unwrap_err().code, Code::ProviderRefused);
    assert_eq!(end(said(503, "Vault is sealed")).await.unwrap_err().code, Code::ProviderUnavailable);
}

#[tokio::test]
async fn a_credential_is_not_minted_without_its_login() {
    let stub = Stub::start([login()]).await;
    let handle = Handle::Vault { accessor: "of another process".into() };
    let auth = authorised(Planned::new(grant(), handle));
    assert_eq!(vault(&stub).mint(&auth, &vault_settings()).await.unwrap_err().code, Code::Internal);
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn c_01_scopes_that_come_to_no_policy_are_refused_before_the_login() {
    let stub = Stub::start([login()]).await;
    let target = TargetKind::Vault(vault_target(stub.url.clone()));
    let at: Timestamp = now();
    let grant = grant_of(vault_role(vault_settings()), [("read", vault_scope(&[]))], target, 900, at);
    let refusal = vault(&stub).plan(&grant, &vault_settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::TargetValueRefused);
    assert!(stub.seen().is_empty());
}

#[tokio::test]
async fn s_01_nothing_secret_is_logged_at_trace() {
    let (seen, log) = traced(async {
        let (minted, seen) = run(vec![login(), renewed(), child(&json!({}))], &vault_settings()).await;
        tracing::trace!(?minted, "minted");
        let refused = said(403, "bad token s.LOGIN-SENTINEL");
        let refusal = run(vec![login(), refused], &vault_settings()).await.0.unwrap_err();
        tracing::trace!(?refusal, "refused");
        seen
    })
    .await;
    let jwt = body(&seen[0])["jwt"].as_str().unwrap().to_owned();
    assert!(log.contains("Credential::Vault(..)") && log.contains("bad token [secret]"));
    assert!(!log.contains("SENTINEL"), "a Vault token in the log");
    assert!(!log.contains(&jwt), "the federation token in the log");
}
