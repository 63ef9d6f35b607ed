//! A real Prometheus reads a running Tollgate.

use std::process::Command;

use serde_json::{Value, json};
use tollgate::telemetry::METRICS;

use super::{dashboard_queries, promtool, read};
use crate::harness::parts::{Part, program};
use crate::harness::site::free_port;
use crate::harness::wait::{soon, until};
use crate::harness::{Api, Server, Site};

/// A site whose metrics are at the second part.
async fn site() -> (Site, Api) {
    let site = Site::of_process(&[]).await;
    let operations = format!("127.0.0.1:{}", free_port());
    let listen = format!("operations_listen = \"{operations}\"\n\n[store]");
    let settings = "[telemetry]\nlabel_roles = [\"deploy\"]\n\
                    [audit.sinks.copy]\nkind = \"file\"\npath = \"../copy.jsonl\"\n";
    let settings = site.settings(settings);
    site.write("config/tollgate.toml", &settings.replace("[store]", &listen));
    (site, Api::new(&format!("http://{operations}")))
}

/// One exchange that goes well, and one that is refused.
async fn ask(site: &Site) {
    site.api().deploy(&site.token()).await.ok();
    let denied = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    assert_eq!(denied.code(), "not_allowed");
}

#[tokio::test]
async fn promtool_finds_nothing_to_improve_in_any_metric() {
    let (site, operators) = site().await;
    let _server = Server::start(&site.config(), "");
    ask(&site).await;
    let has = |text: &str, name: &str| text.contains(&format!("# TYPE {name} "));
    // Some are counted in the background, a moment after the start.
    let text = soon("every metric has a value", async || {
        let text = operators.get("/metrics", None).await.text;
        METRICS.iter().all(|metric| has(&text, metric.name)).then_some(text)
    })
    .await;
    promtool(&["check", "metrics"], &text);
}

#[tokio::test]
async fn a_real_prometheus_scrapes_tollgate_and_evaluates_every_rule_and_panel() {
    let (site, operators) = site().await;
    let _server = Server::start(&site.config(), "");
    ask(&site).await;
    let (_prometheus, api) = prometheus(&site, operators.url()).await;

    let value = |answer: Value| answer["data"]["result"][0]["value"][1].as_str().map(ToOwned::to_owned);
    until("the scrape succeeds", async || {
        value(query(&api, "up{job=\"tollgate\"}").await) == Some("1".into())
    })
    .await;
    until("the exchange is seen", async || {
        value(query(&api, "tollgate_exchanges_total{outcome=\"leased\"}").await) == Some("1".into())
    })
    .await;
    for expression in dashboard_queries() {
        assert_eq!(query(&api, &expression).await["status"], "success", "{expression}");
    }
    let rules = soon("every rule was evaluated", async || {
        let groups = api.get("/api/v1/rules", None).await.ok();
        let rules = groups["data"]["groups"][0]["rules"].as_array()?.clone();
        rules.iter().all(|rule| rule["health"] != "unknown").then_some(rules)
    })
    .await;
    assert_eq!(rules.len(), super::pages::alerts().len());
    for rule in rules {
        assert_eq!((&rule["health"], &rule["state"]), (&"ok".into(), &"inactive".into()), "{rule}");
    }
}

/// Prometheus on the shipped configuration, which asks `operators` every second, and keeps exemplars.
pub(super) async fn prometheus(site: &Site, operators: &str) -> (Part, Api) {
    let shipped = read("deploy/prometheus.yml");
    let target = operators.trim_start_matches("http://");
    let settings = shipped.replace("127.0.0.1:9420", target).replace("15s", "1s");
    assert!(settings.contains(target) && settings.contains("1s"), "{settings}");
    site.write("prometheus/prometheus.yml", &settings);
    site.write("prometheus/alerts.yml", &read("deploy/alerts.yml"));
    let port = free_port();
    let mut command = Command::new(program("prometheus"));
    command
        .arg("--enable-feature=exemplar-storage")
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg(format!("--config.file={}", site.path("prometheus/prometheus.yml").display()))
        .arg(format!("--storage.tsdb.path={}", site.path("prometheus/data").display()));
    let running = Part::start(&mut command, port).await;
    (running, Api::new(&format!("http://127.0.0.1:{port}")))
}

async fn query(api: &Api, expression: &str) -> Value {
    let pairs = [("query", expression)];
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    api.get(&format!("/api/v1/query?{query}"), None).await.json
}
