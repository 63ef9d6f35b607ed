//! Too much, too often, too slow: refused with a code and a time to come back, and nothing is lost.

use std::sync::Arc;

use http::Method;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::harness::Site;
use crate::harness::book::{leased, refused};
use crate::harness::parts::bao::ROLE;
use crate::harness::site::DEPLOY;
use crate::harness::source::{FactServer, Says};

#[tokio::test]
async fn c_08_one_principal_that_asks_too_often_is_told_to_wait_and_others_are_served() {
    let site = Site::new(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[limits]\nexchanges_per_minute = 2"));
    let app = site.start().await;
    for _ in 0..2 {
        leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    }
    let answer = site.api().deploy(&site.token()).await;
    assert_eq!(answer.status, 429);
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    refused(&site, &app, &answer, "rate_limited").await;
    let other = site.token_with(&json!({ "repository_id": "70107787" }));
    leased(&site, &app, &site.api().deploy(&other).await).await;
    app.stop().await;
}

/// The base role under another name, for whoever is on call.
fn on_call() -> String {
    format!("budget = \"on_call\"\n{DEPLOY}")
}

#[tokio::test]
async fn c_08_a_tenant_that_has_used_up_its_budget_can_still_have_a_role_on_call() {
    let role = on_call();
    let site = Site::new(&[("config/roles/debug.toml", role.as_str())]).await;
    let limits = "[limits]\ntenant_exchanges_per_minute = 2\non_call_exchanges_per_minute = 1";
    site.write("config/tollgate.toml", &site.settings(limits));
    let app = site.start().await;
    for id in ["1", "2"] {
        let job = site.token_with(&json!({ "repository_id": id }));
        leased(&site, &app, &site.api().deploy(&job).await).await;
    }
    let late = site.token_with(&json!({ "repository_id": "3" }));
    refused(&site, &app, &site.api().deploy(&late).await, "rate_limited").await;
    // What policy refuses takes nothing from the budget of those who are on call.
    let debug = json!({ "role": "debug" });
    for id in ["4", "5"] {
        let fork = site.token_with(&json!({ "repository_id": id, "event_name": "pull_request" }));
        refused(&site, &app, &site.api().credentials(&fork, &debug).await, "not_allowed").await;
    }
    leased(&site, &app, &site.api().credentials(&site.token(), &debug).await).await;
    let answer = site.api().credentials(&site.token(), &debug).await;
    assert!(answer.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0);
    refused(&site, &app, &answer, "rate_limited").await;
    app.stop().await;
}

#[tokio::test]
async fn c_08_a_role_allows_as_many_a_minute_as_its_file_says() {
    let role = format!("limits = {{ per_minute = 1 }}\n{DEPLOY}");
    let site = Site::new(&[("config/roles/rare.toml", role.as_str())]).await;
    let app = site.start().await;
    let rare = json!({ "role": "rare" });
    let dry = site.api().credentials(&site.token(), &json!({ "role": "rare", "dry_run": true })).await;
    assert_eq!(dry.status, 200, "a dry run costs the role nothing: {}", dry.text);
    leased(&site, &app, &site.api().credentials(&site.token(), &rare).await).await;
    let other = site.token_with(&json!({ "repository_id": "2" }));
    refused(&site, &app, &site.api().credentials(&other, &rare).await, "rate_limited").await;
    leased(&site, &app, &site.api().deploy(&other).await).await;
    app.stop().await;
}

#[tokio::test]
async fn s_07_look_ups_are_limited_per_identity_and_counted() {
    let site = Site::new(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[limits]\nlookups_per_minute = 2"));
    let app = site.start().await;
    let (token, other) = (site.token(), site.token_with(&json!({ "repository_id": "2" })));
    let paths = ["/v1/whoami", "/v1/decisions/01890000-0000-7000-8000-000000000000", "/v1/whoami"];
    let mut answers = Vec::new();
    for path in paths {
        answers.push(site.api().get(path, Some(&token)).await);
    }
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 404, 429]);
    assert!(answers[2].headers.contains_key("retry-after"));
    assert_eq!(answers[2].code(), "rate_limited");
    assert_eq!(site.api().get("/v1/whoami", Some(&other)).await.status, 200);
    assert_eq!(site.counted(&app, "rate_limited").await, 1);
    app.stop().await;
}

#[tokio::test]
async fn s_07_whoever_guesses_lease_secrets_is_limited_by_address() {
    let site = Site::new(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[limits]\npeer_lookups_per_minute = 2"));
    let app = site.start().await;
    let secret = "a".repeat(43);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let path = "/v1/leases/01890000-0000-7000-8000-000000000000";
        statuses.push(site.api().get(path, Some(&format!("tgl_{secret}"))).await.status);
    }
    assert_eq!(statuses, [404, 404, 429]);
    // Exchanges have budgets of their own.
    let answer = site.api().deploy(&site.token()).await;
    leased(&site, &app, &answer).await;
    // And so has a heartbeat: refused for what its neighbours did, it would end a lease.
    let lease = answer.ok();
    let (id, secret) = (&lease["lease"]["id"], &lease["lease"]["secret"]);
    let (id, secret) = (id.as_str().unwrap(), secret.as_str().unwrap());
    assert_eq!(site.api().get(&format!("/v1/leases/{id}"), Some(secret)).await.status, 429);
    assert_eq!(site.api().post_lease(id, "heartbeat", secret, &json!(null)).await.status, 200);
    app.stop().await;
}

#[tokio::test]
async fn s_09_a_callers_refusals_are_recorded_up_to_a_rate_and_counted_beyond_it() {
    let site = Site::new(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[limits]\nrefusals_per_minute = 2"));
    let app = site.start().await;
    for _ in 0..5 {
        let answer = site.api().credentials(&site.token(), &json!({ "role": "absent" })).await;
        assert_eq!(answer.code(), "role_unknown");
    }
    assert_eq!(site.rows("decisions WHERE outcome = 'role_unknown'"), 2);
    assert_eq!(site.counted(&app, "role_unknown").await, 3);
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn s_09_a_flood_of_bad_requests_is_one_row_a_minute() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for _ in 0..50 {
        site.api().deploy("a.b.c").await;
        site.api().get("/v1/whoami", Some("a.b.c")).await;
    }
    assert_eq!(site.counted(&app, "token_malformed").await, 100);
    assert_eq!((site.rows("refusal_counts"), site.rows("decisions")), (1, 0));
    app.stop().await;
}

/// A site whose role waits for a fact until the test lets it go on.
async fn held(limits: &str) -> (Site, FactServer, Arc<Semaphore>) {
    let server = FactServer::start().await;
    let go = Arc::new(Semaphore::new(0));
    server.says(Says::Wait(Arc::clone(&go)));
    let role = DEPLOY.replace("[jwt]", "sources = [\"slow\"]\n[jwt]");
    let site = Site::new(&[("config/roles/deploy.toml", role.as_str())]).await;
    site.write(
        "config/tollgate.toml",
        &site.settings(&format!("{limits}\n{}", server.settings("slow", "signed"))),
    );
    (site, server, go)
}

#[tokio::test]
async fn s_07_beyond_the_limit_requests_are_shed_and_probes_still_answered() {
    let (site, server, go) = held("[limits]\nconcurrency = 1").await;
    let app = site.start().await;
    let (api, token) = (site.api(), site.token());
    let first = tokio::spawn(async move { api.deploy(&token).await });
    server.until_asked(1).await;
    let shed = site.api().deploy(&site.token()).await;
    assert_eq!((shed.status, shed.code()), (503, "overloaded"));
    assert!(shed.headers.contains_key("retry-after"));
    let oauth = site.api().exchange(&site.token(), &[("audience", "deploy")]).await;
    assert_eq!(oauth.json["error"], "temporarily_unavailable");
    for probe in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(site.api().get(probe, None).await.status, 200, "{probe}");
    }
    assert_eq!(site.counted(&app, "overloaded").await, 2);
    go.add_permits(2);
    leased(&site, &app, &first.await.unwrap()).await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn c_08_a_flood_of_exchanges_does_not_keep_anybody_from_the_kill_switch() {
    let webhook = "[webhooks.siem]\nsecret = { value = \"0123456789abcdef0123456789abcdef\" }\nauth = \"bearer\"\n\
                   subjects = { repository = \"/repo\" }\nduration = \"1h\"";
    let (site, server, go) = held(&format!("[limits]\nconcurrency = 1\n{webhook}")).await;
    let app = site.start().await;
    let (api, token) = (site.api(), site.token());
    let first = tokio::spawn(async move { api.deploy(&token).await });
    server.until_asked(1).await;
    assert_eq!(site.api().deploy(&site.token()).await.code(), "overloaded");
    let headers =
        [("authorization", "Bearer 0123456789abcdef0123456789abcdef"), ("content-type", "application/json")];
    let alert = r#"{"repo":"acme/shop"}"#;
    site.api().send(Method::POST, "/v1/blocks/webhook/siem", &headers, alert).await.ok();
    go.add_permits(1);
    assert_eq!(first.await.unwrap().code(), "blocked", "what waited for its facts is stopped too");
    app.stop().await;
}

#[tokio::test]
async fn c_08_jobs_that_wait_leave_places_for_who_is_on_call() {
    let (site, server, go) = held("[limits]\nconcurrency = 8").await;
    site.write("config/roles/debug.toml", &on_call());
    let app = site.start().await;
    let ask = || (site.api(), site.token());
    let waiting: Vec<_> = (0..7)
        .map(|_| ask())
        .map(|(api, token)| tokio::spawn(async move { api.deploy(&token).await }))
        .collect();
    server.until_asked(7).await;
    let full = site.api().deploy(&site.token()).await;
    assert_eq!((full.status, full.headers["retry-after"].to_str().unwrap()), (503, "1"));
    refused(&site, &app, &full, "overloaded").await;
    let engineer = site.api().credentials(&site.token(), &json!({ "role": "debug" })).await;
    leased(&site, &app, &engineer).await;
    go.add_permits(7);
    for answer in waiting {
        leased(&site, &app, &answer.await.unwrap()).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_its_work_is_finished_and_recorded() {
    let (site, server, go) = held("[limits]\nrequest_timeout = \"1s\"").await;
    let app = site.start().await;
    let (token, key) = (site.token(), [("idempotency-key", "k-1")]);
    let body = json!({ "role": "deploy" });
    let late = site.api().credentials_with(&token, &body, &key).await;
    assert_eq!((late.status, late.code()), (504, "timeout"), "{}", late.text);
    server.until_asked(1).await;
    go.add_permits(2);
    // The advice of the answer holds: a retry with the same key gets a lease, and the lost one is ended.
    let again = site.api().credentials_with(&token, &body, &key).await;
    assert!(again.status == 200 || again.code() == "superseded", "{}", again.text);
    app.stop().await;
    assert_eq!(site.rows("leases WHERE end_asked_at IS NULL"), 1);
    assert_eq!(site.rows("authorisations WHERE state = 'open'"), 0);
}

#[tokio::test]
async fn a_client_that_hangs_up_leaves_a_recorded_lease_and_nothing_unknown() {
    let (site, server, go) = held("").await;
    let app = site.start().await;
    let (api, token) = (site.api(), site.token());
    let gone = tokio::spawn(async move { api.deploy(&token).await });
    server.until_asked(1).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    go.add_permits(1);
    // Stopping waits for what is in flight.
    app.stop().await;
    assert_eq!((site.rows("leases"), site.rows("authorisations")), (1, 0));
}

#[tokio::test]
async fn c_08_a_target_that_does_not_answer_keeps_nobody_else_waiting() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let target = format!(
        "provider = \"vault\"\naddress = \"http://{}\"\nmount = \"jwt\"\naudience = \"vault\"\nconcurrency = 8\n\
         insecure_loopback = true\n",
        silent.local_addr().unwrap()
    );
    let ordinary = ROLE.replace("target = \"bao\"", "target = \"silent\"");
    let on_call = format!("budget = \"on_call\"\n{}", ordinary.replace("\"app\"", "\"debug\""));
    let site = Site::new(&[
        ("config/targets/silent.toml", target.as_str()),
        ("config/roles/slow.toml", ordinary.as_str()),
        ("config/roles/slow-debug.toml", on_call.as_str()),
    ])
    .await;
    let app = site.start().await;
    let ask = |role: &'static str| {
        let (api, token) = (site.api(), site.token());
        async move { api.credentials(&token, &json!({ "role": role })).await }
    };
    let (mut waiting, mut connections) = (Vec::new(), Vec::new());
    for role in ["slow"; 7].into_iter().chain(["slow-debug"]) {
        waiting.push(tokio::spawn(ask(role)));
        connections.push(silent.accept().await.unwrap());
        if connections.len() == 7 {
            let busy = ask("slow").await;
            assert_eq!((busy.status, busy.headers["retry-after"].to_str().unwrap()), (503, "1"));
            refused(&site, &app, &busy, "provider_busy").await;
        }
    }
    refused(&site, &app, &ask("slow-debug").await, "provider_busy").await;
    leased(&site, &app, &site.api().deploy(&site.token()).await).await;
    drop((silent, connections));
    for answer in waiting {
        assert_eq!(answer.await.unwrap().code(), "provider_unavailable");
    }
    assert_eq!(ask("slow").await.code(), "provider_unavailable", "those that are gone make room");
    app.stop().await;
}
