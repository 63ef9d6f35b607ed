//! Exemplars: of each bucket of a latency, the newest observation whose trace was sampled.
//!
//! They are kept beside the histograms, as the recorder has none. What never was sampled is never told: its trace id would
//! lead nowhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use metrics::{Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use opentelemetry::trace::TraceId;

use super::{METRICS, MetricKind, names};
use crate::clock::Clock;
use crate::telemetry::span::current_trace;

/// The histograms that have exemplars; each has one label.
const WITH_EXEMPLARS: [&str; 2] = [names::STEP_SECONDS, names::REQUEST_SECONDS];

/// Most label values of all of them together: they come from enums, and this is more than there are.
const MAX_SERIES: usize = 256;

/// One observation, and its trace.
#[derive(Debug, Clone, Copy)]
struct Exemplar {
    trace: TraceId,
    value: f64,
    at: Timestamp,
}

/// A metric and its label as the text shows it.
type Series = (&'static str, String);

/// The newest of each bucket.
#[derive(Debug)]
pub(super) struct Exemplars {
    clock: Clock,
    /// Bucket by bucket, the last one without a bound.
    series: Mutex<HashMap<Series, Vec<Option<Exemplar>>>>,
}

impl Exemplars {
    pub(super) fn new(clock: Clock) -> Arc<Self> {
        Arc::new(Self { clock, series: Mutex::default() })
    }

    fn take(&self, name: &'static str, label: &str, value: f64, trace: TraceId) {
        let bounds = bounds(name);
        let bucket = bounds.partition_point(|bound| *bound < value);
        let at = self.clock.now();
        let mut series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let known = (name, label.to_owned());
        if series.len() >= MAX_SERIES && !series.contains_key(&known) {
            return;
        }
        let buckets = series.entry(known).or_insert_with(|| vec![None; bounds.len() + 1]);
        if let Some(newest) = buckets.get_mut(bucket) {
            *newest = Some(Exemplar { trace, value, at });
        }
    }

    /// What follows the sample of each bucket that has one, by its series in the text format.
    pub(super) fn shown(&self) -> HashMap<String, String> {
        let series = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        let mut shown = HashMap::new();
        for ((name, label), buckets) in series.iter() {
            let bounds = bounds(name).iter().map(ToString::to_string).chain(["+Inf".to_owned()]);
            for (bound, exemplar) in bounds.zip(buckets) {
                if let Some(Exemplar { trace, value, at }) = exemplar {
                    let (seconds, millis) = (at.as_second(), at.subsec_millisecond());
                    let told = format!(" # {{trace_id=\"{trace}\"}} {value} {seconds}.{millis:03}");
                    shown.insert(format!("{name}_bucket{{{label},le=\"{bound}\"}}"), told);
                }
            }
        }
        shown
    }
}

/// Upper bounds of a histogram's buckets.
fn bounds(name: &str) -> &'static [f64] {
    let kind = METRICS.iter().find(|metric| metric.name == name).map(|metric| metric.kind);
    match kind {
        Some(MetricKind::Histogram(bounds)) => bounds,
        Some(MetricKind::Counter | MetricKind::Gauge) | None => &[],
    }
}

/// Records as the recorder within, and keeps exemplars of what it is told.
pub(super) struct Recording<R> {
    pub(super) within: R,
    pub(super) exemplars: Arc<Exemplars>,
}

impl<R: Recorder> Recorder for Recording<R> {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.within.describe_counter(key, unit, description);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.within.describe_gauge(key, unit, description);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, description: SharedString) {
        self.within.describe_histogram(key, unit, description);
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        self.within.register_counter(key, metadata)
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        self.within.register_gauge(key, metadata)
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let within = self.within.register_histogram(key, metadata);
        let name = WITH_EXEMPLARS.iter().find(|name| **name == key.name());
        let (Some(name), Some(trace)) = (name, current_trace()) else { return within };
        let labels: Vec<_> =
            key.labels().map(|label| format!("{}=\"{}\"", label.key(), label.value())).collect();
        let exemplars = Arc::clone(&self.exemplars);
        Histogram::from_arc(Arc::new(Traced { within, exemplars, name, label: labels.join(","), trace }))
    }
}

/// A histogram that is told of within a sampled trace.
struct Traced {
    within: Histogram,
    exemplars: Arc<Exemplars>,
    name: &'static str,
    label: String,
    trace: TraceId,
}

impl HistogramFn for Traced {
    fn record(&self, value: f64) {
        self.within.record(value);
        self.exemplars.take(self.name, &self.label, value, self.trace);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: TraceId = TraceId::from_bytes([7; 16]);

    fn exemplars() -> Arc<Exemplars> {
        Exemplars::new(Clock::manual("2026-03-02T12:00:00.250Z".parse().unwrap()))
    }

    fn series(step: &str, bound: &str) -> String {
        format!("{}_bucket{{step=\"{step}\",le=\"{bound}\"}}", names::STEP_SECONDS)
    }

    #[test]
    fn each_bucket_has_its_newest_and_a_bound_belongs_to_its_bucket() {
        let exemplars = exemplars();
        let newer = TraceId::from_bytes([8; 16]);
        for (value, trace) in [(0.003, TRACE), (0.005, newer), (0.007, TRACE), (11.0, TRACE)] {
            exemplars.take(names::STEP_SECONDS, "step=\"mint\"", value, trace);
        }
        let told = |trace, value| format!(" # {{trace_id=\"{trace}\"}} {value} 1772452800.250");
        let expected = HashMap::from([
            (series("mint", "0.005"), told(newer, "0.005")),
            (series("mint", "0.01"), told(TRACE, "0.007")),
            (series("mint", "+Inf"), told(TRACE, "11")),
        ]);
        assert_eq!(exemplars.shown(), expected);
    }

    #[test]
    fn s_07_their_number_is_bounded() {
        let exemplars = exemplars();
        for n in 0..2 * MAX_SERIES {
            exemplars.take(names::STEP_SECONDS, &format!("step=\"{n}\""), 0.1, TRACE);
        }
        exemplars.take(names::STEP_SECONDS, "step=\"0\"", 0.5, TRACE);
        assert_eq!(exemplars.shown().len(), MAX_SERIES + 1, "those that are known go on");
    }
}
