//! The whole path to `OpenBao`: a job's token goes in, a child token comes out, and `OpenBao` says what it may do.

use jiff::SignedDuration;
use serde_json::json;
use tollgate::clock::Clock;

use crate::harness::parts::bao::Bao;
use crate::harness::parts::job::{job, run, trusted};
use crate::harness::wait::until;
use crate::harness::{Server, Site};

/// Reads the granted secret and one that is not, shows the token, and goes on until told to end.
const CHILD: &str = r#"
    bao kv get -field=value secret/app
    bao kv get secret/other && exit 90
    printf %s "$VAULT_TOKEN" > token.new
    mv token.new token
    rounds=0
    until [ -e go ] || [ $rounds -gt 1000 ]; do sleep 0.05; rounds=$((rounds + 1)); done
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_job_reads_its_secret_and_nothing_else_and_the_token_dies_with_the_job() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let _server = Server::start(&site.config(), "");
    bao.trust(&site).await;

    let child = job(&site, &["exec", "vault/app", "--ttl", "10m", "--", "sh", "-c", CHILD]);
    let running = tokio::spawn(run(trusted(child, &site)));
    until("the job has read its secret", async || site.path("token").exists()).await;
    let token = std::fs::read_to_string(site.path("token")).unwrap();

    let found = bao.lookup(&token).await.expect("the token lives as long as the job");
    assert_eq!(found["policies"], json!(["read-app"]));
    assert_eq!((&found["explicit_max_ttl"], &found["renewable"]), (&json!(600), &json!(false)));
    let principal = found["meta"]["principal"].as_str().unwrap();
    assert!(principal.starts_with("github:") && principal.ends_with(":repository:70107786"), "{principal}");
    assert!(found["meta"]["decision"].is_string());
    assert_eq!(bao.read("secret/app", &token).await, (200, json!({ "value": "app" })));
    assert_eq!(bao.read("secret/other", &token).await.0, 403);

    site.write("go", "");
    let done = running.await.unwrap();
    assert_eq!(done.ok(), "app");
    assert!(done.err.contains("permission denied"), "the other secret was refused by OpenBao: {done:?}");
    assert_eq!(bao.lookup(&token).await, None);
    assert_eq!(bao.living().await.len(), 0, "neither a login nor a child is left");
}

#[tokio::test]
async fn openbao_follows_the_federation_keys_across_a_rotation() {
    let bao = Bao::start().await;
    let mut site = bao.site(&[]).await;
    // The key that a rotation publishes signs an hour later, which is now; OpenBao lives in the real time.
    let (hour, now) = (SignedDuration::from_secs(3610), Clock::system().now());
    site.clock = Clock::manual(now - hour);
    let app = site.start().await;
    bao.trust(&site).await;
    let leeway = json!({ "expiration_leeway": "3h", "not_before_leeway": "3h", "clock_skew_leeway": "3h" });
    bao.login_role("app", leeway).await;
    let ask = json!({ "role": "vault/app" });
    site.api().credentials(&site.token(), &ask).await.ok();
    let before = published(&site).await;

    let rotated = run(job(&site, &["keys", "--config", "config", "rotate", "federation"])).await;
    assert!(rotated.ok().contains("published"), "{rotated:?}");
    site.api().credentials(&site.token(), &ask).await.ok();
    assert_eq!(published(&site).await.len(), before.len() * 2, "both keys are published");
    app.stop().await;

    site.clock.set(now);
    let app = site.start().await;
    let states = run(job(&site, &["--json", "keys", "--config", "config", "list"])).await;
    let states: serde_json::Value = serde_json::from_str(states.ok()).unwrap();
    let active = states
        .as_array()
        .unwrap()
        .iter()
        .filter(|key| key["purpose"] == "federation" && key["state"] == "active");
    assert!(
        active.clone().count() > 0 && active.clone().all(|key| !before.contains(&key["kid"])),
        "{states}"
    );
    site.api().credentials(&site.token(), &ask).await.ok();
    app.stop().await;
}

/// The ids of the federation keys that the world sees.
async fn published(site: &Site) -> Vec<serde_json::Value> {
    let keys = site.api().get("/federation/jwks", None).await.ok();
    keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect()
}

#[tokio::test]
async fn a_sealed_or_stopped_server_is_unavailable_and_nothing_is_leased() {
    let mut bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let ask = json!({ "role": "vault/app" });

    bao.seal().await;
    let sealed = site.api().credentials(&site.token(), &ask).await;
    assert_eq!((sealed.status, sealed.code()), (503, "provider_unavailable"));
    bao.unseal().await;
    assert_eq!(bao.living().await.len(), 0);
    bao.stop();
    let stopped = site.api().credentials(&site.token(), &ask).await;
    assert_eq!((stopped.status, stopped.code()), (503, "provider_unavailable"));

    let ledger = app.broker().ledger();
    for refused in [sealed, stopped] {
        let decision = refused.json["decision"].as_str().unwrap().parse().unwrap();
        assert_eq!(ledger.decision(decision).await.unwrap().unwrap().result, "provider_unavailable");
    }
    assert!(ledger.unleased(site.now()).await.unwrap().is_empty());
    let job = run(trusted(job(&site, &["exec", "vault/app", "--", "true"]), &site)).await;
    assert_eq!(job.code(), Some(69), "{job:?}");
    app.stop().await;
}
