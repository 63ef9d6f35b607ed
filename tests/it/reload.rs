//! A reload takes all of a new configuration or nothing of it; and a decision names the one it rests on.

use std::sync::Arc;

use serde_json::json;
use tokio::sync::Semaphore;

use crate::harness::Site;
use crate::harness::book::{leased, refused};
use crate::harness::site::{ALLOW_TRUSTED, DEPLOY};
use crate::harness::source::{FactServer, Says};

#[tokio::test]
async fn a_new_role_can_be_asked_for_after_a_reload() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let ask = json!({ "role": "new" });
    refused(&site, &app, &site.api().credentials(&site.token(), &ask).await, "role_unknown").await;
    site.write("config/roles/new.toml", DEPLOY);
    app.reload().await.unwrap();
    leased(&site, &app, &site.api().credentials(&site.token(), &ask).await).await;
    assert_eq!(site.rows("audit WHERE kind = 'revision'"), 2, "a change is an event of the audit chain");
    app.stop().await;
}

#[tokio::test]
async fn a_changed_policy_decides_after_a_reload() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let before = leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    site.write("policies/ci/test.rego", &ALLOW_TRUSTED.replace("\"main\"", "\"release\""));
    app.reload().await.unwrap();
    let after = refused(&site, &app, &site.api().deploy(&site.token()).await, "not_allowed").await;
    assert_ne!(before.policy, after.policy);
    app.stop().await;
}

#[tokio::test]
async fn s_10_what_does_not_load_changes_nothing() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let revision = app.broker().loaded().config.revision;
    for (path, text) in [
        ("config/roles/new.toml", "target = \"nowhere\"\n"),
        ("policies/ci/test.rego", "package ci.test\n\nallow if {\n"),
        ("config/issuers/ci.toml", "issuer = \"https://issuer.example\"\n"),
        ("config/tollgate.toml", ""),
    ] {
        let good = std::fs::read_to_string(site.path(path)).ok();
        site.write(path, text);
        // A good change beside the broken one is not taken either.
        site.write("config/roles/good.toml", DEPLOY);
        let problems = app.reload().await.unwrap_err();
        assert!(problems.iter().next().is_some(), "{path}");
        leased(&site, &app, &site.api().deploy(&site.token()).await).await;
        let answer = site.api().credentials(&site.token(), &json!({ "role": "good" })).await;
        refused(&site, &app, &answer, "role_unknown").await;
        assert_eq!(app.broker().loaded().config.revision, revision, "{path}");
        std::fs::remove_file(site.path("config/roles/good.toml")).unwrap();
        match good {
            Some(good) => site.write(path, &good),
            None => std::fs::remove_file(site.path(path)).unwrap(),
        }
    }
    app.reload().await.unwrap();
    app.stop().await;
}

#[tokio::test]
async fn a_reload_asks_no_issuer_again_and_forgets_no_used_token() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let token = site.token();
    leased(&site, &app, &site.api().deploy(&token).await).await;
    let asked = site.issuer.asked();
    site.write("config/roles/new.toml", DEPLOY);
    app.reload().await.unwrap();
    refused(&site, &app, &site.api().deploy(&token).await, "token_replayed").await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    assert_eq!(site.issuer.asked(), asked);
    app.stop().await;
}

#[tokio::test]
async fn s_10_a_request_in_flight_across_a_reload_rests_on_and_names_the_old_configuration() {
    let server = FactServer::start().await;
    let role = DEPLOY.replace("[jwt]", "sources = [\"slow\"]\n[jwt]");
    let policy = "package ci.test\n\nallow if input.context.signed == true\n";
    let site =
        Site::new(&[("config/roles/deploy.toml", role.as_str()), ("policies/ci/test.rego", policy)]).await;
    site.write("config/tollgate.toml", &site.settings(&server.settings("slow", "signed")));
    let app = site.start().await;
    let old = app.broker().loaded().config.revision;

    let go = Arc::new(Semaphore::new(0));
    server.says(Says::Wait(Arc::clone(&go)));
    let (api, token) = (site.api(), site.token());
    let in_flight = tokio::spawn(async move { api.deploy(&token).await });
    server.until_asked(1).await;
    site.write("config/roles/new.toml", &role);
    let new = app.reload().await.unwrap();
    assert_ne!(new, old);
    go.add_permits(1);

    let record = leased(&site, &app, &in_flight.await.unwrap()).await;
    assert_eq!(record.configuration, old.to_string());
    server.says(Says::Json(crate::harness::source::GOOD.to_owned()));
    let record = leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    assert_eq!(record.configuration, new.to_string());
    app.stop().await;
}
