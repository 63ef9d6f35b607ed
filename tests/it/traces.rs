//! A collector sees the path of an exchange, and nothing that is none of its business.

use std::collections::BTreeMap;

use serde_json::json;

use crate::harness::api::Answer;
use crate::harness::collector::{Collector, Seen};
use crate::harness::{Server, Site};

const THEIRS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const UNSAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";
const THEIR_TRACE: [u8; 16] = 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes();

/// A site that sends traces, with `server` in its `[server]` and `otlp` in its table of the collector.
async fn site(collector: &Collector, server: &str, otlp: &str) -> Site {
    let site = Site::of_process(&[]).await;
    let settings = site.settings(&collector.settings(otlp));
    site.write("config/tollgate.toml", &settings.replace("[store]", &format!("{server}\n\n[store]")));
    site
}

/// Asks for the role `deploy` in somebody's trace.
async fn ask_within(site: &Site, parent: &str) -> Answer {
    let more = [("traceparent", parent)];
    site.api().credentials_with(&site.token(), &json!({ "role": "deploy" }), &more).await
}

/// Ends the server, which sends what it still has.
fn end(mut server: Server) {
    server.signal("TERM");
    assert!(server.wait().success());
}

fn named<'a>(spans: &'a [Seen], name: &str) -> &'a Seen {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no {name} in {spans:?}"))
}

#[tokio::test]
async fn a_collector_sees_each_step_of_an_exchange_once_and_in_order() {
    let collector = Collector::start().await;
    let headers = ", headers = { x-collector-key = { value = \"for the collector\" } }";
    let site = site(&collector, "", headers).await;
    let server = Server::start(&site.config(), "");
    let answer = site.api().deploy(&site.token()).await.ok();
    end(server);

    let spans = collector.spans();
    let names: Vec<_> = spans.iter().map(|span| span.name.as_str()).collect();
    let path = ["exchange", "authenticate", "facts", "decide", "plan", "authorise", "mint", "lease"];
    assert_eq!(names, path);
    let exchange = named(&spans, "exchange");
    let decision = answer["decision"].as_str().unwrap().to_owned();
    let told =
        [("decision", decision.as_str()), ("role", "deploy"), ("tenant", "default"), ("outcome", "leased")];
    let told = told.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(exchange.attributes, BTreeMap::from(told));
    assert!(exchange.parent.is_empty());
    assert_eq!(exchange.resource["service.name"], "tollgate");
    for step in &spans[1..] {
        assert_eq!((&step.trace, &step.parent), (&exchange.trace, &exchange.id), "{}", step.name);
        assert!(step.attributes.is_empty(), "{step:?}");
    }
    assert!(spans.iter().all(|span| span.events == 0), "log events are not part of traces");
    let posted = &collector.posted()[0].headers;
    assert_eq!(posted["content-type"], "application/x-protobuf");
    assert_eq!(posted["x-collector-key"], "for the collector");
}

#[tokio::test]
async fn a_refusal_shows_where_it_ended_and_names_no_role_before_the_caller_is_known() {
    let collector = Collector::start().await;
    let site = site(&collector, "", "").await;
    let server = Server::start(&site.config(), "");
    let denied = site.api().deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    assert_eq!(denied.code(), "not_allowed");
    let strange = site.api().deploy(&site.token_with(&json!({ "aud": "https://other.example" }))).await;
    end(server);

    let spans = collector.spans();
    let of = |answer: &Answer| {
        let decision = answer.json["decision"].as_str().unwrap();
        let is = |span: &&Seen| span.attributes.get("decision").is_some_and(|found| found == decision);
        let exchange = spans.iter().find(is).unwrap();
        let steps = spans.iter().filter(|span| span.parent == exchange.id);
        (exchange.attributes.clone(), steps.map(|span| span.name.as_str()).collect::<Vec<_>>())
    };
    let (attributes, steps) = of(&denied);
    assert_eq!(steps, ["authenticate", "facts", "decide"]);
    assert_eq!((attributes["outcome"].as_str(), attributes["code"].as_str()), ("refused", "not_allowed"));
    let (attributes, steps) = of(&strange);
    assert_eq!(steps, ["authenticate"]);
    assert_eq!(attributes["code"], strange.code());
    assert!(!attributes.contains_key("role") && !attributes.contains_key("tenant"), "{attributes:?}");
}

#[tokio::test]
async fn s_08_nobody_writes_himself_into_a_trace() {
    let collector = Collector::start().await;
    let proxy = "trusted_proxies = [\"127.0.0.1/32\"]";
    let elsewhere = "trusted_proxies = [\"192.0.2.0/24\"]";
    for (server, otlp) in [("", ""), (proxy, ""), (elsewhere, ", trust_traceparent = true")] {
        let site = site(&collector, server, otlp).await;
        let server = Server::start(&site.config(), "");
        // Neither can it join a trace nor keep itself out of one.
        ask_within(&site, THEIRS).await.ok();
        ask_within(&site, UNSAMPLED).await.ok();
        end(server);
    }
    let spans = collector.spans();
    let exchanges: Vec<_> = spans.iter().filter(|span| span.name == "exchange").collect();
    assert_eq!(exchanges.len(), 6);
    for exchange in exchanges {
        assert!(exchange.parent.is_empty() && exchange.trace != THEIR_TRACE, "{exchange:?}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_trusted_with_it_names_the_parent() {
    let collector = Collector::start().await;
    let proxy = "trusted_proxies = [\"127.0.0.1/32\"]";
    let site = site(&collector, proxy, ", trust_traceparent = true").await;
    let server = Server::start(&site.config(), "");
    ask_within(&site, THEIRS).await.ok();
    ask_within(&site, UNSAMPLED).await.ok();
    ask_within(&site, "00-nonsense").await.ok();
    end(server);
    let spans = collector.spans();
    let exchanges: Vec<_> = spans.iter().filter(|span| span.name == "exchange").collect();
    let [theirs, own] = exchanges[..] else { panic!("{exchanges:?}") };
    assert_eq!(theirs.trace, THEIR_TRACE);
    assert_eq!(theirs.parent, 0xb7ad_6b71_6920_3331_u64.to_be_bytes());
    assert!(own.parent.is_empty() && own.trace != THEIR_TRACE, "{own:?}");
}

#[tokio::test]
async fn s_14_the_environment_changes_no_trace() {
    let collector = Collector::start().await;
    let site = site(&collector, "", "").await;
    let environment = [
        ("OTEL_TRACES_SAMPLER", "always_off"),
        ("OTEL_SERVICE_NAME", "planted"),
        ("OTEL_RESOURCE_ATTRIBUTES", "planted=yes"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "0"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "planted=yes"),
    ];
    let server = Server::start_with(&site.config(), &environment);
    site.api().deploy(&site.token()).await.ok();
    end(server);
    let spans = collector.spans();
    let exchange = named(&spans, "exchange");
    assert_eq!(exchange.attributes["outcome"], "leased");
    assert_eq!(exchange.resource.keys().collect::<Vec<_>>(), ["service.name", "service.version"]);
    assert_eq!(exchange.resource["service.name"], "tollgate");
    assert!(!collector.posted()[0].headers.contains_key("planted"));
}

#[tokio::test]
async fn nothing_is_sent_of_what_is_not_sampled() {
    let collector = Collector::start().await;
    let site = site(&collector, "", ", sample = 0.0").await;
    let server = Server::start(&site.config(), "");
    site.api().deploy(&site.token()).await.ok();
    end(server);
    assert!(collector.posted().is_empty());
}

#[tokio::test]
async fn a_collector_that_takes_nothing_delays_nobody_and_is_counted() {
    let collector = Collector::that_refuses().await;
    let site = site(&collector, "", "").await;
    let _server = Server::start(&site.config(), "");
    site.api().deploy(&site.token()).await.ok();
    crate::harness::wait::until("lost spans are counted", async || {
        let metrics = site.api().get("/metrics", None).await.text;
        metrics.contains("tollgate_spans_total{outcome=\"failed\"} 8\n")
    })
    .await;
    site.api().deploy(&site.token()).await.ok();
}
