//! A lease lives longer only while policy allows it, for the identity first verified, and never past its session.

use std::time::Duration;

use http::Method;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::Site;
use crate::harness::api::Answer;
use crate::harness::site::DEPLOY;

/// Lets trusted jobs through until eleven.
const UNTIL_ELEVEN: &str = r#"package ci.test

default allow := false

allow if {
	input.operation == "mint"
	input.identity.trust == "trusted"
	input.context.time < "11:00"
}
"#;

/// A site whose leases of fifteen minutes can be renewed for two hours.
async fn site(policy: &str) -> Site {
    let site = Site::new(&[("policies/ci/test.rego", policy)]).await;
    let role = DEPLOY.replace("policies =", "heartbeat = \"2m\"\nmax_session = \"2h\"\npolicies =");
    site.write("config/roles/deploy.toml", &role);
    site
}

/// An allowing policy that looks at no clock.
fn always() -> String {
    UNTIL_ELEVEN.replace("\tinput.context.time < \"11:00\"\n", "")
}

/// A lease as its answer describes it.
struct Lease {
    id: String,
    secret: String,
    answer: Value,
}

impl Lease {
    async fn of(site: &Site) -> Self {
        let answer = site.api().deploy(&site.token()).await.ok();
        let text = |name: &str| answer["lease"][name].as_str().unwrap().to_owned();
        Self { id: text("id"), secret: text("secret"), answer }
    }

    async fn renew(&self, site: &Site, body: &Value) -> Answer {
        site.api().post_lease(&self.id, "renew", &self.secret, body).await
    }

    async fn status(&self, site: &Site) -> Value {
        site.api().get(&format!("/v1/leases/{}", self.id), Some(&self.secret)).await.ok()
    }
}

fn pass(site: &Site, minutes: u64) {
    site.clock.set(site.now() + Duration::from_mins(minutes));
}

#[tokio::test]
async fn a_renewal_gives_another_token_under_the_same_lease_and_is_recorded() {
    let site = site(&always()).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    let told = &lease.answer["lease"];
    assert_eq!((&told["heartbeat_seconds"], &told["renewal"]), (&json!(120), &json!("replaces")));
    assert_eq!(told["renewable_until"], "2026-03-02T12:00:00Z");

    pass(&site, 10);
    let renewed = lease.renew(&site, &Value::Null).await.ok();
    assert_eq!(renewed["lease"]["id"], lease.id.as_str());
    assert_eq!(renewed["lease"]["dies_at"], "2026-03-02T10:25:00Z");
    assert_eq!(renewed["lease"].get("secret"), None, "it is told once");
    assert_ne!(renewed["credential"]["token"], lease.answer["credential"]["token"]);
    assert_eq!(renewed["scopes"], lease.answer["scopes"]);
    assert_eq!(lease.status(&site).await["dies_at"], "2026-03-02T10:25:00Z");

    let decision = renewed["decision"].as_str().unwrap();
    assert_ne!(decision, lease.answer["decision"].as_str().unwrap());
    let record = app.broker().ledger().decision(decision.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!((record.operation.as_str(), record.result.as_str()), ("mint", "allow"));
    assert_eq!(record.renews.map(|id| id.to_string()), Some(lease.id.clone()));
    assert_eq!(record.input.unwrap()["context"]["time"], "10:10", "facts of now");
    assert_eq!((site.rows("audit WHERE kind = 'renewed'"), site.rows("authorisations")), (1, 0));
    app.stop().await;
    let done = crate::harness::process::run(&["audit", "verify", "--store", site.store().to_str().unwrap()]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
}

#[tokio::test]
async fn p_09_policy_is_asked_again_at_every_renewal() {
    let site = site(UNTIL_ELEVEN).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    for _ in 0..4 {
        pass(&site, 14);
        lease.renew(&site, &Value::Null).await.ok();
    }
    pass(&site, 10);
    let denied = lease.renew(&site, &Value::Null).await;
    assert_eq!((denied.status, denied.code()), (403, "not_allowed"));
    let decision = denied.json["decision"].as_str().unwrap().parse().unwrap();
    let record = app.broker().ledger().decision(decision).await.unwrap().unwrap();
    assert_eq!(record.renews.map(|id| id.to_string()), Some(lease.id.clone()));
    assert_eq!(lease.status(&site).await["dies_at"], "2026-03-02T11:11:00Z", "as it was");
    app.stop().await;
}

#[tokio::test]
async fn no_renewal_reaches_past_the_session() {
    let site = site(&always()).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    let mut last = String::new();
    for _ in 0..11 {
        pass(&site, 10);
        let answer = lease.renew(&site, &json!({ "ttl": "1h" })).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.code()), (409, "lease_not_renewable"), "{}", answer.text);
            continue;
        }
        last = answer.json["lease"]["dies_at"].as_str().unwrap().to_owned();
        assert!(last.as_str() < "2026-03-02T12:00:00Z", "{last}");
    }
    assert!(last.as_str() > "2026-03-02T11:59:00Z", "{last}");
    app.stop().await;
}

#[tokio::test]
async fn what_would_not_live_longer_is_refused_and_what_is_over_says_so() {
    let site = site(&always()).await;
    let plain = DEPLOY.replace("[scopes.read]", "# not renewable\n[scopes.read]");
    site.write("config/roles/plain.toml", &plain);
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    for body in [Value::Null, json!({}), json!({ "ttl": "10m" })] {
        let early = lease.renew(&site, &body).await;
        assert_eq!((early.status, early.code()), (409, "lease_not_renewable"), "{body}: {}", early.text);
    }
    let answer = site.api().credentials(&site.token(), &json!({ "role": "plain" })).await.ok();
    assert_eq!(answer["lease"].get("renewable_until"), None);
    let text = |name: &str| answer["lease"][name].as_str().unwrap().to_owned();
    let refused = site.api().post_lease(&text("id"), "renew", &text("secret"), &Value::Null).await;
    assert_eq!((refused.status, refused.code()), (409, "lease_not_renewable"));

    assert_eq!(site.api().end(&lease.id, &lease.secret).await.status, 200);
    for what in ["renew", "heartbeat"] {
        let over = site.api().post_lease(&lease.id, what, &lease.secret, &Value::Null).await;
        assert_eq!((over.status, over.code()), (410, "lease_ended"), "{what}");
    }
    assert_eq!(site.rows("audit WHERE kind = 'renewed'"), 0);
    app.stop().await;
}

#[tokio::test]
async fn c_16_only_its_own_secret_renews_or_beats_for_a_lease() {
    let site = site(&always()).await;
    let app = site.start().await;
    let (mine, theirs) = (Lease::of(&site).await, Lease::of(&site).await);
    pass(&site, 10);
    for what in ["renew", "heartbeat"] {
        let token = site.token();
        for proof in [theirs.secret.as_str(), token.as_str()] {
            let refused = site.api().post_lease(&mine.id, what, proof, &Value::Null).await;
            assert_eq!((refused.status, refused.code()), (404, "lease_unknown"), "{what}");
        }
        let path = format!("/v1/leases/{}/{what}", mine.id);
        let bare = site.api().send(Method::POST, &path, &[], "").await;
        assert_eq!((bare.status, bare.code()), (401, "token_missing"));
    }
    app.stop().await;
}

#[tokio::test]
async fn an_identity_that_is_not_admitted_any_more_renews_nothing() {
    let site = site(&always()).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    pass(&site, 10);
    let others = site.issuer_file("").replace("\"65\"", "\"66\"");
    site.write("config/issuers/ci.toml", &others);
    app.reload().await.unwrap();
    let refused = lease.renew(&site, &Value::Null).await;
    assert_eq!(refused.code(), "identity_not_admitted", "{}", refused.text);
    app.stop().await;
}

#[tokio::test]
async fn who_can_write_to_the_store_cannot_renew_as_somebody_else() {
    let site = site(&always()).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    app.stop().await;
    let store = Connection::open(site.store()).unwrap();
    let changed =
        store.execute("UPDATE inputs SET body = replace(body, 'refs/heads/main', 'refs/heads/mine')", []);
    assert_eq!(changed.unwrap(), 1);
    let changed: i64 = store
        .query_row("SELECT count(*) FROM inputs WHERE body LIKE '%refs/heads/mine%'", [], |row| row.get(0))
        .unwrap();
    assert_eq!(changed, 1, "there is something to change");
    drop(store);
    let app = site.start().await;
    pass(&site, 10);
    let refused = lease.renew(&site, &Value::Null).await;
    assert_eq!(refused.code(), "lease_not_renewable", "{}", refused.text);
    app.stop().await;
}

#[tokio::test]
async fn a_heartbeat_says_what_is_known_of_the_lease() {
    let site = site(&always()).await;
    let app = site.start().await;
    let lease = Lease::of(&site).await;
    pass(&site, 1);
    let heard = site.api().post_lease(&lease.id, "heartbeat", &lease.secret, &Value::Null).await.ok();
    assert_eq!(
        (&heard["last_beat_at"], &heard["last_known"]),
        (&json!("2026-03-02T10:01:00Z"), &json!("alive"))
    );
    assert_eq!((&heard["heartbeat_seconds"], &heard["end_asked_at"]), (&json!(120), &Value::Null));
    app.stop().await;
}

#[tokio::test]
async fn a_ten_minute_outage_ends_no_lease_whose_holder_beats_again() {
    let site = site(&always()).await;
    let app = site.start().await;
    let (beating, silent) = (Lease::of(&site).await, Lease::of(&site).await);
    let beat = async |of: &Lease| site.api().post_lease(&of.id, "heartbeat", &of.secret, &Value::Null).await;
    app.broker().ledger().hear().await.unwrap();
    app.stop().await;
    // Five times as long as a holder may be silent, and still within the life of the credential.
    pass(&site, 10);
    let app = site.start().await;
    let ledger = app.broker().ledger();
    assert_eq!(ledger.hear().await.unwrap(), [], "nobody could have been heard");
    assert_eq!(beat(&beating).await.ok()["last_known"], "alive");
    // Silence counts again, from the time that the server is back: two minutes and the grace, in steps as it runs.
    for _ in 0..14 {
        site.clock.set(site.now() + Duration::from_secs(10));
        beat(&beating).await.ok();
        ledger.hear().await.unwrap();
    }
    assert_eq!(beating.status(&site).await["end_asked_at"], Value::Null);
    assert_ne!(silent.status(&site).await["end_asked_at"], Value::Null, "the other never came back");
    app.stop().await;
}
