//! Records past their retention, from the outside: gone under a seal, and everybody who asks is told so.

use std::time::Duration;

use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::harness::book::decision_of;
use crate::harness::wait::soon;
use crate::harness::{Server, Site, process};

/// Older than the least retention, with the day that few records may stay longer.
const NINE_DAYS: Duration = Duration::from_hours(9 * 24);

/// A site whose clock goes after: what it does now is old.
async fn site() -> Site {
    let mut site = Site::new(&[]).await;
    site.clock = Clock::manual(Clock::system().now() - NINE_DAYS);
    site.write("config/tollgate.toml", &site.settings("[audit]\nretention = \"7d\""));
    site
}

/// Exit status and standard output of a command on the site's configuration.
fn command(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let done = process::tollgate().args(arguments).arg("--config").arg(site.config()).output().unwrap();
    let said = [done.stdout, done.stderr].concat();
    (done.status.code(), String::from_utf8(said).unwrap())
}

/// The JSON that a command says.
fn told(site: &Site, arguments: &[&str]) -> Value {
    let (status, said) = command(site, &[&["--json"], arguments].concat());
    assert_eq!(status, Some(0), "{said}");
    serde_json::from_str(&said).unwrap()
}

fn exported(site: &Site) -> Vec<Value> {
    let (status, lines) = command(site, &["audit", "export"]);
    assert_eq!(status, Some(0), "{lines}");
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn s_11_a_decision_past_its_retention_is_gone_and_everybody_is_told_so() {
    let site = site().await;
    let app = site.start().await;
    let old = decision_of(&site.api().deploy(&site.token()).await).to_string();
    site.api().deploy(&site.token()).await.ok();
    app.stop().await;
    let before = told(&site, &["audit", "prune", "--dry-run"]);
    assert_eq!(before["chains"][0]["held"], json!([{ "why": "newest" }]), "{before}");
    assert!(before["records"].as_u64().unwrap() > 5, "{before}");
    assert!(exported(&site).iter().all(|record| record["kind"] != "sealed"));

    site.clock.set(Clock::system().now());
    let app = site.start().await;
    let path = format!("/v1/decisions/{old}");
    let gone = soon("the decision is pruned", async || {
        let answer = site.api().get(&path, Some(&site.token())).await;
        (answer.status != 200).then_some(answer)
    })
    .await;
    assert_eq!((gone.status, gone.code()), (410, "decision_pruned"));
    let young = decision_of(&site.api().deploy(&site.token()).await).to_string();
    site.api().get(&format!("/v1/decisions/{young}"), Some(&site.token())).await.ok();

    let (status, said) = command(&site, &["explain", &old]);
    assert_eq!(status, Some(1));
    assert!(said.contains("decision_pruned"), "{said}");
    let verified = told(&site, &["audit", "verify"]);
    assert_eq!((&verified["intact"], &verified["pruned"]), (&json!(true), &before["records"]), "{verified}");
    let records = exported(&site);
    let sealed = records.iter().find(|record| record["kind"] == "sealed").unwrap();
    assert_eq!((&sealed["data"]["writer"], &sealed["data"]["first"]), (&json!(1), &json!(1)), "{sealed}");
    assert_eq!(sealed["data"]["last"], before["chains"][0]["last"], "{sealed}");
    let mut tail = process::tollgate();
    tail.args(["--json", "audit", "tail", "--since", "48h", "--config"]).arg(site.config());
    let tail = Server::spawn_until(&mut tail, "\"kind\":\"sealed\"");
    drop(tail);
    let after = told(&site, &["audit", "prune", "--dry-run"]);
    assert_eq!(after["records"], 0, "{after}");
    app.stop().await;
}

#[tokio::test]
async fn a_dry_run_says_to_people_what_would_go_and_what_stays() {
    let site = site().await;
    let app = site.start().await;
    site.api().deploy(&site.token()).await.ok();
    app.stop().await;
    let (status, said) = command(&site, &["audit", "prune", "--dry-run"]);
    assert_eq!(status, Some(0), "{said}");
    for part in ["writer 1: ", " record(s) would go, from 1 to ", "the newest record of a chain stays"] {
        assert!(said.contains(part), "{part:?} not in {said}");
    }
    let (_, said) = command(&site, &["audit", "prune", "--dry-run", "--retention", "90d"]);
    assert!(said.contains("nothing would go") && said.contains("younger than the retention"), "{said}");
    let (status, said) = command(&site, &["audit", "prune"]);
    assert!(status == Some(64) && said.contains("--dry-run"), "{said}");
    site.write("config/tollgate.toml", &site.settings(""));
    let (status, said) = command(&site, &["audit", "prune", "--dry-run"]);
    assert!(status == Some(64) && said.contains("retention is not set"), "{said}");
}
