//! `tollgate leases` and `tollgate audit`, over HTTP and on the store.

use std::process::{Output, Stdio};

use serde_json::{Value, json};

use crate::harness::{Server, Site, process};
use crate::lists::{site_of_process, token};

/// Runs the program with `token` to show.
fn run(site: &Site, token: &str, arguments: &[&str]) -> Output {
    let mut command = process::tollgate();
    command.env("TOLLGATE_URL", &site.url).env("TOLLGATE_TOKEN_FROM", "env:TOKEN").env("TOKEN", token);
    command.env("TZ", "UTC").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The lines of a successful run as JSON.
#[track_caller]
fn lines(done: &Output) -> Vec<Value> {
    assert!(done.status.success(), "{done:?}");
    text(&done.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn lease(site: &Site) -> String {
    site.api().deploy(&site.token()).await.ok()["lease"]["id"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_are_listed_from_the_broker_and_from_the_store_alike() {
    let site = site_of_process("").await;
    let _server = Server::start(&site.config(), "");
    let id = lease(&site).await;
    let auditor = token(&site, "auditor", "default");
    let config = site.config();
    let config = config.to_str().unwrap();
    let remote = lines(&run(&site, &auditor, &["leases", "--state", "live", "--json"]));
    let local = lines(&run(&site, "", &["leases", "--state", "live", "--json", "--config", config]));
    assert_eq!(remote, local);
    assert_eq!((remote.len(), &remote[0]["lease"]), (1, &json!(id)));
    for none in [["--role", "other"], ["--state", "ended"], ["--state", "unknown"], ["--until", "1h"]] {
        let arguments = [&["leases", "--json"], none.as_slice()].concat();
        assert_eq!(lines(&run(&site, &auditor, &arguments)), Vec::<Value>::new(), "{none:?}");
    }
    let table = run(&site, &auditor, &["leases"]);
    let table = text(&table.stdout);
    assert!(table.contains(&id) && table.contains("live") && table.contains("deploy"), "{table}");
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_ends_by_its_id_and_says_if_it_lives_on() {
    let site = site_of_process("").await;
    let _server = Server::start(&site.config(), "");
    let id = lease(&site).await;
    let refused = run(&site, &token(&site, "auditor", "default"), &["leases", "end", &id]);
    assert_eq!(refused.status.code(), Some(77), "{refused:?}");
    let ended = run(&site, &token(&site, "responder", "default"), &["leases", "end", &id]);
    assert_eq!(ended.status.code(), Some(1), "a signed token lives on");
    assert!(text(&ended.stderr).contains("it works until it dies"), "{ended:?}");
    assert_eq!(site.rows("leases WHERE end_how = 'dies_at_expiry'"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_record_is_searched_and_exported() {
    let site = site_of_process("").await;
    let _server = Server::start(&site.config(), "");
    lease(&site).await;
    let denied = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    let auditor = token(&site, "auditor", "default");
    let config = site.config();
    let config = config.to_str().unwrap();
    let mistyped = run(&site, "", &["audit", "search", "--outcome", "denied", "--config", config]);
    assert_eq!(mistyped.status.code(), Some(64), "to find nothing would be a wrong answer");
    assert!(text(&mistyped.stderr).contains("policy_denied"), "{mistyped:?}");
    let search = ["audit", "search", "--outcome", "not_allowed", "--since", "1h", "--json"];
    let found = lines(&run(&site, &auditor, &search));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["decision"], denied.json["decision"]);
    let local = lines(&run(&site, "", &[search.as_slice(), &["--config", config]].concat()));
    assert_eq!(found, local);

    let exported = lines(&run(&site, &auditor, &["audit", "export"]));
    let kinds: Vec<_> = exported.iter().map(|record| record["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"leased") && !kinds.contains(&"started"), "{kinds:?}");
    let whole = lines(&run(&site, "", &["audit", "export", "--config", config]));
    assert_eq!(i64::try_from(whole.len()).unwrap(), site.rows("audit"));
    let nothing = run(&site, "", &["audit", "export", "--config", config, "--tenant", "bank"]);
    assert_eq!(lines(&nothing), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_is_followed_as_it_grows() {
    let site = site_of_process("").await;
    let _server = Server::start(&site.config(), "");
    lease(&site).await;
    let mut tail = process::tollgate();
    tail.env("TOLLGATE_URL", &site.url).env("TOLLGATE_TOKEN_FROM", "env:TOKEN");
    tail.env("TOKEN", token(&site, "auditor", "default")).args(["audit", "tail", "--json", "--since", "1h"]);
    // The first lease shows that it follows; the second one comes while it does.
    let tail = Server::spawn_until(&mut tail, "leased");
    let id = lease(&site).await;
    assert!(tail.line_with(&id).contains("leased"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_list_waits_when_it_asks_too_often() {
    let site = site_of_process("[limits]\nexchanges_per_minute = 60").await;
    let _server = Server::start(&site.config(), "");
    let auditor = token(&site, "auditor", "default");
    while site.api().get("/v1/leases", Some(&auditor)).await.status != 429 {}
    assert_eq!(lines(&run(&site, &auditor, &["leases", "--json"])), Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_broker_or_a_store_it_says_what_to_do() {
    let done = process::run(&["leases"]);
    assert_eq!(done.status.code(), Some(64));
    assert!(text(&done.stderr).contains("--url") && text(&done.stderr).contains("--config"), "{done:?}");
}
