//! Who may do what else than ask for a credential, as policy decides it.

use serde_json::json;

use crate::harness::Site;
use crate::harness::book::decision_of;

/// Lets the actor `auditor` read decisions, and says why nobody else may.
const AUDITOR: &str = "package ops.test

default allow := false

allow if {
	input.operation == \"decision.read\"
	auditor
}

auditor if input.identity.actor == \"auditor\"

deny contains \"only the auditor\" if not auditor
";

/// Another tenant's jobs, told apart by their audience.
fn bank(site: &Site) -> String {
    site.issuer_file("replay = \"once\"")
        .replace("tenant = \"default\"", "tenant = \"bank\"")
        .replace(&format!("audience = \"{}\"", site.url), "audience = \"bank\"")
}

/// A site where auditors read decisions; `more` goes into `[operations]`.
async fn site(more: &str) -> Site {
    let site = Site::new(&[("policies/ops/test.rego", AUDITOR)]).await;
    let operations = format!("[operations]\n\"decision.read\" = [\"ops.test\"]\n{more}");
    site.write("config/tollgate.toml", &site.settings(&operations));
    site.write("config/issuers/bank.toml", &bank(&site));
    site
}

fn auditor(site: &Site, tenant: &str) -> String {
    let audience = if tenant == "bank" { "bank" } else { site.url.as_str() };
    site.token_with(&json!({ "actor": "auditor", "repository_id": "7", "aud": audience }))
}

#[tokio::test]
async fn p_08_the_security_team_reads_the_whole_record_of_its_tenant() {
    let site = site("").await;
    let app = site.start().await;
    let denied = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    let path = format!("/v1/decisions/{}", decision_of(&denied));

    let record = site.api().get(&path, Some(&auditor(&site, "default"))).await.ok();
    assert_eq!((&record["operation"], &record["result"]), (&json!("mint"), &json!("not_allowed")));
    assert!(record["outcome"]["detail"].as_str().unwrap().contains("ci.test"), "{record}");
    assert_eq!(record["input"]["identity"]["event"], "pull_request");
    // That it was read is on record too, with what was read.
    assert_eq!(site.rows("decisions WHERE operation = 'decision.read' AND outcome = 'permit'"), 1);
    assert_eq!(site.rows("audit WHERE kind = 'permitted' AND tenant = 'default'"), 1);
    app.stop().await;
}

#[tokio::test]
async fn c_07_a_decision_out_of_reach_is_answered_like_one_that_is_not_there() {
    let site = site("").await;
    let app = site.start().await;
    let path = format!("/v1/decisions/{}", decision_of(&site.api().deploy(&site.token()).await));
    let nowhere = "/v1/decisions/019cadfd-8900-7da0-b03f-0590c2ac6c55";
    let neighbour = || site.token_with(&json!({ "repository_id": "70107787" }));
    let mut told = Vec::new();
    for (path, token) in [
        (path.as_str(), neighbour()),
        (nowhere, neighbour()),
        (path.as_str(), auditor(&site, "bank")),
        (nowhere, auditor(&site, "default")),
    ] {
        let mut answer = site.api().get(path, Some(&token)).await;
        assert_eq!((answer.status, answer.code()), (404, "decision_unknown"), "{}", answer.text);
        answer.json.as_object_mut().unwrap().remove("instance");
        told.push(answer.json);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(site.rows("decisions WHERE operation = 'decision.read' AND outcome = 'policy_denied'"), 2);
    app.stop().await;
}

#[tokio::test]
async fn the_servers_own_tenant_reads_all_where_the_settings_say_so() {
    let site = site("all_tenants = [\"decision.read\"]").await;
    let app = site.start().await;
    let foreign = site.token_with(&json!({ "aud": "bank", "repository_id": "8" }));
    let asked = site.api().deploy(&foreign).await;
    assert_eq!(asked.code(), "role_unknown");
    let path = format!("/v1/decisions/{}", decision_of(&asked));
    let record = site.api().get(&path, Some(&auditor(&site, "default"))).await.ok();
    assert_eq!(record["tenant"], "bank");
    // The other tenant's auditor reaches its own tenant, and no further.
    assert_eq!(site.api().get(&path, Some(&auditor(&site, "bank"))).await.ok()["tenant"], "bank");
    let own = format!("/v1/decisions/{}", decision_of(&site.api().deploy(&site.token()).await));
    assert_eq!(site.api().get(&own, Some(&auditor(&site, "bank"))).await.code(), "decision_unknown");
    app.stop().await;
}

#[tokio::test]
async fn c_08_operations_count_against_the_budget_of_whoever_asks() {
    let site = site("[limits]\nexchanges_per_minute = 2").await;
    let app = site.start().await;
    let path = format!("/v1/decisions/{}", decision_of(&site.api().deploy(&site.token()).await));
    for _ in 0..2 {
        site.api().get(&path, Some(&auditor(&site, "default"))).await.ok();
    }
    let third = site.api().get(&path, Some(&auditor(&site, "default"))).await;
    assert_eq!((third.status, third.code()), (429, "rate_limited"));
    assert_eq!(site.rows("decisions WHERE operation = 'decision.read' AND outcome = 'rate_limited'"), 1);
    app.stop().await;
}
