//! Exchanges with the token of a runner.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::{Fleet, ON_RUNNER, role};
use crate::harness::Issuer;
use crate::harness::book::{counted, leased, refused};

const POLICY: (&str, &str) = ("policies/ci/test.rego", ON_RUNNER);
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// The claims of a token of Tollgate's.
fn claims(token: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap()).unwrap()
}

#[tokio::test]
async fn policy_sees_a_runner_that_proved_itself_and_the_token_names_it() {
    let fleet = Fleet::new(&[POLICY]).await;
    let app = fleet.site.start().await;
    let answer = fleet.deploy(&fleet.actor()).await;
    let record = leased(&fleet.site, &app, &answer).await;
    let runner = &record.input.as_ref().unwrap()["runner"];
    let expected = json!({
        "id": "uid-of-runner-1", "issuer": fleet.cluster.url(), "kind": "kubernetes", "pool": "deploy",
        "region": "eu-central-1", "node": "node-1", "tenant": "default",
        "principal": "kubernetes:cluster:serviceaccount:0b6f3c1e-1",
    });
    assert_eq!(*runner, expected);
    for member in runner.as_object().unwrap().keys() {
        let origin = &record.origins[&format!("runner.{member}")];
        assert_eq!(origin["origin"], "runner", "{member}: {origin}");
    }
    let token = claims(answer.json["credential"]["token"].as_str().unwrap());
    assert_eq!(token["act"], json!({ "sub": "kubernetes:cluster:serviceaccount:0b6f3c1e-1" }));
    assert!(token["sub"].as_str().unwrap().ends_with(":repository:70107786"), "{token}");

    let alone = fleet.site.api().deploy(&fleet.site.token()).await;
    let record = refused_without_runner(&fleet, &app, &alone).await;
    assert_eq!(record.get("runner"), None);
    app.stop().await;
}

async fn refused_without_runner(
    fleet: &Fleet,
    app: &tollgate::app::App,
    answer: &crate::harness::api::Answer,
) -> Value {
    refused(&fleet.site, app, answer, "not_allowed").await.input.unwrap()
}

#[tokio::test]
async fn the_token_endpoint_takes_it_as_the_rfc_has_it() {
    let fleet = Fleet::new(&[POLICY]).await;
    let app = fleet.site.start().await;
    let actor = fleet.actor();
    let more = [("audience", "deploy"), ("actor_token", actor.as_str()), ("actor_token_type", JWT)];
    let answer = fleet.site.api().exchange(&fleet.site.token(), &more).await;
    leased(&fleet.site, &app, &answer).await;
    assert_eq!(
        claims(answer.json["access_token"].as_str().unwrap())["act"]["sub"].as_str().map(str::len),
        Some(44)
    );
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_runners_token_that_is_not_good_proves_nothing_and_nothing_is_given() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    let now = fleet.site.now().as_second();
    let stranger = Issuer::start().await;
    let mut of_stranger = fleet.pod("runner-1");
    of_stranger["iss"] = stranger.url().into();
    for (actor, code, status) in [
        (fleet.actor_with(&[("iat", json!(now - 900)), ("exp", json!(now - 300))]), "token_expired", 401),
        (fleet.actor_with(&[("aud", json!(["https://sigstore.example"]))]), "token_audience_refused", 401),
        (fleet.cluster.forge(&fleet.pod("runner-1")), "token_signature_invalid", 401),
        (stranger.sign(&of_stranger), "issuer_unknown", 401),
        (fleet.site.token(), "actor_refused", 401),
        (
            fleet.actor_with(&[("kubernetes.io", json!({ "namespace": "deploy" }))]),
            "token_claim_invalid",
            401,
        ),
    ] {
        let answer = fleet.deploy(&actor).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        let record = refused(&fleet.site, &app, &answer, code).await;
        assert!(record.principal.ends_with(":repository:70107786"), "the job is known: {}", record.principal);
    }
    assert_eq!(stranger.asked(), 0);
    app.stop().await;
}

#[tokio::test]
async fn a_pod_without_what_its_id_is_made_of_is_no_runner() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    let mut claims = fleet.pod("runner-1");
    claims["kubernetes.io"].as_object_mut().unwrap().remove("pod");
    let answer = fleet.deploy(&fleet.cluster.sign(&claims)).await;
    refused(&fleet.site, &app, &answer, "token_claim_invalid").await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_a_runner_alone_is_nobody_and_a_job_is_no_runner() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    let alone = fleet.site.api().deploy(&fleet.actor()).await;
    assert_eq!(alone.status, 403, "{}", alone.text);
    counted(&fleet.site, &app, &alone, "runner_not_identity").await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_the_same_token_twice_is_one_proof() {
    let fleet = Fleet::new(&[]).await;
    let file = fleet.issuer_file("").replace("[runner]\n", "[runner]\nidentities = true\n");
    fleet.site.write("config/issuers/cluster.toml", &file);
    let app = fleet.site.start().await;
    let actor = fleet.actor();
    refused(&fleet.site, &app, &fleet.deploy_with(&actor, &actor).await, "actor_refused").await;
    let who = fleet.site.api().get("/v1/whoami", Some(&actor)).await.ok();
    assert_eq!(who["kind"], "kubernetes", "an entry that says so vouches for identities too");
    app.stop().await;
}

/// Two valid tokens that have nothing to do with each other: what a proof of the runner does not say.
#[tokio::test]
async fn i_22_unrelated_tokens_are_two_proofs_unless_policy_joins_them() {
    let joins = "package ci.test

default allow := false

allow if input.runner.id == input.identity.claims.runner_pod
";
    let fleet = Fleet::new(&[("policies/ci/test.rego", joins)]).await;
    let app = fleet.site.start().await;
    let stolen = fleet.site.token_with(&json!({ "runner_pod": "uid-of-runner-9" }));
    refused(&fleet.site, &app, &fleet.deploy_with(&stolen, &fleet.actor()).await, "not_allowed").await;
    let own = fleet.site.token_with(&json!({ "runner_pod": "uid-of-runner-1" }));
    leased(&fleet.site, &app, &fleet.deploy_with(&own, &fleet.actor()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_unrelated_tokens_of_one_tenant_are_taken_by_a_role_that_asks_for_no_more() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    leased(&fleet.site, &app, &fleet.deploy(&fleet.actor()).await).await;
    app.stop().await;
}

#[tokio::test]
async fn i_22_job_and_runner_share_a_tenant_unless_the_role_says_otherwise() {
    let roles = [role(""), role("same_tenant = false")];
    let files = [("config/roles/deploy.toml", roles[0].as_str()), ("config/roles/shared.toml", &roles[1])];
    let fleet = Fleet::new(&files).await;
    fleet.site.write("config/issuers/cluster.toml", &fleet.issuer_file("tenant = \"other\""));
    let app = fleet.site.start().await;
    let answer = fleet.deploy(&fleet.actor()).await;
    assert_eq!(answer.status, 403, "{}", answer.text);
    refused(&fleet.site, &app, &answer, "runner_tenant_differs").await;
    let (body, actor) = (json!({ "role": "shared" }), fleet.actor());
    let headers = [("tollgate-actor-token", actor.as_str())];
    let shared = fleet.site.api().credentials_with(&fleet.site.token(), &body, &headers).await;
    leased(&fleet.site, &app, &shared).await;
    app.stop().await;
}

#[tokio::test]
async fn a_role_can_require_a_runner_or_refuse_one() {
    let roles = [role("runner = \"required\""), role("runner = \"refused\"")];
    let files = [("config/roles/deploy.toml", roles[0].as_str()), ("config/roles/never.toml", &roles[1])];
    let fleet = Fleet::new(&files).await;
    let app = fleet.site.start().await;
    let without = fleet.site.api().deploy(&fleet.site.token()).await;
    refused(&fleet.site, &app, &without, "runner_missing").await;
    let (body, actor) = (json!({ "role": "never" }), fleet.actor());
    let headers = [("tollgate-actor-token", actor.as_str())];
    let unwanted = fleet.site.api().credentials_with(&fleet.site.token(), &body, &headers).await;
    refused(&fleet.site, &app, &unwanted, "runner_unwanted").await;
    leased(&fleet.site, &app, &fleet.deploy(&actor).await).await;
    app.stop().await;
}

#[tokio::test]
async fn i_10_a_runners_token_is_taken_once_per_role_as_its_issuer_says() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    let (actor, token) = (fleet.actor(), fleet.site.token());
    leased(&fleet.site, &app, &fleet.deploy(&actor).await).await;
    refused(&fleet.site, &app, &fleet.deploy_with(&token, &actor).await, "token_replayed").await;
    // What was refused for the runner's token did not use the job's up.
    leased(&fleet.site, &app, &fleet.deploy_with(&token, &fleet.actor()).await).await;
    app.stop().await;

    fleet.site.write("config/issuers/cluster.toml", &fleet.issuer_file("replay = \"off\""));
    let app = fleet.site.start().await;
    for _ in 0..2 {
        leased(&fleet.site, &app, &fleet.deploy(&actor).await).await;
    }
    app.stop().await;
}

#[tokio::test]
async fn p_06_nothing_declared_fills_input_runner() {
    let declares = role("").replace("[scopes.read]", "[declared.runner]\ntype = \"text\"\n\n[scopes.read]");
    let claims_it = "package ci.test\n\nallow if input.runner\n";
    let fleet =
        Fleet::new(&[("config/roles/deploy.toml", &declares), ("policies/ci/test.rego", claims_it)]).await;
    let app = fleet.site.start().await;
    let body = json!({ "role": "deploy", "declared": { "runner": "uid-of-runner-1" } });
    let token =
        fleet.site.token_with(&json!({ "runner": { "id": "x" }, "runner_environment": "self-hosted" }));
    let answer = fleet.site.api().credentials(&token, &body).await;
    let input = refused(&fleet.site, &app, &answer, "not_allowed").await.input.unwrap();
    assert_eq!((input.get("runner"), &input["context"]["runner"]), (None, &json!("uid-of-runner-1")));
    app.stop().await;
}

#[tokio::test]
async fn whoami_shows_the_runner() {
    let fleet = Fleet::new(&[]).await;
    let app = fleet.site.start().await;
    let (bearer, actor) = (format!("Bearer {}", fleet.site.token()), fleet.actor());
    let headers = [("authorization", bearer.as_str()), ("tollgate-actor-token", actor.as_str())];
    let who = fleet.site.api().send(http::Method::GET, "/v1/whoami", &headers, "").await.ok();
    assert_eq!(
        (&who["runner"]["id"], &who["runner"]["issuer"]),
        (&json!("uid-of-runner-1"), &json!("cluster"))
    );
    assert_eq!(who["runner"]["pool"], "deploy");
    app.stop().await;
}
