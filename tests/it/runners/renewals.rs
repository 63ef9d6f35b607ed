//! Leases that were granted on a proved runner: renewed there alone, and ended by a block on it.

use http::Method;
use serde_json::{Value, json};
use std::time::Duration;

use super::{Fleet, role};
use crate::harness::api::Answer;
use crate::harness::book::leased;

const RENEWABLE: &str = "max_session = \"2h\"";

async fn renew(fleet: &Fleet, lease: &Value, actor: Option<&str>) -> Answer {
    let bearer = format!("Bearer {}", lease["secret"].as_str().unwrap());
    let mut headers = vec![("authorization", bearer.as_str())];
    headers.extend(actor.map(|actor| ("tollgate-actor-token", actor)));
    let path = format!("/v1/leases/{}/renew", lease["id"].as_str().unwrap());
    fleet.site.api().send(Method::POST, &path, &headers, "").await
}

#[tokio::test]
async fn i_22_a_lease_of_a_proved_runner_is_renewed_by_that_runner_alone() {
    let role = role(RENEWABLE);
    let fleet = Fleet::new(&[("config/roles/deploy.toml", &role)]).await;
    let app = fleet.site.start().await;
    let actor = fleet.actor();
    let granted = fleet.deploy(&actor).await;
    leased(&fleet.site, &app, &granted).await;
    let lease = &granted.json["lease"];
    fleet.site.clock.set(fleet.site.now() + Duration::from_mins(10));

    for (actor, code) in [
        (None, "runner_missing"),
        (Some(fleet.cluster.sign(&fleet.pod("runner-2"))), "runner_differs"),
        (Some(actor), "token_replayed"),
        (Some(fleet.site.token()), "actor_refused"),
    ] {
        let answer = renew(&fleet, lease, actor.as_deref()).await;
        assert_eq!(answer.code(), code, "{}", answer.text);
    }
    let renewed = renew(&fleet, lease, Some(&fleet.actor())).await.ok();
    assert_eq!(renewed["lease"]["dies_at"], "2026-03-02T10:25:00Z");
    app.stop().await;
}

#[tokio::test]
async fn a_lease_without_a_proved_runner_is_renewed_by_its_secret() {
    let role = role(RENEWABLE);
    let fleet = Fleet::new(&[("config/roles/deploy.toml", &role)]).await;
    let app = fleet.site.start().await;
    let granted = fleet.site.api().deploy(&fleet.site.token()).await.ok();
    fleet.site.clock.set(fleet.site.now() + Duration::from_mins(10));
    renew(&fleet, &granted["lease"], None).await.ok();
    app.stop().await;
}

#[tokio::test]
async fn c_15_a_block_on_a_runner_stops_and_ends_what_it_proved() {
    let fleet = Fleet::new(&[]).await;
    let url = fleet.cluster.url().to_owned();
    for name in ["uid-of-runner-1", "kubernetes:cluster:serviceaccount:0b6f3c1e-1"] {
        stops(&fleet, &format!("runner:{name}")).await;
    }
    stops(&fleet, &format!("issuer:{url}")).await;
}

/// A block on `subject` stops jobs on the runner alone, and marks their leases.
async fn stops(fleet: &Fleet, subject: &str) {
    let app = fleet.site.start().await;
    let before = fleet.site.rows("leases WHERE end_asked_at IS NOT NULL");
    leased(&fleet.site, &app, &fleet.deploy(&fleet.actor()).await).await;
    let elsewhere = fleet.site.api().deploy(&fleet.site.token()).await;
    leased(&fleet.site, &app, &elsewhere).await;
    let block = block(&app, subject).await;
    assert_eq!(fleet.deploy(&fleet.actor()).await.code(), "blocked", "{subject}");
    fleet.site.api().deploy(&fleet.site.token()).await.ok();
    let marked = fleet.site.rows("leases WHERE end_asked_at IS NOT NULL") - before;
    assert!(marked >= 1, "{subject} marked nothing");
    assert_eq!(status(fleet, &elsewhere).await["last_known"], json!("alive"), "{subject}");
    app.broker().ledger().lift_block(block, None, "a test".to_owned()).await.unwrap();
    app.stop().await;
}

async fn status(fleet: &Fleet, answer: &Answer) -> Value {
    let lease = &answer.json["lease"];
    let path = format!("/v1/leases/{}", lease["id"].as_str().unwrap());
    fleet.site.api().get(&path, lease["secret"].as_str()).await.ok()
}

pub(super) async fn block(app: &tollgate::app::App, subject: &str) -> tollgate::domain::BlockId {
    use tollgate::ledger::{BlocksSet, NewBlock};
    let new = NewBlock {
        tenant: None,
        subject: subject.parse().unwrap(),
        reason: "a test".parse().unwrap(),
        by: "a test".to_owned(),
        lasts: None,
    };
    match app.broker().block(vec![new], None).await.unwrap() {
        BlocksSet::InForce(blocks) => blocks[0],
        BlocksSet::SeenBefore => panic!("nothing was sent twice"),
    }
}

#[tokio::test]
async fn c_15_a_proof_of_another_runner_gets_around_no_block_on_the_number_that_the_job_says() {
    let fleet = Fleet::new(&[]).await;
    let file =
        fleet.site.issuer_file("replay = \"once\"\n[attributes]\nrunner_id = { claim = \"/runner_number\" }");
    fleet.site.write("config/issuers/ci.toml", &file);
    let app = fleet.site.start().await;
    let token = || fleet.site.token_with(&json!({ "runner_number": "7" }));
    let granted = fleet.deploy_with(&token(), &fleet.actor()).await;
    leased(&fleet.site, &app, &granted).await;
    block(&app, "runner:7").await;
    assert_eq!(fleet.deploy_with(&token(), &fleet.actor()).await.code(), "blocked");
    assert_ne!(status(&fleet, &granted).await["end_asked_at"], Value::Null);
    app.stop().await;
}
