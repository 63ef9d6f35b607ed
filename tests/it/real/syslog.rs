//! Events to a real rsyslog, over TLS with client certificates.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::Connection;
use serde_json::Value;

use crate::harness::parts::rsyslog::Rsyslog;
use crate::harness::wait::until;
use crate::harness::{Server, Site};

/// A site with one syslog sink, of which `ca` is trusted.
async fn site(receiver: &Rsyslog, ca: &std::path::Path, more: &str) -> Site {
    let site = Site::of_process(&[]).await;
    let path = |name: &str| receiver.path(name).display().to_string();
    let sink = format!(
        "[audit.sinks.siem]\nkind = \"syslog\"\naddress = \"tls://127.0.0.1:{}\"\ninsecure_loopback = true\n\
         ca_file = \"{}\"\nclient_certificate = \"{}\"\nclient_key = {{ file = \"{}\" }}\n{more}",
        receiver.port,
        ca.display(),
        path("sender.pem"),
        path("sender.key"),
    );
    site.write("config/tollgate.toml", &site.settings(&sink));
    site
}

async fn exchanges(site: &Site, count: usize) {
    for _ in 0..count {
        site.api().deploy(&site.token()).await.ok();
    }
}

/// Writer and sequence number of every record of the store, and number of every checkpoint, sorted.
fn stored(site: &Site) -> Vec<(i64, i64)> {
    let store = Connection::open(site.store()).unwrap();
    let all = "SELECT writer, seq FROM audit UNION ALL SELECT 0, n FROM checkpoints ORDER BY 1, 2";
    let mut query = store.prepare(all).unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// The same of the messages; each once, however often it came.
fn received(receiver: &Rsyslog) -> Vec<(i64, i64)> {
    let mut places: Vec<_> = receiver
        .messages()
        .iter()
        .map(|message| {
            let record = record(message);
            if let Some(jws) = record["jws"].as_str() {
                return (0, number(jws));
            }
            (record["writer"].as_i64().unwrap(), record["seq"].as_i64().unwrap())
        })
        .collect();
    places.sort_unstable();
    places.dedup();
    places
}

/// The number that a checkpoint signs.
fn number(jws: &str) -> i64 {
    let claims = URL_SAFE_NO_PAD.decode(jws.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["n"].as_i64().unwrap()
}

/// The record in a message, after the mark that says that it is in UTF-8.
fn record(message: &Value) -> Value {
    let text = message["msg"].as_str().unwrap();
    serde_json::from_str(text.strip_prefix('\u{feff}').expect("the mark")).unwrap()
}

#[tokio::test]
async fn every_record_arrives_although_the_receiver_was_away_and_tollgate_restarted() {
    let mut receiver = Rsyslog::start().await;
    let site = site(&receiver, &receiver.path("ca.pem"), "").await;
    let mut server = Server::start(&site.config(), "");
    exchanges(&site, 3).await;
    until("the first records arrive", async || received(&receiver) == stored(&site)).await;

    receiver.stop();
    exchanges(&site, 3).await;
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(received(&receiver).len() < stored(&site).len(), "somebody took them");

    let mut server = Server::start(&site.config(), "");
    exchanges(&site, 1).await;
    receiver.again().await;
    until("the others arrive", async || received(&receiver) == stored(&site)).await;
    exchanges(&site, 3).await;
    server.signal("TERM");
    assert!(server.wait().success());
    until("what a stop sends arrives", async || received(&receiver) == stored(&site)).await;
}

#[tokio::test]
async fn a_message_is_read_as_it_is_meant() {
    let receiver = Rsyslog::start().await;
    let more = "facility = \"local3\"\napp_name = \"broker\"\nenterprise_number = 64512\nformat = \"ocsf\"\n";
    let site = site(&receiver, &receiver.path("ca.pem"), more).await;
    let _server = Server::start(&site.config(), "");
    let leased = site.api().deploy(&site.token()).await.ok();
    let find = || receiver.messages().into_iter().find(|message| message["msgid"] == "leased");
    until("the lease arrives", async || find().is_some()).await;
    let message = find().unwrap();
    // local3 is 19; a lease is informational, 6.
    assert_eq!((&message["pri"], &message["app"]), (&"158".into(), &"broker".into()), "{message}");
    assert_eq!((&message["host"], &message["procid"]), (&"127.0.0.1".into(), &"1".into()));
    let record = record(&message);
    let place = format!("[tollgate@64512 writer=\"1\" seq=\"{}\"]", record["metadata"]["sequence"]);
    assert!(message["data"].as_str().unwrap().ends_with(&place), "{message}");
    assert_eq!(record["type_uid"], 300_301);
    assert_eq!(record["session"]["uid"], leased["lease"]["id"]);
}

#[tokio::test]
async fn a_receiver_of_another_authority_gets_nothing_and_holds_up_nobody() {
    let (receiver, other) = (Rsyslog::start().await, Rsyslog::start().await);
    let site = site(&receiver, &other.path("ca.pem"), "").await;
    let _server = Server::start(&site.config(), "");
    exchanges(&site, 3).await;
    until("the sink fails", async || {
        let metrics = site.api().get("/metrics", None).await.text;
        metrics.lines().any(|line| {
            let failures = line.strip_prefix("tollgate_sink_failures_total{sink=\"siem\"} ");
            failures.is_some_and(|count| count != "0")
        })
    })
    .await;
    exchanges(&site, 3).await;
    assert_eq!(receiver.messages(), Vec::<Value>::new());
}
