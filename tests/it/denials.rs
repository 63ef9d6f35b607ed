//! A denial is a value: answered with a stable code and what to do, recorded in full, and nothing comes of it.

use serde_json::{Value, json};

use crate::harness::book::{decision_of, refused};
use crate::harness::site::DEPLOY;
use crate::harness::{Api, Site};

/// Every rule result that a package can give, each switched on by the name of its workflow.
const RULES: &str = r#"package ci.test

allow if input.identity.workflow != "silent"

deny contains {"id": "T-01", "message": "freeze until Monday", "fix": "come back on Monday"} if {
	input.identity.workflow == "denied"
}

deny contains "a bare reason" if input.identity.workflow == "bare"

scopes contains "admin" if input.identity.workflow == "narrowed"

scopes contains "read" if input.identity.workflow != "narrowed"

require := {"approvals": 2} if input.identity.workflow == "approval"

max_ttl := "soon" if input.identity.workflow == "broken"

tags := {"team": "shop"}
"#;

/// A second package of the role, which sets the same tag, for one run to another value.
const SECOND: &str = r#"package ci.second

allow := true

tags := {"team": "search"} if input.identity.workflow == "tags"
"#;

async fn site(settings: &str) -> Site {
    let role = DEPLOY.replace("[\"ci.test\"]", "[\"ci.test\", \"ci.second\"]") + "[scopes.admin]\n";
    let files = [
        ("policies/ci/test.rego", RULES),
        ("policies/ci/second.rego", SECOND),
        ("config/roles/deploy.toml", role.as_str()),
    ];
    let site = Site::new(&files).await;
    site.write("config/tollgate.toml", &site.settings(settings));
    site
}

fn run(site: &Site, workflow: &str) -> String {
    site.token_with(&json!({ "workflow": workflow }))
}

fn read() -> Value {
    json!({ "role": "deploy", "scopes": ["read"] })
}

#[tokio::test]
async fn every_way_of_policy_to_say_no_has_its_code_and_its_record() {
    let site = site("").await;
    let app = site.start().await;
    for (name, status, code) in [
        ("denied", 403, "policy_denied"),
        ("bare", 403, "policy_denied"),
        ("silent", 403, "not_allowed"),
        ("narrowed", 403, "scopes_empty"),
        ("approval", 403, "approval_required"),
        ("broken", 500, "policy_failed"),
        ("tags", 500, "tag_conflict"),
    ] {
        let answer = site.api().credentials(&run(&site, name), &read()).await;
        assert_eq!(answer.status, status, "{name}: {}", answer.text);
        let record = refused(&site, &app, &answer, code).await;
        assert_eq!(record.input.unwrap()["identity"]["workflow"], name);
        assert!(!answer.json["fix"].as_str().unwrap().is_empty());
    }
    assert_eq!(site.rows("leases"), 0);
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_denied_here_is_granted() {
    let site = site("").await;
    let app = site.start().await;
    site.api().credentials(&run(&site, "1"), &read()).await.ok();
    app.stop().await;
}

#[tokio::test]
async fn p_08_the_caller_reads_as_much_as_configured_and_the_record_has_everything() {
    for (detail, message, id) in [("none", false, false), ("reasons", true, false), ("full", true, true)] {
        let site = site(&format!("[denials]\ndetail = \"{detail}\"")).await;
        let app = site.start().await;
        let answer = site.api().credentials(&run(&site, "denied"), &read()).await;
        let record = refused(&site, &app, &answer, "policy_denied").await;
        assert_eq!(answer.text.contains("freeze until Monday"), message, "{detail}: {}", answer.text);
        assert_eq!(answer.text.contains("come back on Monday"), message, "{detail}: {}", answer.text);
        assert_eq!(answer.text.contains("T-01"), id, "{detail}: {}", answer.text);
        assert_eq!(answer.text.contains("ci.test"), id, "{detail}: {}", answer.text);
        assert_eq!(record.outcome["reasons"][0]["id"], "T-01", "{detail}");
        assert_eq!(record.results.len(), 2, "{detail}: every package's answer");
        app.stop().await;
    }
}

#[tokio::test]
async fn the_next_command_names_the_decision() {
    let site = site("").await;
    let app = site.start().await;
    let answer = site.api().credentials(&run(&site, "denied"), &read()).await;
    assert_eq!(answer.json["next"], format!("tollgate explain {}", decision_of(&answer)));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    app.stop().await;
}

#[tokio::test]
async fn s_13_a_role_that_one_may_not_see_is_answered_like_one_that_is_not_there() {
    let role = format!("tenant = \"other\"\n{DEPLOY}");
    let site = Site::new(&[("config/roles/hidden.toml", role.as_str())]).await;
    let app = site.start().await;
    let ask = async |role: &str, scopes: Value| {
        let body = json!({ "role": role, "scopes": scopes, "declared": { "x": 1 } });
        let answer = site.api().credentials(&site.token(), &body).await;
        let record = refused(&site, &app, &answer, "role_unknown").await;
        (shape(&answer.json, role), record.outcome["detail"].clone())
    };
    let (hidden, why) = ask("hidden", json!(["read"])).await;
    let (absent, why_absent) = ask("absent", json!(["read"])).await;
    assert_eq!(hidden, absent);
    assert_ne!(why, why_absent, "the record tells them apart");
    // Nor does what else is asked for show that the role is there.
    assert_eq!(ask("hidden", json!(["no-such-scope"])).await.0, hidden);
    app.stop().await;
}

/// An answer without what differs from request to request.
fn shape(answer: &Value, role: &str) -> Value {
    let mut answer = answer.clone();
    for member in ["decision", "instance", "next"] {
        answer.as_object_mut().unwrap().remove(member);
    }
    serde_json::from_str(&answer.to_string().replace(role, "ROLE")).unwrap()
}

#[tokio::test]
async fn i_19_an_identity_of_another_organisation_is_not_admitted() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let stranger = site.token_with(&json!({ "repository_owner_id": "66" }));
    let answer = site.api().deploy(&stranger).await;
    assert_eq!((answer.status, answer.code()), (403, "identity_not_admitted"));
    // Anybody in the world can cause this one: it is counted, and gets no record of its own.
    assert_eq!(site.counted(&app, "identity_not_admitted").await, 1);
    assert_eq!((site.rows("decisions"), site.rows("leases")), (0, 0));
    app.stop().await;
}

#[tokio::test]
async fn a_dry_run_is_refused_like_the_real_thing_and_grants_nothing() {
    let site = site("").await;
    let app = site.start().await;
    let mut body = read();
    body["dry_run"] = json!(true);
    let answer = site.api().credentials(&run(&site, "denied"), &body).await;
    refused(&site, &app, &answer, "policy_denied").await;
    let token = run(&site, "1");
    let would = site.api().credentials(&token, &body).await;
    let record = app.broker().ledger().decision(decision_of(&would)).await.unwrap().unwrap();
    assert_eq!((would.status, record.result.as_str()), (200, "would_allow"));
    assert!(would.json.get("credential").is_none() && would.json.get("lease").is_none(), "{}", would.text);
    assert_eq!((site.rows("leases"), site.rows("authorisations")), (0, 0));
    // Nor does it use the token up.
    Api::new(&site.url).credentials(&token, &read()).await.ok();
    app.stop().await;
}
