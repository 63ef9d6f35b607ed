//! Events to collectors over HTTP: what is sent, byte for byte after the vendors' documentation, and what becomes of each
//! answer. The collectors are stand-ins; the real products do not run here.

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::receiver::{Answer, Product, Received, Receiver};
use crate::harness::wait::until;
use crate::harness::{Server, Site};

const TOKEN: &str = "11111111-2222-3333-4444-555555555555";

/// A site with one sink, for `receiver`.
async fn site(receiver: &Receiver, lines: &str) -> Site {
    let site = Site::of_process(&[]).await;
    let sink = format!("[audit.sinks.siem]\nurl = \"{}\"\ninsecure_loopback = true\n{lines}\n", receiver.url);
    site.write("config/tollgate.toml", &site.settings(&sink));
    site
}

async fn splunk(receiver: &Receiver) -> Site {
    let lines = format!("kind = \"splunk_hec\"\ntoken = {{ value = \"{TOKEN}\" }}\nindex = \"security\"");
    site(receiver, &lines).await
}

async fn elastic(receiver: &Receiver) -> Site {
    let lines = format!("kind = \"elasticsearch\"\napi_key = {{ value = \"{TOKEN}\" }}\nindex = \"audit\"");
    site(receiver, &lines).await
}

/// Places of all records, sorted.
fn stored(site: &Site) -> Vec<(i64, i64)> {
    let store = Connection::open(site.store()).unwrap();
    let mut query = store.prepare("SELECT writer, seq FROM audit ORDER BY 1, 2").unwrap();
    query.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// Places of the records that were taken, sorted; checkpoints have none.
fn taken(receiver: &Receiver) -> Vec<(i64, i64)> {
    let place = |event: &Value| Some((event["writer"].as_i64()?, event["seq"].as_i64()?));
    let mut places: Vec<_> = receiver.taken().iter().filter_map(place).collect();
    places.sort_unstable();
    places
}

async fn all_arrive(site: &Site, receiver: &Receiver) {
    until("all records arrive", async || {
        let mut taken = taken(receiver);
        taken.dedup();
        taken == stored(site)
    })
    .await;
}

async fn metric(site: &Site, name: &str) -> u64 {
    let metrics = site.api().get("/metrics", None).await.text;
    let sample = format!("{name}{{sink=\"siem\"}} ");
    let value = metrics.lines().find_map(|line| line.strip_prefix(&sample));
    value.unwrap_or_else(|| panic!("no {sample} in {metrics}")).parse().unwrap()
}

fn answer(status: u16, body: &Value) -> Answer {
    (status, vec![], body.to_string())
}

async fn exchange(site: &Site) -> Value {
    site.api().deploy(&site.token()).await.ok()
}

#[tokio::test]
async fn splunk_gets_events_as_its_collector_documents_them() {
    let receiver = Receiver::start(Product::Splunk).await;
    let site = splunk(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    let first = receiver.seen().remove(0);
    assert_eq!((first.method.as_str(), first.uri.path()), ("POST", "/services/collector/event"));
    assert_eq!(first.header("authorization"), format!("Splunk {TOKEN}"));
    assert_eq!(first.header("content-type"), "application/json");
    for envelope in first.values() {
        let keys: Vec<_> = envelope.as_object().unwrap().keys().cloned().collect();
        assert_eq!(keys, ["time", "host", "source", "sourcetype", "index", "event"]);
        assert_eq!((&envelope["host"], &envelope["index"]), (&json!("127.0.0.1"), &json!("security")));
        assert_eq!(envelope["sourcetype"], "tollgate:audit");
        let at: jiff::Timestamp = envelope["event"]["at"].as_str().unwrap().parse().unwrap();
        let millis = format!("{:.0}", envelope["time"].as_f64().unwrap() * 1000.0);
        assert_eq!(millis, at.as_millisecond().to_string(), "seconds, with the milliseconds");
    }
}

#[tokio::test]
async fn a_busy_collector_is_asked_again_and_misses_nothing() {
    let receiver = Receiver::start(Product::Splunk).await;
    receiver.say(|_| answer(503, &json!({ "text": "Server is busy", "code": 9 })));
    receiver.say(|_| (429, vec![("retry-after", "1".to_owned())], String::new()));
    receiver.say(|_| (302, vec![("location", "/elsewhere".to_owned())], String::new()));
    let site = splunk(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    let seen = receiver.seen();
    assert!(seen.len() >= 4);
    assert!(seen.iter().all(|request| request.uri.path() == "/services/collector/event"), "not elsewhere");
    assert_eq!(seen[0].body, seen[3].body, "the very same batch");
    assert_eq!(metric(&site, "tollgate_sink_failures_total").await, 3);
    assert_eq!(metric(&site, "tollgate_sink_dead_letters_total").await, 0);
}

#[tokio::test]
async fn an_event_that_splunk_refuses_is_given_up_and_no_other() {
    let receiver = Receiver::start(Product::Splunk).await;
    receiver.say(|_| {
        answer(400, &json!({ "text": "Invalid data format", "code": 6, "invalid-event-number": 1 }))
    });
    let site = splunk(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    until("the others arrive", async || taken(&receiver).len() + 1 == stored(&site).len()).await;
    let first = receiver.seen().remove(0).values().remove(1);
    let refused = (first["event"]["writer"].as_i64().unwrap(), first["event"]["seq"].as_i64().unwrap());
    assert!(!taken(&receiver).contains(&refused));
    assert_eq!(metric(&site, "tollgate_sink_dead_letters_total").await, 1);
    assert_eq!(metric(&site, "tollgate_sink_failures_total").await, 0);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_halved() {
    let receiver = Receiver::start(Product::Splunk).await;
    let small = |request: &Received| {
        assert!(request.values().len() > 1);
        (413, vec![], String::new())
    };
    receiver.say(small);
    let site = splunk(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    let sizes: Vec<_> = receiver.seen().iter().map(|request| request.values().len()).collect();
    assert_eq!(sizes[1], sizes[0] / 2);
    assert_eq!(metric(&site, "tollgate_sink_dead_letters_total").await, 0);
}

#[tokio::test]
async fn a_wrong_token_loses_nothing() {
    let receiver = Receiver::start(Product::Splunk).await;
    receiver.say(|_| answer(403, &json!({ "text": "Invalid token", "code": 4 })));
    receiver
        .say(|_| answer(400, &json!({ "text": "Incorrect index", "code": 7, "invalid-event-number": 0 })));
    let site = splunk(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    assert_eq!(metric(&site, "tollgate_sink_dead_letters_total").await, 0);
}

#[tokio::test]
async fn elasticsearch_gets_a_bulk_of_creations_with_ids() {
    let receiver = Receiver::start(Product::Elasticsearch).await;
    let site = elastic(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    let first = receiver.seen().remove(0);
    assert_eq!((first.method.as_str(), first.uri.path()), ("POST", "/audit/_bulk"));
    assert_eq!(first.uri.query(), Some("filter_path=errors%2Citems.create.status%2Citems.create.error.type"));
    assert_eq!(first.header("authorization"), format!("ApiKey {TOKEN}"));
    assert_eq!(first.header("content-type"), "application/x-ndjson");
    assert!(first.body.ends_with('\n'), "the last line has an end too");
    assert_eq!(first.body.lines().count(), first.values().len(), "one line each");
    for (id, document) in Product::Elasticsearch.events(&first) {
        let (place, hash) =
            (format!("{}-{}", document["writer"], document["seq"]), document["hash"].as_str());
        assert_eq!(id, format!("{place}-{}", &hash.unwrap()[..16]));
        assert_eq!(document["@timestamp"], document["at"]);
    }
}

#[tokio::test]
async fn each_item_of_a_bulk_is_judged_by_itself() {
    let receiver = Receiver::start(Product::Elasticsearch).await;
    let collector = receiver.clone();
    receiver.say(move |request| {
        let count = request.values().len() / 2;
        let good: Vec<_> = (2..count).collect();
        collector.take(request, &good);
        let mut items = vec![json!({ "create": { "status": 201 } }); count];
        items[0] = json!({ "create": { "status": 400, "error": { "type": "document_parsing_exception" } } });
        items[1] =
            json!({ "create": { "status": 429, "error": { "type": "es_rejected_execution_exception" } } });
        answer(200, &json!({ "errors": true, "items": items }))
    });
    let site = elastic(&receiver).await;
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    until("all but one arrive", async || taken(&receiver).len() + 1 == stored(&site).len()).await;
    let seen = receiver.seen();
    let first = Product::Elasticsearch.events(&seen[0]);
    let second = Product::Elasticsearch.events(&seen[1]);
    assert_eq!(second, first[1..2], "only the one that was put off");
    assert!(!receiver.taken().contains(&first[0].1));
    assert_eq!(metric(&site, "tollgate_sink_dead_letters_total").await, 1);
}

#[tokio::test]
async fn what_a_killed_server_sends_again_is_there_once() {
    let receiver = Receiver::start(Product::Elasticsearch).await;
    let site = elastic(&receiver).await;
    let mut server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    server.kill();
    // As if the crash had come before the place was noted.
    Connection::open(site.store()).unwrap().execute("DELETE FROM sink_cursors", []).unwrap();
    let sent = receiver.seen().len();
    let _server = Server::start(&site.config(), "");
    exchange(&site).await;
    all_arrive(&site, &receiver).await;
    let places = taken(&receiver);
    let again = Product::Elasticsearch.events(&receiver.seen()[sent]);
    assert_eq!((&again[0].1["writer"], &again[0].1["seq"]), (&json!(1), &json!(1)), "from the beginning");
    let mut once = places.clone();
    once.dedup();
    assert_eq!(places, once);
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_neither_grants_nor_another_sink() {
    let receiver = Receiver::start(Product::Splunk).await;
    let silent = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let site = splunk(&receiver).await;
    let settings = std::fs::read_to_string(site.path("config/tollgate.toml")).unwrap();
    let dead = format!(
        "[audit.sinks.dead]\nkind = \"splunk_hec\"\nurl = \"http://{}\"\ninsecure_loopback = true\n\
         token = {{ value = \"x\" }}\ntimeout = \"1m\"\n",
        silent.local_addr().unwrap()
    );
    site.write("config/tollgate.toml", &format!("{settings}\n{dead}"));
    let mut server = Server::start(&site.config(), "");
    let (connection, _) = silent.accept().await.unwrap();
    for _ in 0..5 {
        exchange(&site).await;
    }
    all_arrive(&site, &receiver).await;
    assert!(metric(&site, "tollgate_sink_delivered_total").await >= 10);
    server.signal("TERM");
    assert!(server.wait().success(), "nor the end");
    drop(connection);
}

#[tokio::test]
async fn a_changed_sink_needs_a_restart_and_an_unchanged_one_does_not() {
    let receiver = Receiver::start(Product::Splunk).await;
    let site = splunk(&receiver).await;
    let app = site.start().await;
    app.reload().await.unwrap();
    let settings = std::fs::read_to_string(site.path("config/tollgate.toml")).unwrap();
    site.write("config/tollgate.toml", &settings.replace(TOKEN, "another-token"));
    let problems = app.reload().await.unwrap_err();
    let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|told| told.contains("audit.sinks is read only at start")), "{told:?}");
    assert!(!told.iter().any(|told| told.contains("another-token")), "{told:?}");
    app.stop().await;
}
