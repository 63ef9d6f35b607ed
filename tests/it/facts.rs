//! What policy sees beyond the token: verified sources, target tables, declared keys, each with its one origin.

use std::time::Duration;

use serde_json::json;

use crate::harness::Site;
use crate::harness::book::{leased, refused};
use crate::harness::site::{ALLOW_TRUSTED, DEPLOY};
use crate::harness::source::{FactServer, Says};

/// Allows what is signed.
const SIGNED: &str = "package ci.test\n\nallow if input.context.commit_signed == true\n";

/// Allows everything, unless the fact says no.
const UNLESS_UNSIGNED: &str = "package ci.test\n\nallow := true\n\ndeny contains \"unsigned\" if input.context.commit_signed == false\n";

const AUTH: &str = "auth = { header = \"authorization\", value = { value = \"Bearer source-secret\" } }";

async fn site(policy: &str, more: &str) -> (Site, FactServer) {
    let server = FactServer::start().await;
    let role = DEPLOY.replace("[jwt]", "sources = [\"commits\"]\n[jwt]");
    let site =
        Site::new(&[("config/roles/deploy.toml", role.as_str()), ("policies/ci/test.rego", policy)]).await;
    let source = format!(
        "[sources.commits]\nurl = \"{}/{{repository:path}}/commits/{{commit}}\"\ninsecure_loopback = true\n\
         facts = {{ commit_signed = \"/verified\" }}\ntimeout = \"300ms\"\n{more}",
        server.url()
    );
    site.write("config/tollgate.toml", &site.settings(&source));
    (site, server)
}

#[tokio::test]
async fn a_verified_fact_decides_and_the_record_names_its_source() {
    let (site, server) = site(SIGNED, AUTH).await;
    let app = site.start().await;
    let answer = site.api().deploy(&site.token()).await;
    let record = leased(&site, &app, &answer).await;
    assert_eq!(record.input.unwrap()["context"]["commit_signed"], true);
    assert!(record.origins["context.commit_signed"].to_string().contains("commits"), "{:?}", record.origins);
    let asked = "/acme/shop/commits/0f3a1c5b7d9e2468ace013579bdf02468ace1357 Bearer source-secret";
    assert_eq!(server.seen(), [asked]);
    app.stop().await;
}

#[tokio::test]
async fn a_fact_that_says_no_denies() {
    let (site, server) = site(SIGNED, "").await;
    server.says(Says::Json(r#"{"verified": false}"#.to_owned()));
    let app = site.start().await;
    refused(&site, &app, &site.api().deploy(&site.token()).await, "not_allowed").await;
    app.stop().await;
}

#[tokio::test]
async fn p_11_a_source_that_fails_denies_even_where_only_a_deny_reads_it() {
    let failures = [
        Says::Status(500),
        Says::Status(404),
        Says::Status(204),
        Says::Html,
        Says::Redirect,
        Says::Nothing,
        Says::Oversize,
        Says::Json("{}".to_owned()),
        Says::Json(r#"{"verified": null}"#.to_owned()),
        Says::Json(r#"{"verified": [true]}"#.to_owned()),
        Says::Json(r#"{"verified": true"#.to_owned()),
    ];
    for policy in [SIGNED, UNLESS_UNSIGNED] {
        let (site, server) = site(policy, "").await;
        let app = site.start().await;
        for says in &failures {
            server.says(says.clone());
            let answer = site.api().deploy(&site.token()).await;
            assert_eq!(answer.status, 503, "{says:?}: {}", answer.text);
            let record = refused(&site, &app, &answer, "facts_unavailable").await;
            assert_eq!(record.failed["context.commit_signed"]["source"], "commits", "{says:?}");
            assert!(record.results.is_empty(), "no policy ran");
        }
        assert!(!server.seen().iter().any(|seen| seen.starts_with("/elsewhere")), "a redirect was followed");
        app.stop().await;
    }
}

#[tokio::test]
async fn a_source_that_comes_back_is_asked_again_at_once() {
    let (site, server) = site(SIGNED, "").await;
    server.says(Says::Status(503));
    let app = site.start().await;
    let token = site.token();
    refused(&site, &app, &site.api().deploy(&token).await, "facts_unavailable").await;
    server.says(Says::Json(r#"{"verified": true}"#.to_owned()));
    leased(&site, &app, &site.api().deploy(&token).await).await;
    app.stop().await;
}

#[tokio::test]
async fn a_source_that_no_policy_reads_may_be_down() {
    let (site, server) = site(ALLOW_TRUSTED, "").await;
    server.says(Says::Status(500));
    let app = site.start().await;
    let record = leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    assert!(record.failed.contains_key("context.commit_signed"));
    app.stop().await;
}

#[tokio::test]
async fn a_good_answer_is_kept_as_long_as_configured_and_no_longer() {
    let (site, server) = site(SIGNED, "cache = \"1m\"").await;
    let app = site.start().await;
    for _ in 0..2 {
        leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    }
    assert_eq!(server.seen().len(), 1);
    server.says(Says::Json(r#"{"verified": false}"#.to_owned()));
    site.clock.set(site.now() + Duration::from_secs(61));
    refused(&site, &app, &site.api().deploy(&site.token()).await, "not_allowed").await;
    assert_eq!(server.seen().len(), 2);
    app.stop().await;
}

#[tokio::test]
async fn p_12_the_caller_cannot_fill_in_for_a_source_that_is_down() {
    let (site, server) = site(SIGNED, "").await;
    server.says(Says::Status(500));
    let app = site.start().await;
    let body = json!({ "role": "deploy", "declared": { "commit_signed": true } });
    let answer = site.api().credentials(&site.token(), &body).await;
    refused(&site, &app, &answer, "declared_key_refused").await;
    app.stop().await;
}

/// A role whose table says which repositories it serves.
async fn mapped() -> Site {
    let role =
        DEPLOY.replace("[jwt]", "table = { name = \"repositories\", attribute = \"repository_id\" }\n[jwt]");
    let table = "role,key,label.team\ndeploy,70107786,shop\nother,70107787,search\n";
    let policy = "package ci.test\n\nallow if input.resource.labels.team == \"shop\"\n";
    Site::new(&[
        ("config/roles/deploy.toml", role.as_str()),
        ("config/roles/other.toml", role.as_str()),
        ("config/targets/repositories.csv", table),
        ("policies/ci/test.rego", policy),
    ])
    .await
}

#[tokio::test]
async fn a_target_table_says_whose_row_it_is_and_the_record_names_the_line() {
    let site = mapped().await;
    let app = site.start().await;
    let record = leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    assert_eq!(record.table_line, Some(2));
    assert_eq!(record.input.unwrap()["resource"]["labels"]["team"], "shop");
    app.stop().await;
}

#[tokio::test]
async fn who_has_no_row_in_the_roles_table_is_refused() {
    let site = mapped().await;
    let app = site.start().await;
    // A row of another role is no row.
    for id in ["70107787", "7"] {
        let token = site.token_with(&json!({ "repository_id": id }));
        let answer = site.api().deploy(&token).await;
        assert_eq!(answer.status, 403, "{}", answer.text);
        refused(&site, &app, &answer, "target_not_mapped").await;
    }
    app.stop().await;
}

#[tokio::test]
async fn i_13_a_name_that_was_registered_again_gets_nothing() {
    let site = mapped().await;
    let app = site.start().await;
    let recycled = site.token_with(&json!({ "repository_id": "99999999" }));
    refused(&site, &app, &site.api().deploy(&recycled).await, "target_not_mapped").await;
    app.stop().await;
}

#[tokio::test]
async fn p_06_a_declared_key_is_kept_apart_and_marked() {
    let role = format!("{DEPLOY}\n[declared.purpose]\ntype = \"text\"\none_of = [\"debug\", \"release\"]\n");
    let policy = "package ci.test\n\nallow if input.context.purpose == \"debug\"\n";
    let site =
        Site::new(&[("config/roles/deploy.toml", role.as_str()), ("policies/ci/test.rego", policy)]).await;
    let app = site.start().await;
    let ask = async |declared| {
        let body = json!({ "role": "deploy", "declared": declared });
        site.api().credentials(&site.token(), &body).await
    };
    let record = leased(&site, &app, &ask(json!({ "purpose": "debug" })).await).await;
    assert_eq!(record.origins["context.purpose"]["origin"], "declared");
    assert_eq!(record.input.unwrap()["declared"], json!({ "purpose": "debug" }));
    refused(&site, &app, &ask(json!({ "purpose": "release" })).await, "not_allowed").await;
    refused(&site, &app, &ask(json!({ "purpose": "other" })).await, "declared_key_refused").await;
    refused(&site, &app, &ask(json!({})).await, "not_allowed").await;
    app.stop().await;
}
