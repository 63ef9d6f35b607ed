//! What `OpenBao` enforces of a grant, and what Tollgate refuses where `OpenBao`'s own settings would give more.

use serde_json::{Value, json};
use tollgate::app::App;

use crate::harness::parts::bao::{Bao, ROLE};
use crate::harness::{Site, api::Answer};

/// Why `answer` was refused, as the record has it.
async fn recorded(app: &App, answer: &Answer) -> String {
    let decision = answer.json["decision"].as_str().unwrap().parse().unwrap();
    app.broker().ledger().decision(decision).await.unwrap().unwrap().outcome.to_string()
}

async fn ask(site: &Site, body: Value) -> Answer {
    site.api().credentials(&site.token(), &body).await
}

fn token(answer: &Value) -> &str {
    answer["credential"]["token"].as_str().unwrap()
}

#[tokio::test]
async fn c_13_a_login_role_serves_the_one_tollgate_role_that_it_names() {
    let bao = Bao::start().await;
    let other = ROLE.replace("login_role = \"app\"", "login_role = \"other\"");
    let site = bao.site(&[("config/roles/vault/other.toml", &other)]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    // Bound to the subject of vault/app, as an operator's slip would have it.
    bao.login_role("other", json!({})).await;
    ask(&site, json!({ "role": "vault/app" })).await.ok();
    let refused = ask(&site, json!({ "role": "vault/other" })).await;
    assert_eq!(refused.code(), "provider_refused");
    assert!(recorded(&app, &refused).await.contains("invalid subject (sub) claim"));
    app.stop().await;
}

#[tokio::test]
async fn a_login_role_that_does_not_fit_is_refused_with_what_to_change_and_leaves_nothing() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    for (change, fix) in [
        (json!({ "token_ttl": "1h" }), "set token_ttl to 60s"),
        (json!({ "token_type": "batch" }), "set token_type to service"),
    ] {
        bao.login_role("app", change).await;
        let refused = ask(&site, json!({ "role": "vault/app" })).await;
        assert_eq!(refused.code(), "provider_refused");
        let record = recorded(&app, &refused).await;
        assert!(record.contains(fix), "{record}");
    }
    bao.login_role("app", json!({ "token_max_ttl": "10m" })).await;
    assert_eq!(ask(&site, json!({ "role": "vault/app" })).await.code(), "provider_refused");
    // The login has no right to the secret of this scope, and a child cannot have more than its login.
    bao.login_role("app", json!({})).await;
    let refused = ask(&site, json!({ "role": "vault/app", "scopes": ["read", "other"] })).await;
    assert_eq!(refused.code(), "provider_refused");
    assert_eq!(bao.living().await.len(), 0);
    assert!(app.broker().ledger().unleased(site.now()).await.unwrap().is_empty());
    app.stop().await;
}

#[tokio::test]
async fn c_09_policies_of_the_identity_entity_do_not_slip_into_the_child() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let granted = ask(&site, json!({ "role": "vault/app" })).await.ok();
    let found = bao.lookup(token(&granted)).await.unwrap();
    let entity = format!("identity/entity/id/{}", found["entity_id"].as_str().unwrap());
    bao.write(&entity, json!({ "policies": ["read-other"] })).await;
    let refused = ask(&site, json!({ "role": "vault/app" })).await;
    assert_eq!(refused.code(), "provider_answer_unexpected");
    assert_eq!(bao.living().await.len(), 2, "the login and the child of the first grant");
    app.stop().await;
}

#[tokio::test]
async fn uses_and_networks_are_enforced_by_the_server() {
    let bao = Bao::start().await;
    let counted = ROLE.replace("login_role = \"app\"", "login_role = \"app\"\nuses = 2");
    let bound = ROLE.replace("login_role = \"app\"", "login_role = \"app\"\ncidrs = [\"10.0.0.0/8\"]");
    let site = bao.site(&[("config/roles/vault/app.toml", &counted)]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let granted = ask(&site, json!({ "role": "vault/app" })).await.ok();
    let mut seen = Vec::new();
    for _ in 0..3 {
        seen.push(bao.read("secret/app", token(&granted)).await.0);
    }
    assert_eq!(seen, [200, 200, 403]);

    site.write("config/roles/vault/app.toml", &bound);
    app.reload().await.unwrap();
    let networks = async |cidrs: Value| {
        let role = json!({ "allowed_policies": ["read-app"], "token_bound_cidrs": cidrs });
        bao.write("auth/token/roles/app", role).await;
    };
    networks(json!(["10.0.0.0/8"])).await;
    let granted = ask(&site, json!({ "role": "vault/app" })).await.ok();
    assert_eq!(bao.read("secret/app", token(&granted)).await.0, 403, "used from loopback");
    networks(json!([])).await;
    let refused = ask(&site, json!({ "role": "vault/app" })).await;
    assert_eq!(refused.code(), "provider_answer_unexpected", "a child that is not bound is not handed out");
    app.stop().await;
}

#[tokio::test]
async fn ending_a_lease_ends_login_and_child_and_can_be_repeated() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let granted = ask(&site, json!({ "role": "vault/app" })).await.ok();
    assert_eq!(granted["lease"]["revocable"], "now");
    assert_eq!(bao.living().await.len(), 2);
    let (id, secret) =
        (granted["lease"]["id"].as_str().unwrap(), granted["lease"]["secret"].as_str().unwrap());
    for _ in 0..2 {
        let ended = site.api().end(id, secret).await.ok();
        assert_eq!(ended["last_known"], "ended");
        assert_eq!(bao.read("secret/app", token(&granted)).await.0, 403);
        assert_eq!(bao.living().await.len(), 0);
    }
    app.stop().await;
}

#[tokio::test]
async fn a_plan_that_is_not_authorised_leaves_no_login() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let (token, ask) = (site.token(), json!({ "role": "vault/app" }));
    site.api().credentials(&token, &ask).await.ok();
    // The login is planned before the ledger settles that the token was used already.
    let replayed = site.api().credentials(&token, &ask).await;
    assert_eq!(replayed.code(), "token_replayed");
    assert_eq!(bao.living().await.len(), 2, "the login and the child of the first grant");
    app.stop().await;
}
