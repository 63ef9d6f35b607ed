//! Traces: each exchange as a span with one child per step, sent to a collector by OTLP.
//!
//! A span says the decision, the role and its tenant once they are known, and how the exchange ended; never a token, a
//! claim or a secret, and no log event. Nothing waits for the collector: what does not fit the queue is dropped, what
//! the collector does not take is lost, and both are counted. The environment (`OTEL_…`) changes nothing.

mod collector;
mod queue;

use std::collections::BTreeMap;
use std::time::Duration;

use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, SpanLimits};
use secrecy::SecretString;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Layer;
use tracing_subscriber::registry::LookupSpan;
use url::Url;

use super::TelemetryError;
use super::span::TARGET;
use crate::domain::TraceParent;
use crate::net::Rules;
use collector::Collector;
use queue::Queue;

/// Longest that the last spans may take at the end.
const LINGER: Duration = Duration::from_secs(5);

/// Makes `span` the child of `parent`. Without traces, there is nothing to be a child of.
pub(super) fn adopt(span: &tracing::Span, parent: TraceParent) {
    let flags = if parent.sampled { TraceFlags::SAMPLED } else { TraceFlags::default() };
    let (trace, id) = (TraceId::from(parent.trace), SpanId::from(parent.span));
    let parent = SpanContext::new(trace, id, flags, true, TraceState::default());
    // Refused only where no trace is made of the span.
    let _ = span.set_parent(Context::new().with_remote_span_context(parent));
}

/// The trace of `span`, if it was sampled: then its spans go to the collector.
pub(super) fn sampled(span: &tracing::Span) -> Option<TraceId> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let known = span.span_context();
    (known.is_valid() && known.is_sampled()).then(|| known.trace_id())
}

/// Where traces go, and how many.
pub struct TraceOptions {
    /// Where spans are posted.
    pub endpoint: Url,
    /// Headers that authenticate Tollgate.
    pub headers: BTreeMap<String, SecretString>,
    /// What the client may reach.
    pub rules: Rules,
    /// Share of exchanges that are traced, 0 to 1.
    pub sample: f64,
}

/// The making of traces, and the task that sends them.
pub struct Traces {
    provider: SdkTracerProvider,
    closing: CancellationToken,
    sending: JoinHandle<()>,
}

impl Traces {
    /// Starts the task that sends; contacts nobody yet. Needs a Tokio runtime.
    ///
    /// # Errors
    /// [`TelemetryError::Collector`].
    pub fn start(options: TraceOptions) -> Result<Self, TelemetryError> {
        let TraceOptions { endpoint, headers, rules, sample } = options;
        let resource = Resource::builder_empty()
            .with_attribute(KeyValue::new("service.name", "tollgate"))
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let collector = Collector::new(endpoint, headers, rules, &resource)?;
        let closing = CancellationToken::new();
        let (queue, spans) = Queue::new();
        // Each is set, so that none comes from the environment.
        let provider = SdkTracerProvider::builder()
            .with_span_processor(queue)
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(sample))))
            .with_span_limits(SpanLimits::default())
            .with_resource(resource)
            .build();
        let sending = tokio::spawn(collector.run(spans, closing.clone()));
        Ok(Self { provider, closing, sending })
    }

    /// Makes spans of the path into spans of traces; lets everything else pass by.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let only_the_path = filter_fn(|metadata| metadata.is_span() && metadata.target() == TARGET);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("tollgate"))
            .with_location(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_target(false)
            .with_level(false)
            .with_context_activation(false)
            .with_filter(only_the_path.with_max_level_hint(LevelFilter::DEBUG))
    }

    /// Sends what is queued, for a bounded time.
    pub async fn finish(self) {
        self.closing.cancel();
        if tokio::time::timeout(LINGER, self.sending).await.is_err() {
            tracing::warn!("the collector of traces is too slow: the last spans are lost");
        }
    }
}
