//! One of two servers is cut off from the database: it grants nothing, the other goes on, and nobody has to help.

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::harness::parts::network::{Network, State};
use crate::harness::replicas::ask_until;
use crate::harness::wait::until;
use crate::harness::{Api, Replicas};

async fn is_ready(api: &Api) -> bool {
    api.get("/readyz", None).await.status == 200
}

/// Whether a decision is in the record.
fn is_explained(replicas: &Replicas, decision: &str) -> bool {
    replicas.command(&["explain", decision]).output().unwrap().status.success()
}

/// Cuts one server off under load, and puts it right again.
async fn is_survived(cut: State) {
    let replicas = Replicas::new().await;
    let network = Network::before(replicas.postgres.port).await;
    let _one = replicas.start("");
    let (_two, behind) = replicas.start_behind(&network);
    let (site, api) = (&replicas.site, replicas.site.api());
    let stop = CancellationToken::new();
    let of_both = [&api, &behind, &behind, &behind].map(|api| ask_until(api.clone(), site, &stop));
    let [a, b, c, d] = of_both;
    let other = || site.token_with(&json!({ "repository_id": "12", "repository": "acme/other" }));
    let story = async {
        for api in [&api, &behind] {
            until("it grants", async || api.deploy(&site.token()).await.status == 200).await;
        }
        network.set(cut);
        until("it is not ready", async || !is_ready(&behind).await).await;
        let refused = behind.deploy(&site.token()).await;
        assert_eq!((refused.status, refused.code()), (503, "store_unavailable"), "{}", refused.text);
        assert!(refused.json.get("credential").is_none());
        let denied = behind.deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
        assert_eq!((denied.status, denied.code()), (403, "not_allowed"), "it still denies: {}", denied.text);
        let denied = denied.json["decision"].as_str().unwrap().to_owned();
        assert!(!is_explained(&replicas, &denied), "where would it have been recorded?");

        // The other is in nobody's way, and need not wait for the one that is cut off to stop issuing there.
        assert!(is_ready(&api).await);
        api.deploy(&site.token()).await.ok();
        replicas.run(&["block", "add", "repository:12", "--reason", "cut", "--yes"]);
        assert_eq!(api.deploy(&other()).await.code(), "blocked");

        network.set(State::Whole);
        until("it grants again", async || behind.deploy(&site.token()).await.status == 200).await;
        assert!(is_ready(&behind).await);
        assert_eq!(behind.deploy(&other()).await.code(), "blocked");
        until("its denial is recorded", async || is_explained(&replicas, &denied)).await;
        assert_eq!(replicas.run(&["explain", &denied])["result"], "not_allowed");
        stop.cancel();
    };
    let (a, b, c, d, ()) = tokio::join!(a, b, c, d, story);
    replicas.all_recorded([a, b, c, d]);
    replicas.is_whole();
}

#[tokio::test(flavor = "multi_thread")]
async fn s_02_a_server_whose_network_breaks_grants_nothing_and_comes_back_by_itself() {
    is_survived(State::Broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s_02_a_server_whose_network_falls_silent_grants_nothing_and_comes_back_by_itself() {
    is_survived(State::Silent).await;
}
