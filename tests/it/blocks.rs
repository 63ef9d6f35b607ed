//! The kill switch, pulled on the broker's machine: issuing stops, what lives is ended, and the account is honest.

use serde_json::{Value, json};

use crate::harness::process;
use crate::harness::{Server, Site};

/// Runs `tollgate --json block …`: exit status, standard output as JSON, standard error.
fn block(site: &Site, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let config = site.config();
    let start = ["--json", "block", "--config", config.to_str().unwrap()];
    let done = process::run(&[&start[..], arguments].concat());
    let out = serde_json::from_slice(&done.stdout).unwrap_or(Value::Null);
    (done.status.code(), out, String::from_utf8(done.stderr).unwrap())
}

#[tokio::test]
async fn an_operator_blocks_looks_and_lifts() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    let api = site.api();
    let leased = api.deploy(&site.token()).await.ok();

    let subject = "repository:70107786";
    let (status, would, _) = block(&site, &["add", subject, "--reason", "test", "--dry-run"]);
    assert_eq!((status, &would["dies_at"], &would["would_end"]), (Some(0), &json!(1), &json!(0)));
    assert_eq!(would["affected"][0]["lease"], leased["lease"]["id"]);
    assert_eq!(api.deploy(&site.token()).await.status, 200, "a dry run blocks nothing");

    let (status, _, said) = block(&site, &["add", subject, "--reason", "test"]);
    assert_eq!(status, Some(64), "nobody confirmed: {said}");
    let (status, set, said) =
        block(&site, &["add", subject, "--reason", "token in a build log", "--for", "2h", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    assert_eq!((&set["dies_at"], &set["unknown"], &set["dead"]), (&json!(2), &json!(0), &json!(0)));
    assert!(set["last_death"].is_string(), "{set}");

    let refused = api.deploy(&site.token()).await;
    assert_eq!((refused.status, refused.code()), (403, "blocked"));
    assert!(!refused.text.contains("build log"), "the reason is not for the caller: {}", refused.text);
    let dry = api.credentials(&site.token(), &json!({ "role": "deploy", "dry_run": true })).await;
    assert_eq!(dry.code(), "blocked");
    let other = json!({ "repository_id": "12", "repository": "acme/other" });
    assert_eq!(api.deploy(&site.token_with(&other)).await.status, 200, "others are served");

    let id = set["block"]["id"].as_str().unwrap();
    let (_, listed, _) = block(&site, &["list"]);
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!((&listed[0]["id"], &listed[0]["subject"]), (&json!(id), &json!(subject)));
    assert_eq!(block(&site, &["lift", id]).0, Some(0));
    assert_eq!(api.deploy(&site.token()).await.status, 200);
    let (status, _, said) = block(&site, &["lift", id]);
    assert_eq!(status, Some(1));
    assert!(said.contains("block_unknown"), "{said}");
    assert_eq!(block(&site, &["list"]).1, json!([]));
    let (_, over, _) = block(&site, &["status", id]);
    assert!(over["block"]["lifted_by"].as_str().unwrap().starts_with("user "), "{over}");
}

#[tokio::test]
async fn a_block_outlives_the_server_and_its_reason_is_told_where_configured() {
    let site = Site::of_process(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[blocks]\ntell_reason = true\n"));
    let mut server = Server::start(&site.config(), "");
    let (status, _, said) = block(&site, &["add", "everything", "--reason", "incident 7", "--yes"]);
    assert_eq!(status, Some(0), "{said}");
    server.kill();
    let _server = Server::start(&site.config(), "");
    let refused = site.api().deploy(&site.token()).await;
    assert_eq!((refused.status, refused.code()), (403, "blocked"));
    assert_eq!(refused.json["detail"], "this is blocked: incident 7");
    // The socket alone is enough: whoever pulls the switch may have a configuration that does not load.
    let socket = site.path("ledger.db.sock");
    site.write("config/tollgate.toml", "broken");
    let done = process::run(&["--json", "block", "--socket", socket.to_str().unwrap(), "list"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
