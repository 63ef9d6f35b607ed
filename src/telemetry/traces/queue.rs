//! What stands between the spans of a request and the collector: a queue that never makes a request wait.

use std::time::Duration;

use opentelemetry::Context;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use tokio::sync::mpsc;

use crate::telemetry::metrics::{SpanOutcome, spans};

/// Most spans that wait; about two megabytes of them.
const CAPACITY: usize = 4096;

/// Takes spans as they end.
#[derive(Debug)]
pub(super) struct Queue(mpsc::Sender<SpanData>);

impl Queue {
    /// The queue, and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<SpanData>) {
        let (sender, receiver) = mpsc::channel(CAPACITY);
        (Self(sender), receiver)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.0.try_send(span).is_err() {
            spans(SpanOutcome::Dropped, 1);
        }
    }

    /// Does nothing: the task that sends empties the queue.
    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    /// Does nothing, likewise.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use opentelemetry::trace::{Tracer, TracerProvider};
    use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider};

    fn ended_spans(sampler: Sampler, count: usize) -> (mpsc::Receiver<SpanData>, String) {
        let (queue, receiver) = Queue::new();
        let provider = SdkTracerProvider::builder().with_span_processor(queue).with_sampler(sampler).build();
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for _ in 0..count {
                drop(provider.tracer("test").start("step"));
            }
        });
        (receiver, recorder.handle().render())
    }

    #[test]
    fn s_07_a_full_queue_drops_and_counts_instead_of_waiting() {
        let (queued, metrics) = ended_spans(Sampler::AlwaysOn, CAPACITY + 7);
        assert_eq!(queued.len(), CAPACITY);
        assert!(metrics.contains("tollgate_spans_total{outcome=\"dropped\"} 7"), "{metrics}");
    }

    #[test]
    fn what_is_not_sampled_is_not_queued() {
        assert_eq!(ended_spans(Sampler::AlwaysOff, 3).0.len(), 0);
    }
}
