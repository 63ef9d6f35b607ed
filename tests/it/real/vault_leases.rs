//! Leases at a real `OpenBao`: renewed while a command runs, and ended when nobody hears of their holder.

use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::harness::parts::bao::{Bao, ROLE};
use crate::harness::parts::job::{job, run, script, trusted};
use crate::harness::wait::{soon, until};
use crate::harness::{Server, Site};

/// The role `vault/app` with more of a lease's life, written before its policies.
fn role(more: &str) -> String {
    ROLE.replace("policies = [\"ci.test\"]", &format!("{more}\npolicies = [\"ci.test\"]"))
}

async fn site(bao: &Bao, more: &str) -> Site {
    bao.site(&[("config/roles/vault/app.toml", &role(more))]).await
}

/// Shows the token, and goes on until told to end.
const CHILD: &str = r#"
    printf %s "$VAULT_TOKEN" > token.new
    mv token.new token
    until [ -e go ]; do sleep 0.05; done
    bao kv get -field=value secret/app
"#;

#[tokio::test(flavor = "multi_thread")]
async fn exec_renews_while_its_command_runs_and_the_token_dies_with_it() {
    let bao = Bao::start().await;
    let site = site(&bao, "heartbeat = \"5s\"\nmax_session = \"1h\"").await;
    let _server = Server::start(&site.config(), "");
    bao.trust(&site).await;
    let child = job(&site, &["exec", "vault/app", "--ttl", "6s", "--", "sh", "-c", CHILD]);
    let running = tokio::spawn(run(trusted(child, &site)));
    until("the job runs", async || site.path("token").exists()).await;
    let token = std::fs::read_to_string(site.path("token")).unwrap();
    let found = bao.lookup(&token).await.unwrap();
    assert_eq!((&found["explicit_max_ttl"], &found["renewable"]), (&json!(3600), &json!(false)));
    // It is granted 6 seconds at first, and fifteen minutes by the renewal: whoever sees more has seen one.
    let store = site.store();
    soon("the renewal", async || {
        let store = rusqlite::Connection::open(&store).unwrap();
        let renewed: i64 = store
            .query_row("SELECT count(*) FROM audit WHERE kind = 'renewed'", [], |row| row.get(0))
            .unwrap();
        (renewed > 0).then_some(())
    })
    .await;
    assert!(bao.living().await.iter().any(|token| token.decision.is_none() && token.ttl > 6));
    site.write("go", "");
    assert_eq!(running.await.unwrap().ok(), "app");
    assert_eq!(bao.lookup(&token).await, None, "ended with the job, long before its session");
    assert_eq!(bao.living().await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_silent_holder_dies_at_openbao_and_that_of_one_that_beats_lives() {
    let bao = Bao::start().await;
    let site = site(&bao, "heartbeat = \"5s\"").await;
    // It beats without a pause, which is more than the requests that a lease has by default.
    site.write("config/tollgate.toml", &site.settings("[limits]\nlookups_per_minute = 100000\n"));
    let app = site.start().await;
    bao.trust(&site).await;
    let ask = json!({ "role": "vault/app" });
    let silent = site.api().credentials(&site.token(), &ask).await.ok();
    let beating = site.api().credentials(&site.token(), &ask).await.ok();
    let text = |of: &Value, name: &str| of["lease"][name].as_str().unwrap().to_owned();
    let token = |of: &Value| of["credential"]["token"].as_str().unwrap().to_owned();
    let (id, secret) = (text(&beating, "id"), text(&beating, "secret"));
    until("the silent one is dead", async || {
        site.api().post_lease(&id, "heartbeat", &secret, &Value::Null).await.ok();
        bao.lookup(&token(&silent)).await.is_none()
    })
    .await;
    assert!(bao.lookup(&token(&beating)).await.is_some());
    let status = format!("/v1/leases/{}", text(&silent, "id"));
    soon("the record of its end", async || {
        let known = site.api().get(&status, Some(&text(&silent, "secret"))).await.ok();
        (known["last_known"] == "ended").then_some(())
    })
    .await;
    app.stop().await;
}

/// Takes a credential into its own environment, and ends it when it is done with it.
const REVOKES: &str = r#"
    eval "$("$TOLLGATE" env vault/app)"
    printf %s "$VAULT_TOKEN" > token
    bao kv get -field=value secret/app
    "$TOLLGATE" --json revoke
    ! TOLLGATE_LEASE_SECRET='' "$TOLLGATE" revoke
    ! TOLLGATE_LEASE_SECRET=tgl_wrong "$TOLLGATE" revoke
"#;

#[tokio::test(flavor = "multi_thread")]
async fn revoke_ends_what_env_left() {
    let bao = Bao::start().await;
    let site = site(&bao, "").await;
    let _server = Server::start(&site.config(), "");
    bao.trust(&site).await;
    let done = run(trusted(script(&site, REVOKES), &site)).await;
    assert!(done.ok().contains("\"last_known\":\"ended\""), "{done:?}");
    assert!(done.err.contains("no lease secret is given") && done.err.contains("lease_unknown"), "{done:?}");
    let token = std::fs::read_to_string(site.path("token")).unwrap();
    assert_eq!(bao.lookup(&token).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewed_token_lives_as_long_as_the_answer_says() {
    let bao = Bao::start().await;
    let site = site(&bao, "max_session = \"1h\"").await;
    let app = site.start().await;
    bao.trust(&site).await;
    let leased =
        site.api().credentials(&site.token(), &json!({ "role": "vault/app", "ttl": "60s" })).await.ok();
    let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
    let renewed =
        site.api().post_lease(&lease("id"), "renew", &lease("secret"), &json!({ "ttl": "30m" })).await.ok();
    assert_eq!(renewed.get("credential"), None, "the holder keeps its token");
    assert_eq!(renewed["lease"]["revocable"], "now");
    let dies_at: jiff::Timestamp = renewed["lease"]["dies_at"].as_str().unwrap().parse().unwrap();
    let login = bao.living().await.into_iter().find(|token| token.decision.is_none()).unwrap();
    let lives = dies_at.duration_since(Clock::system().now()).as_secs();
    assert!((login.ttl.cast_signed() - lives).abs() <= 5, "{} s, told {lives} s", login.ttl);
    // A policy that the login lacks: OpenBao refuses, and the lease stays as it was.
    bao.write(
        "sys/policies/acl/tollgate-login",
        json!({ "policy": "path \"secret/none\" { capabilities = [\"read\"] }" }),
    )
    .await;
    let refused =
        site.api().post_lease(&lease("id"), "renew", &lease("secret"), &json!({ "ttl": "50m" })).await;
    assert_eq!((refused.status, refused.code()), (502, "provider_refused"), "{}", refused.text);
    let known = site.api().get(&format!("/v1/leases/{}", lease("id")), Some(&lease("secret"))).await.ok();
    assert_eq!(known["dies_at"], renewed["lease"]["dies_at"]);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn p_09_no_renewal_at_openbao_reaches_past_the_session_or_what_policy_says_now() {
    let bao = Bao::start().await;
    let role = role("max_session = \"20m\"").replace("max = \"1h\"", "max = \"20m\"");
    let site = bao.site(&[("config/roles/vault/app.toml", &role)]).await;
    let app = site.start().await;
    bao.trust(&site).await;
    let leased =
        site.api().credentials(&site.token(), &json!({ "role": "vault/app", "ttl": "60s" })).await.ok();
    let lease = |name: &str| leased["lease"][name].as_str().unwrap().to_owned();
    let renew = async |ttl: &str| {
        site.api().post_lease(&lease("id"), "renew", &lease("secret"), &json!({ "ttl": ttl })).await
    };
    // The login, whose death is that of the credential.
    let left = async || bao.living().await.into_iter().find(|token| token.decision.is_none()).unwrap().ttl;
    assert!(left().await <= 60);
    let renewed = renew("20m").await.ok();
    let time = |text: &Value| text.as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    let (dies_at, session_ends) =
        (time(&renewed["lease"]["dies_at"]), time(&leased["lease"]["renewable_until"]));
    assert!(dies_at <= session_ends, "{dies_at} {session_ends}");
    let session = session_ends.duration_since(Clock::system().now()).as_secs();
    assert!((61..=1200).contains(&left().await) && left().await.cast_signed() <= session + 1);

    let before = left().await;
    site.write("policies/ci/test.rego", "package ci.test\n\ndefault allow := false\n");
    app.reload().await.unwrap();
    let refused = renew("20m").await;
    assert_eq!((refused.status, refused.code()), (403, "not_allowed"), "{}", refused.text);
    assert!(left().await <= before);
    app.stop().await;
}
