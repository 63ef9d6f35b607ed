//! Exemplars: the latencies name traces that a collector has, to one who asks for `OpenMetrics`.

use std::collections::BTreeSet;

use http::Method;

use super::prometheus::prometheus;
use super::promtool;
use crate::harness::api::Answer;
use crate::harness::collector::Collector;
use crate::harness::site::free_port;
use crate::harness::wait::soon;
use crate::harness::{Api, Server, Site};

/// A site that sends traces, with `more` in its telemetry; and its operators' side.
async fn site(collector: &Collector, otlp: &str, more: &str) -> (Site, Api) {
    let site = Site::of_process(&[]).await;
    let operations = format!("127.0.0.1:{}", free_port());
    let settings = site.settings(&format!("{}{more}\n", collector.settings(otlp)));
    let listen = format!("operations_listen = \"{operations}\"\n\n[store]");
    site.write("config/tollgate.toml", &settings.replace("[store]", &listen));
    (site, Api::new(&format!("http://{operations}")))
}

async fn metrics(operators: &Api, accept: &str) -> Answer {
    operators.send(Method::GET, "/metrics", &[("accept", accept)], "").await
}

/// The exemplars of `metric`: the trace that each names.
fn named(text: &str, metric: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| line.starts_with(metric));
    let traces = lines.filter_map(|line| line.split_once(" # {trace_id=\"")?.1.split_once("\"} "));
    traces.map(|(trace, _)| trace.to_owned()).collect()
}

const OPEN: &str = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
const STEPS: &str = "tollgate_step_duration_seconds_bucket{";
const REQUESTS: &str = "tollgate_http_request_duration_seconds_bucket{route=\"/v1/credentials\",";

#[tokio::test]
async fn latencies_name_traces_that_the_collector_has_and_a_real_prometheus_keeps_them() {
    let collector = Collector::start().await;
    let (site, operators) = site(&collector, "", "exemplars = true").await;
    let server = Server::start(&site.config(), "");
    site.api().deploy(&site.token()).await.ok();
    let open = metrics(&operators, OPEN).await;
    let kind = open.headers["content-type"].to_str().unwrap();
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(open.text.ends_with("\n# EOF\n") && !open.text.contains("\n\n"), "{}", open.text);
    assert!(open.text.contains("# TYPE tollgate_exchanges counter\n"), "{}", open.text);
    assert!(open.text.contains("tollgate_exchanges_total{outcome=\"leased\"} 1\n"), "{}", open.text);
    let (steps, requests) = (named(&open.text, STEPS), named(&open.text, REQUESTS));
    assert_eq!(
        (steps.len(), requests.len()),
        (7, 1),
        "one of each step and one of the request: {}",
        open.text
    );
    assert_eq!(named(&open.text, "").len(), 8, "nothing else has any");
    let traces: BTreeSet<_> = steps.into_iter().chain(requests).collect();
    assert_eq!(traces.len(), 1);

    let text = metrics(&operators, "text/plain").await;
    assert_eq!(text.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(!text.text.contains("# {") && text.text.contains("# TYPE tollgate_exchanges_total counter\n"));
    promtool(&["check", "metrics"], &text.text);

    let (_prometheus, api) = prometheus(&site, operators.url()).await;
    let metric = "tollgate_http_request_duration_seconds_bucket";
    let path = format!("/api/v1/query_exemplars?query={metric}&start=0&end=99999999999");
    let kept = soon("the exemplar is kept", async || {
        let answer = api.get(&path, None).await.json;
        let series = answer["data"].as_array()?.clone();
        series.into_iter().find(|series| series["seriesLabels"]["route"] == "/v1/credentials")
    })
    .await;
    let trace = kept["exemplars"][0]["labels"]["trace_id"].as_str().unwrap().to_owned();
    assert!(traces.contains(&trace), "{kept}");
    end(server);
    let seen = collector.spans();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat();
    assert!(seen.iter().any(|span| hex(&span.trace) == trace), "{seen:?}");
}

/// Ends the server, which sends what it still has.
fn end(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait().success());
}

#[tokio::test]
async fn what_is_not_sampled_is_no_exemplar() {
    let collector = Collector::start().await;
    let (site, operators) = site(&collector, ", sample = 0.0", "exemplars = true").await;
    let _server = Server::start(&site.config(), "");
    site.api().deploy(&site.token()).await.ok();
    let open = metrics(&operators, OPEN).await.text;
    assert!(open.ends_with("# EOF\n") && named(&open, "").is_empty(), "{open}");
}

#[tokio::test]
async fn without_exemplars_everybody_gets_the_text_format() {
    let collector = Collector::start().await;
    let (site, operators) = site(&collector, "", "").await;
    let _server = Server::start(&site.config(), "");
    site.api().deploy(&site.token()).await.ok();
    let answer = metrics(&operators, OPEN).await;
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(named(&answer.text, "").is_empty() && !answer.text.contains("# EOF"));
}
