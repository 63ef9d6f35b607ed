//! Against a real `OpenBao`, which verifies Tollgate's federation tokens by its live JWKS.

use http::Method;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::*;
use crate::config::TargetKind;
use crate::domain::Code;
use crate::ledger::Planned;
use crate::ledger::testing::authorised;
use crate::provider::real_parts::Bao;
use crate::provider::testing::{federation, grant_of, vault_role, vault_scope, vault_settings, vault_target};

/// An `OpenBao` with two secrets, a policy to read each, and the login role of the role `deploy`.
async fn bao() -> Bao {
    let bao = Bao::start().await;
    for name in ["app", "other"] {
        bao.write(&format!("secret/{name}"), json!({"value": name})).await;
        bao.policy(&format!("read-{name}"), &[(&format!("secret/{name}"), "read")]).await;
    }
    let own = ["create", "renew-self", "revoke-self", "revoke-accessor", "lookup-accessor", "create/deploy"];
    let own: Vec<String> = own.iter().map(|call| format!("auth/token/{call}")).collect();
    let own: Vec<(&str, &str)> = own.iter().map(|path| (path.as_str(), "update")).collect();
    bao.policy("tollgate-login", &own).await;
    login_role(&bao, json!({})).await;
    bao
}

async fn login_role(bao: &Bao, change: Value) {
    let mut role = json!({
        "role_type": "jwt", "user_claim": "sub", "bound_audiences": ["https://vault.example"],
        "bound_subject": "role:default:deploy", "token_policies": ["tollgate-login", "read-app"],
        "token_no_default_policy": true, "token_type": "service", "token_ttl": "60s", "token_max_ttl": "12h",
    });
    for (key, value) in change.as_object().unwrap() {
        role[key] = value.clone();
    }
    bao.write("auth/jwt/role/deploy", role).await;
}

fn vault(bao: &Bao) -> Vault {
    let target = vault_target(bao.url.clone());
    let clock = Clock::system();
    Vault::new(&"vault".parse().unwrap(), &target, federation(clock.clone()), clock).unwrap()
}

fn grant(bao: &Bao, policies: &[&str]) -> Grant {
    let target = TargetKind::Vault(vault_target(bao.url.clone()));
    let at = Clock::system().now();
    grant_of(vault_role(vault_settings()), [("read", vault_scope(policies))], target, 900, at)
}

async fn mint(vault: &Vault, grant: Grant, settings: &VaultRole) -> Result<(Minted, Authorised), Refusal> {
    let handle = vault.plan(&grant, settings).await?;
    let auth = authorised(Planned::new(grant, handle));
    vault.mint(&auth, settings).await.map(|minted| (minted, auth))
}

fn token(minted: &Minted) -> &str {
    let Credential::Vault { token, .. } = &minted.credential else { panic!("not a Vault token") };
    token.expose_secret()
}

#[tokio::test]
async fn the_child_reads_what_was_granted_and_nothing_else_and_is_dead_after_its_end() {
    let bao = bao().await;
    let (vault, settings) = (vault(&bao), vault_settings());
    let (minted, auth) = mint(&vault, grant(&bao, &["read-app"]), &settings).await.unwrap();
    let token = token(&minted);
    let read = async |path| bao.call(Method::GET, path, token, None).await;

    assert_eq!(read("secret/app").await.1["data"]["value"], "app");
    assert_eq!(read("secret/other").await.0, 403);
    let create = bao.call(Method::POST, "auth/token/create", token, Some(json!({}))).await;
    assert_eq!(create.0, 403, "a child that makes tokens of its own");

    let found = bao.write("auth/token/lookup", json!({"token": token})).await["data"].clone();
    assert_eq!(found["policies"], json!(["read-app"]));
    assert_eq!((&found["explicit_max_ttl"], &found["renewable"]), (&json!(900), &json!(false)));
    assert_eq!(found["meta"]["principal"], "github:repository:1234");
    assert_eq!(found["meta"]["decision"], auth.grant().facts().decision().to_string());
    let lives = minted.dies_at.as_second() - Clock::system().now().as_second();
    assert!((890..=900).contains(&lives), "{lives}");

    let Handle::Vault { accessor } = auth.handle() else { panic!("not a Vault handle") };
    let role = auth.grant().facts().role();
    assert_eq!(vault.end(role, &settings, accessor).await.unwrap(), Ended::Now);
    assert_eq!(read("secret/app").await.0, 403);
    assert_eq!(vault.end(role, &settings, accessor).await.unwrap(), Ended::Now, "an end is idempotent");
    assert_eq!(bao.living_tokens().await, 1, "only root is left");
}

#[tokio::test]
async fn c_13_another_role_cannot_use_this_login_role() {
    let bao = bao().await;
    let role = Role { name: "other".parse().unwrap(), ..vault_role(vault_settings()) };
    let target = TargetKind::Vault(vault_target(bao.url.clone()));
    let at = Clock::system().now();
    let grant = grant_of(role, [("read", vault_scope(&["read-app"]))], target, 900, at);
    let refusal = mint(&vault(&bao), grant, &vault_settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderRefused);
    assert!(refusal.detail.unwrap().contains("invalid subject (sub) claim"));
}

#[tokio::test]
async fn a_policy_that_the_login_lacks_is_refused_and_nothing_stays_behind() {
    let bao = bao().await;
    let (vault, settings) = (vault(&bao), vault_settings());
    let grant = grant(&bao, &["read-app", "read-other"]);
    let handle = vault.plan(&grant, &settings).await.unwrap();
    let auth = authorised(Planned::new(grant, handle));
    let refusal = vault.mint(&auth, &settings).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderRefused);
    assert!(refusal.detail.unwrap().contains("subset of parent"));
    assert!(vault.discard(auth.grant().facts().role(), &settings, auth.handle()).await);
    assert_eq!(bao.living_tokens().await, 1);
}

#[tokio::test]
async fn discarding_a_plan_leaves_no_login() {
    let bao = bao().await;
    let (vault, grant) = (vault(&bao), grant(&bao, &["read-app"]));
    let handle = vault.plan(&grant, &vault_settings()).await.unwrap();
    assert_eq!(bao.living_tokens().await, 2);
    assert!(vault.discard(grant.facts().role(), &vault_settings(), &handle).await);
    assert_eq!(bao.living_tokens().await, 1);
}

#[tokio::test]
async fn a_login_role_with_long_or_batch_tokens_is_refused_with_what_to_change() {
    let bao = bao().await;
    for (change, fix) in [
        (json!({"token_ttl": "1h"}), "set token_ttl to 60s"),
        (json!({"token_type": "batch"}), "set token_type to service"),
        (json!({"token_max_ttl": "10m"}), "raise token_max_ttl"),
    ] {
        login_role(&bao, change).await;
        let refusal = mint(&vault(&bao), grant(&bao, &["read-app"]), &vault_settings()).await.unwrap_err();
        assert_eq!(refusal.code, Code::ProviderRefused);
        assert!(refusal.detail.as_ref().unwrap().contains(fix), "{refusal:?}");
    }
}

#[tokio::test]
async fn c_09_policies_of_the_identity_entity_do_not_slip_into_the_child() {
    let bao = bao().await;
    let (vault, settings) = (vault(&bao), vault_settings());
    let (minted, _) = mint(&vault, grant(&bao, &["read-app"]), &settings).await.unwrap();
    let entity = bao.write("auth/token/lookup", json!({"token": token(&minted)})).await;
    let entity = format!("identity/entity/id/{}", entity["data"]["entity_id"].as_str().unwrap());
    bao.write(&entity, json!({"policies": ["read-other"]})).await;
    let refusal = mint(&vault, grant(&bao, &["read-app"]), &settings).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderAnswerUnexpected, "{refusal:?}");
}

#[tokio::test]
async fn uses_are_counted_by_the_server() {
    let bao = bao().await;
    let settings = VaultRole { uses: Some(2), ..vault_settings() };
    let (minted, _) = mint(&vault(&bao), grant(&bao, &["read-app"]), &settings).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(bao.call(Method::GET, "secret/app", token(&minted), None).await.0);
    }
    assert_eq!(seen, [200, 200, 403]);
}

#[tokio::test]
async fn networks_are_enforced_by_the_server_or_the_child_is_not_handed_out() {
    let bao = bao().await;
    let settings = VaultRole { cidrs: vec!["10.0.0.0/8".parse().unwrap()], ..vault_settings() };
    let token_role = async |cidrs: Value| {
        let role = json!({"allowed_policies": ["read-app"], "token_bound_cidrs": cidrs});
        bao.write("auth/token/roles/deploy", role).await;
    };
    token_role(json!(["10.0.0.0/8"])).await;
    let (minted, _) = mint(&vault(&bao), grant(&bao, &["read-app"]), &settings).await.unwrap();
    assert_eq!(bao.call(Method::GET, "secret/app", token(&minted), None).await.0, 403, "used from loopback");

    token_role(json!([])).await;
    let refusal = mint(&vault(&bao), grant(&bao, &["read-app"]), &settings).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderAnswerUnexpected);
    assert!(refusal.detail.unwrap().contains("set token_bound_cidrs of token role deploy"));
}

#[tokio::test]
async fn a_sealed_server_is_unavailable() {
    let bao = bao().await;
    bao.write("sys/seal", json!({})).await;
    let refusal = vault(&bao).plan(&grant(&bao, &["read-app"]), &vault_settings()).await.unwrap_err();
    assert_eq!(refusal.code, Code::ProviderUnavailable);
    assert!(refusal.detail.unwrap().contains("Vault is sealed"));
}
