//! Proof of the record, by the command line: whole, tampered with, cut, rolled back; and its copies.

use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use crate::harness::wait::soon;
use crate::harness::{Server, Site, process};

/// Runs the server for three exchanges.
async fn three_exchanges(site: &Site) {
    let mut server = Server::start(&site.config(), "");
    for _ in 0..3 {
        site.api().deploy(&site.token()).await.ok();
    }
    server.signal("TERM");
    assert!(server.wait().success());
}

/// A copy of the store, which no server is running on.
fn copy(site: &Site, name: &str) -> std::path::PathBuf {
    let copy = site.path(name);
    Connection::open(site.store()).unwrap().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    copy
}

/// Exit status and findings of `tollgate audit verify --store … --json`.
fn verify(store: &Path, more: &[&str]) -> (Option<i32>, Value) {
    let store = ["--json", "audit", "verify", "--store", store.to_str().unwrap()];
    let done = process::run(&[&store, more].concat());
    (done.status.code(), serde_json::from_slice(&done.stdout).unwrap_or_else(|_| panic!("{done:?}")))
}

fn change(store: &Path, sql: &str) {
    assert!(Connection::open(store).unwrap().execute(sql, []).unwrap() > 0);
}

#[tokio::test]
async fn a_whole_record_is_whole_while_the_server_runs_and_after() {
    let site = Site::of_process(&[]).await;
    three_exchanges(&site).await;
    let (status, report) = verify(&site.store(), &[]);
    assert_eq!((status, &report["intact"]), (Some(0), &Value::Bool(true)), "{report}");
    assert!(report["checkpoints"].as_u64().unwrap() >= 1);
    assert_eq!(report["unproven_since"], Value::Null, "a stop signs the tail");
    let _server = Server::start(&site.config(), "");
    let config = site.config();
    let done = process::run(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains("checkpoints and keys of this store itself"), "{said}");
}

#[tokio::test]
async fn a_tampered_copy_names_writer_and_record() {
    let site = Site::of_process(&[]).await;
    three_exchanges(&site).await;
    let tampered = copy(&site, "tampered.db");
    assert_eq!(verify(&tampered, &[]).0, Some(0), "the copy is whole before");
    change(&tampered, "UPDATE decisions SET role = 'admin' WHERE n = 2");
    let (status, report) = verify(&tampered, &[]);
    assert_eq!((status, &report["intact"]), (Some(1), &Value::Bool(false)));
    let finding = &report["findings"][0];
    assert!(finding["writer"].is_i64() && finding["seq"].is_i64(), "{report}");
    let done = process::run(&["audit", "verify", "--store", tampered.to_str().unwrap()]);
    let named = format!("writer {}, record {}", finding["writer"], finding["seq"]);
    let said = String::from_utf8(done.stdout).unwrap();
    assert!(said.contains(&named), "no {named:?} in {said}");
}

#[tokio::test]
async fn s_11_a_checkpoint_kept_elsewhere_finds_a_cut_and_a_rollback() {
    let site = Site::of_process(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[audit]\nfile = \"../events.jsonl\""));
    three_exchanges(&site).await;
    let earlier = copy(&site, "earlier.db");
    three_exchanges(&site).await;
    let kept = site.path("events.jsonl");
    let kept = ["--checkpoint", kept.to_str().unwrap()];

    assert_eq!(verify(&site.store(), &kept).0, Some(0));
    assert_eq!(verify(&earlier, &[]).0, Some(0), "by itself a snapshot is whole");
    let (status, report) = verify(&earlier, &kept);
    assert_eq!((status, &report["findings"][0]["kind"]), (Some(1), &"cut_or_rolled_back".into()), "{report}");

    // The last records of the last writer, with the checkpoints that saw them: the newest lease is forgotten.
    let cut = copy(&site, "cut.db");
    change(&cut, "DELETE FROM checkpoints WHERE n = (SELECT max(n) FROM checkpoints)");
    change(&cut, "DELETE FROM leases WHERE decision = (SELECT id FROM decisions ORDER BY n DESC LIMIT 1)");
    change(
        &cut,
        "DELETE FROM audit WHERE writer = 2 AND seq = (SELECT max(seq) FROM audit WHERE writer = 2)",
    );
    let (status, report) = verify(&cut, &kept);
    assert_eq!(status, Some(1));
    let findings = report["findings"].as_array().unwrap();
    assert!(findings.iter().any(|finding| finding["kind"] == "cut_or_rolled_back"), "{report}");
}

#[tokio::test]
async fn events_go_to_standard_output_and_to_a_file_line_by_line() {
    let site = Site::of_process(&[]).await;
    site.write("config/tollgate.toml", &site.settings("[audit]\nstdout = true\nfile = \"../events.jsonl\""));
    let mut server = Server::start(&site.config(), "");
    let leased = site.api().deploy(&site.token()).await.ok();
    let line: Value = serde_json::from_str(&server.line_with("\"kind\":\"leased\"")).unwrap();
    assert_eq!(line["lease"], leased["lease"]["id"]);
    assert_eq!(line["decision"], leased["decision"]);
    server.signal("TERM");
    assert!(server.wait().success());

    let file = std::fs::read_to_string(site.path("events.jsonl")).unwrap();
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(lines.contains(&line));
    for kind in ["started", "revision", "key", "authorised", "checkpoint"] {
        assert!(lines.iter().any(|line| line["kind"] == kind), "no {kind}");
    }
    let sequence: Vec<_> = lines.iter().filter_map(|line| line["seq"].as_i64()).collect();
    assert_eq!(sequence, (1..).take(sequence.len()).collect::<Vec<_>>(), "none is missing");
    let secret = leased["lease"]["secret"].as_str().unwrap();
    assert!(!file.contains(secret) && !file.contains(leased["credential"]["token"].as_str().unwrap()));
}

#[tokio::test]
async fn a_decision_is_explained_in_full_here_and_in_part_to_the_caller() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    let token = site.token_with(&serde_json::json!({ "event_name": "pull_request" }));
    let denied = site.api().deploy(&token).await;
    assert_eq!(denied.code(), "not_allowed");
    let decision = denied.json["decision"].as_str().unwrap().to_owned();
    let config = site.config();
    let explain = ["--json", "explain", &decision, "--config", config.to_str().unwrap()];
    // A refusal may be recorded a moment after it is told.
    let whole = soon("the record", async || {
        let done = process::run(&explain);
        done.status.success().then(|| serde_json::from_slice::<Value>(&done.stdout).unwrap())
    });
    let whole = whole.await;
    assert_eq!(whole["input"]["identity"]["trust"], "untrusted");
    assert_eq!(whole["result"], "not_allowed");

    let done = process::tollgate()
        .args(["--json", "explain", &decision, "--remote", "--url", &site.url, "--token-from", "env:TOKEN"])
        .env("TOKEN", site.token())
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let part: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!(part["decision"], decision);
    assert!(!part.to_string().contains("untrusted"), "the caller is not told the facts: {part}");

    let unknown = "01a1fa5b-477d-7509-a3a0-074d772b0a6d";
    let done = process::run(&["explain", unknown, "--config", config.to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
}
