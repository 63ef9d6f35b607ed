//! `/v1/blocks`: whoever policy lets may block within reach of its tenant, and nobody else.

use http::Method;
use serde_json::{Value, json};

use crate::harness::api::Answer;
use crate::harness::book::refused;
use crate::harness::{JobKey, Site};

/// Lets the actor `responder` block everything but everything.
const RESPONDER: &str = "package ops.incident

default allow := false

allow if {
	input.operation == \"block\"
	responder
}

responder if input.identity.actor == \"responder\"

deny contains \"only responders block\" if not responder
";

async fn site(more: &str) -> Site {
    let site = Site::new(&[("policies/ops/incident.rego", RESPONDER)]).await;
    let operations = format!("[operations]\nblock = [\"ops.incident\"]\n{more}");
    site.write("config/tollgate.toml", &site.settings(&operations));
    let bank = site
        .issuer_file("replay = \"once\"")
        .replace("tenant = \"default\"", "tenant = \"bank\"")
        .replace(&format!("audience = \"{}\"", site.url), "audience = \"bank\"");
    site.write("config/issuers/bank.toml", &bank);
    site
}

fn responder(site: &Site, tenant: &str) -> String {
    let audience = if tenant == "bank" { "bank" } else { site.url.as_str() };
    site.token_with(
        &json!({ "actor": "responder", "repository_id": "7", "repository": "acme/ops", "aud": audience }),
    )
}

async fn call(site: &Site, method: Method, path: &str, token: &str, body: &Value) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    site.api().send(method, path, &headers, &body).await
}

async fn set(site: &Site, token: &str, body: Value) -> Answer {
    call(site, Method::POST, "/v1/blocks", token, &body).await
}

#[tokio::test]
async fn a_responder_sets_looks_at_and_lifts_a_block_and_all_of_it_is_on_record() {
    let site = site("all_tenants = [\"block\"]\n").await;
    let app = site.start().await;
    let leased = site.api().deploy(&site.token()).await.ok();
    let body = json!({ "subject": "repository:acme/shop", "reason": "incident 7", "for": "2h" });

    let mut dry = body.clone();
    dry["dry_run"] = json!(true);
    let would = set(&site, &responder(&site, "default"), dry).await.ok();
    assert_eq!((&would["dies_at"], &would["affected"][0]["lease"]), (&json!(1), &leased["lease"]["id"]));
    assert_eq!(site.rows("blocks"), 0);

    let blocked = set(&site, &responder(&site, "default"), body).await.ok();
    let id = blocked["block"]["id"].as_str().unwrap();
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");
    let seen_by_all =
        call(&site, Method::GET, "/v1/blocks", &responder(&site, "default"), &Value::Null).await.ok();
    assert_eq!(seen_by_all["blocks"][0]["id"], id);
    let path = format!("/v1/blocks/{id}");
    let seen = call(&site, Method::GET, &path, &responder(&site, "default"), &Value::Null).await.ok();
    assert_eq!((&seen["block"]["subject"], &seen["dies_at"]), (&json!("repository:acme/shop"), &json!(1)));
    let lifted = call(&site, Method::DELETE, &path, &responder(&site, "default"), &Value::Null).await;
    assert_eq!(lifted.status, 204);
    let gone = call(&site, Method::DELETE, &path, &responder(&site, "default"), &Value::Null).await;
    assert_eq!((gone.status, gone.code()), (404, "block_unknown"));
    assert_eq!(site.api().deploy(&site.token()).await.status, 200);
    assert_eq!(site.rows("decisions WHERE operation = 'block' AND outcome = 'permit'"), 6);
    assert_eq!(site.rows("audit WHERE kind IN ('block_set', 'block_marked', 'block_lifted')"), 3);
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_proof_sets_one_block_and_no_other() {
    let site = site("").await;
    let app = site.start().await;
    let key = JobKey::new();
    let audience = format!("{}#jkt={}", site.url, key.thumbprint());
    let claims =
        json!({ "actor": "responder", "repository_id": "7", "repository": "acme/ops", "aud": audience });
    let token = site.token_with(&claims);
    let proof = key.proof(&site, "POST", "/v1/blocks", &token, &json!({}));
    let send = async |proof: &str, subject: &str| {
        let bearer = format!("DPoP {token}");
        let headers =
            [("authorization", bearer.as_str()), ("dpop", proof), ("content-type", "application/json")];
        let body = json!({ "subject": subject, "reason": "incident 7" }).to_string();
        site.api().send(Method::POST, "/v1/blocks", &headers, &body).await
    };
    send(&proof, "repository:acme/shop").await.ok();
    let again = send(&proof, "everything").await;
    refused(&site, &app, &again, "proof_replayed").await;
    assert_eq!(site.rows("blocks"), 1);
    let fresh = key.proof(&site, "POST", "/v1/blocks", &token, &json!({}));
    send(&fresh, "repository:acme/other").await.ok();
    app.stop().await;
}

#[tokio::test]
async fn whom_policy_does_not_let_or_who_is_blocked_cannot_block_or_lift() {
    let site = site("all_tenants = [\"block\"]\n").await;
    let app = site.start().await;
    let body = || json!({ "subject": "everything", "reason": "mischief" });
    let denied = set(&site, &site.token(), body()).await;
    assert_eq!((denied.status, denied.code()), (403, "policy_denied"));
    assert_eq!(site.rows("blocks"), 0);

    let ops =
        set(&site, &responder(&site, "default"), json!({ "subject": "repository:7", "reason": "own goal" }))
            .await;
    let id = ops.ok()["block"]["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/blocks/{id}");
    let lifted = call(&site, Method::DELETE, &path, &responder(&site, "default"), &Value::Null).await;
    assert_eq!(
        (lifted.status, lifted.code()),
        (403, "blocked"),
        "whoever is blocked does not lift the block"
    );
    app.broker().lift(id.parse().unwrap(), None, "a test".into()).await.unwrap();

    let all = set(&site, &responder(&site, "default"), body()).await.ok();
    assert_eq!(site.api().deploy(&site.token()).await.code(), "blocked");
    let path = format!("/v1/blocks/{}", all["block"]["id"].as_str().unwrap());
    let lifted = call(&site, Method::DELETE, &path, &responder(&site, "default"), &Value::Null).await;
    assert_eq!(lifted.status, 204, "a block on everything stops issuing, and can be lifted");

    for (bad, part) in [
        (json!({ "reason": "x" }), "subject"),
        (json!({ "subject": "everything" }), "reason"),
        (json!({ "subject": "nonsense", "reason": "x" }), "subject"),
        (json!({ "subject": "everything", "reason": "a\nb" }), "reason"),
        (json!({ "subject": "everything", "reason": "x", "for": "soon" }), "for"),
        (json!({ "subject": "everything", "reason": "x", "fro": "2h" }), "did you mean `for`"),
    ] {
        let refused = set(&site, &responder(&site, "default"), bad).await;
        assert_eq!((refused.status, refused.code()), (400, "request_malformed"), "{}", refused.text);
        assert!(refused.json["detail"].as_str().unwrap().contains(part), "{}", refused.text);
    }
    app.stop().await;
}

#[tokio::test]
async fn c_07_a_tenants_block_holds_and_is_seen_in_that_tenant_alone() {
    let site = site("").await;
    let app = site.start().await;
    let body = json!({ "subject": "everything", "reason": "incident of the bank" });
    let set = set(&site, &responder(&site, "bank"), body).await.ok();
    assert_eq!(set["block"]["tenant"], "bank");
    assert_eq!(site.api().deploy(&site.token()).await.status, 200, "another tenant goes on");

    let path = format!("/v1/blocks/{}", set["block"]["id"].as_str().unwrap());
    for method in [Method::GET, Method::DELETE] {
        let foreign = call(&site, method, &path, &responder(&site, "default"), &Value::Null).await;
        assert_eq!((foreign.status, foreign.code()), (404, "block_unknown"));
    }
    let listed =
        call(&site, Method::GET, "/v1/blocks", &responder(&site, "default"), &Value::Null).await.ok();
    assert_eq!(listed["blocks"], json!([]));
    let elsewhere = json!({ "subject": "everything", "reason": "x", "tenant": "bank" });
    let refused = call(&site, Method::POST, "/v1/blocks", &responder(&site, "default"), &elsewhere).await;
    assert_eq!((refused.status, refused.code()), (403, "not_allowed"));
    app.stop().await;
}
