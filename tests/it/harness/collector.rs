//! A collector of traces that speaks OTLP over HTTP, and remembers what it was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::routing::post;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message;
use tokio::runtime::Runtime;

/// One span, with the attributes of its resource.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) name: String,
    pub(crate) trace: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) parent: Vec<u8>,
    pub(crate) began: u64,
    pub(crate) events: usize,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) resource: BTreeMap<String, String>,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Posted {
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

#[derive(Default)]
struct Shared {
    posted: Mutex<Vec<Posted>>,
    refuses: bool,
}

/// A running collector. It has threads of its own: a broker that ends sends its last spans while its test waits for it.
pub(crate) struct Collector {
    url: String,
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

impl Collector {
    pub(crate) async fn start() -> Self {
        Self::answering(Shared::default()).await
    }

    /// One that takes nothing.
    pub(crate) async fn that_refuses() -> Self {
        Self::answering(Shared { refuses: true, ..Shared::default() }).await
    }

    async fn answering(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&shared));
        let listener = listener.into_std().unwrap();
        let runtime = Runtime::new().unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, router).await.unwrap();
        });
        Self { url, shared, runtime: Some(runtime) }
    }

    /// `[telemetry]` that sends here, with `more` in the table of the collector.
    pub(crate) fn settings(&self, more: &str) -> String {
        format!("[telemetry]\notlp = {{ endpoint = \"{}\", insecure_loopback = true{more} }}\n", self.url)
    }

    pub(crate) fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap().clone()
    }

    /// All spans, in the order in which they began.
    pub(crate) fn spans(&self) -> Vec<Seen> {
        let mut spans: Vec<_> = self.posted().iter().flat_map(|posted| spans(&posted.body)).collect();
        spans.sort_by_key(|span| span.began);
        spans
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

async fn take(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    shared.posted.lock().unwrap().push(Posted { headers, body });
    if shared.refuses { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }
}

fn spans(body: &Bytes) -> Vec<Seen> {
    let request = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    let of_resource = request.resource_spans.into_iter().flat_map(|resource_spans| {
        let resource = texts(&resource_spans.resource.unwrap_or_default().attributes);
        let spans = resource_spans.scope_spans.into_iter().flat_map(|scope| scope.spans);
        spans.map(move |span| (span, resource.clone())).collect::<Vec<_>>()
    });
    let seen = of_resource.map(|(span, resource)| Seen {
        name: span.name,
        trace: span.trace_id,
        id: span.span_id,
        parent: span.parent_span_id,
        began: span.start_time_unix_nano,
        events: span.events.len(),
        attributes: texts(&span.attributes),
        resource,
    });
    seen.collect()
}

fn texts(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.clone()) {
        Some(Value::StringValue(text)) => (pair.key.clone(), text),
        other => panic!("{}: {other:?}", pair.key),
    };
    attributes.iter().map(text).collect()
}
