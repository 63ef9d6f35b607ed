//! The metrics, and the text that Prometheus reads.

mod exemplars;
mod open_metrics;
mod record;
mod table;

use std::sync::Arc;
use std::time::Duration;

use metrics::{SetRecorderError, counter, describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use self::exemplars::{Exemplars, Recording};

pub use record::{
    Budget, EndOutcome, InFlight, KmsOutcome, Outcome, batch_committed, blocks_in_force, commit_failed,
    configuration_reloaded, end_tried, ends_waiting, event_dropped, exchange_ended, issuer_keys_aged,
    kms_called, leases_live, mint_ended, rate_limited, readiness, request_ended, request_shed, signing_keys,
    sink_dead_letter, sink_delivered, sink_failed, sink_lags, sink_starts,
};
pub(super) use record::{SpanOutcome, spans};
pub use table::{METRICS, Metric, MetricKind, names};

use super::TelemetryError;
use crate::clock::Clock;
use crate::domain::Code;

/// How often observations are folded into their buckets when nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
    exemplars: Option<Arc<Exemplars>>,
}

/// Version 0.0.4 of the text format, as Prometheus' exposition format page names it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `OpenMetrics`, as its specification names it.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exposition {
    /// What the text is in.
    pub content_type: &'static str,
    /// The text.
    pub text: String,
}

impl Exposition {
    /// In the text format.
    pub const fn plain(text: String) -> Self {
        Self { content_type: TEXT_FORMAT, text }
    }
}

impl Metrics {
    /// Starts recording, for the rest of the process; `exemplars` has them kept, with their times by that clock.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn install(exemplars: Option<Clock>) -> Result<Self, TelemetryError> {
        let recorder = builder().map_err(TelemetryError::Metrics)?.build_recorder();
        let handle = recorder.handle();
        let exemplars = exemplars.map(Exemplars::new);
        let installed = match exemplars.clone() {
            None => metrics::set_global_recorder(recorder).map_err(BuildError::from),
            Some(exemplars) => metrics::set_global_recorder(Recording { within: recorder, exemplars })
                .map_err(|SetRecorderError(refused)| BuildError::from(SetRecorderError(refused.within))),
        };
        installed.map_err(TelemetryError::Metrics)?;
        describe();
        begin();
        Ok(Self { handle, exemplars })
    }

    /// All metrics: as `OpenMetrics` for one who takes that, if there are exemplars to tell, or else in Prometheus' text
    /// format.
    pub fn expose(&self, takes_open_metrics: bool) -> Exposition {
        match self.exemplars.as_ref().filter(|_| takes_open_metrics) {
            None => Exposition::plain(self.handle.render()),
            Some(exemplars) => {
                // First, so that each is of an observation that its bucket counts.
                let shown = exemplars.shown();
                let text = open_metrics::open_metrics(&self.handle.render(), &shown);
                Exposition { content_type: OPEN_METRICS, text }
            }
        }
    }

    /// Keeps memory bounded while nobody reads the metrics: observations wait in a list until they are folded in. Runs for
    /// ever; spawn it once.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.handle.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    METRICS.iter().try_fold(PrometheusBuilder::new(), |builder, metric| match metric.kind {
        MetricKind::Histogram(buckets) => {
            builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)
        }
        MetricKind::Counter | MetricKind::Gauge => Ok(builder),
    })
}

fn describe() {
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            MetricKind::Counter => describe_counter!(*name, *help),
            MetricKind::Gauge => describe_gauge!(*name, *help),
            MetricKind::Histogram(_) => describe_histogram!(*name, *help),
        }
    }
}

/// Starts every counter whose labels are known at zero: one that appears with its first event hides that event from
/// `rate()` and `increase()`.
fn begin() {
    for name in [names::SHED, names::FAILED_COMMITS, names::EVENTS_DROPPED] {
        counter!(name).increment(0);
    }
    for code in Code::ALL {
        counter!(names::REFUSALS, "code" => code.as_str()).increment(0);
    }
    for outcome in ["leased", "renewed", "would_allow", "refused"] {
        counter!(names::EXCHANGES, "outcome" => outcome).increment(0);
    }
    for outcome in ["ended", "dies_at_expiry", "failed"] {
        counter!(names::ENDS, "outcome" => outcome).increment(0);
    }
    for budget in Budget::ALL {
        counter!(names::RATE_LIMITED, "budget" => budget.as_str()).increment(0);
    }
    for outcome in ["done", "refused"] {
        counter!(names::RELOADS, "outcome" => outcome).increment(0);
    }
    for outcome in ["done", "refused", "unavailable", "paused"] {
        counter!(names::KMS_CALLS, "outcome" => outcome).increment(0);
    }
    for outcome in [SpanOutcome::Exported, SpanOutcome::Failed, SpanOutcome::Dropped] {
        spans(outcome, 0);
    }
    gauge!(names::IN_FLIGHT).increment(0.0);
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Step;

    fn rendered(work: impl FnOnce()) -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            begin();
            work();
        });
        recorder.handle().render()
    }

    fn one_of_each() {
        exchange_ended(Outcome::Leased);
        exchange_ended(Outcome::Renewed);
        exchange_ended(Outcome::WouldAllow);
        exchange_ended(Outcome::Refused(Code::PolicyDenied));
        Step::decide(Some(&"deploy".parse().unwrap()), || ());
        mint_ended("vault", false, Duration::from_millis(3));
        leases_live(3);
        blocks_in_force(2);
        end_tried(EndOutcome::DiesAtExpiry);
        ends_waiting(2, 1);
        batch_committed(7, Duration::from_millis(1));
        issuer_keys_aged(&"github".parse().unwrap(), Some(Duration::from_secs(90)));
        issuer_keys_aged(&"gitlab".parse().unwrap(), None);
        signing_keys("federation", "active", 2);
        readiness(true);
        configuration_reloaded(false);
        request_shed();
        kms_called(KmsOutcome::Paused);
        commit_failed();
        event_dropped();
        sink_starts("siem");
        sink_lags("siem", 12, 3.5);
        sink_delivered("siem", 7);
        sink_failed("siem");
        sink_dead_letter("siem");
        request_ended("/token", 200, Duration::from_millis(1));
    }

    #[test]
    fn every_metric_is_rendered_under_its_name() {
        let text = rendered(one_of_each);
        for line in [
            r#"tollgate_exchanges_total{outcome="leased"} 1"#,
            r#"tollgate_exchanges_total{outcome="renewed"} 1"#,
            r#"tollgate_exchanges_total{outcome="would_allow"} 1"#,
            r#"tollgate_exchanges_total{outcome="refused"} 1"#,
            r#"tollgate_refusals_total{code="policy_denied"} 1"#,
            r#"tollgate_step_duration_seconds_bucket{step="decide",le="+Inf"} 1"#,
            r#"tollgate_role_decide_duration_seconds_count{role="deploy"} 1"#,
            r#"tollgate_mint_duration_seconds_bucket{provider="vault",outcome="failed",le="0.005"} 1"#,
            r#"tollgate_ledger_batch_records_bucket{le="4"} 0"#,
            r#"tollgate_ledger_batch_records_bucket{le="8"} 1"#,
            r#"tollgate_issuer_keys_age_seconds{issuer="github"} 90"#,
            r#"tollgate_issuer_keys_known{issuer="gitlab"} 0"#,
            r#"tollgate_signing_keys{purpose="federation",state="active"} 2"#,
            r#"tollgate_kms_calls_total{outcome="paused"} 1"#,
            r#"tollgate_ends_total{outcome="dies_at_expiry"} 1"#,
            r#"tollgate_reloads_total{outcome="refused"} 1"#,
            r#"tollgate_http_requests_total{route="/token",status="200"} 1"#,
            "tollgate_ends_waiting 2",
            "tollgate_ends_dead 1",
            "tollgate_leases_live 3",
            "tollgate_blocks_in_force 2",
            "tollgate_ready 1",
            "tollgate_http_requests_shed_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
    }

    #[test]
    fn the_table_names_all_that_is_rendered_and_nothing_else() {
        let text = rendered(one_of_each);
        for Metric { name, kind, labels, help } in METRICS {
            assert!(text.contains(&format!("# HELP {name} {help}\n")), "{name}");
            assert!(text.contains(&format!("# TYPE {name} {}\n", kind.as_str())), "{name}");
            let ending = if matches!(kind, MetricKind::Histogram(_)) { "_count" } else { "" };
            let series = format!("{name}{ending}");
            for line in text.lines().filter_map(|line| line.strip_prefix(&series)) {
                let (shown, _) = line.split_once(' ').unwrap();
                let shown: Vec<_> = shown
                    .trim_matches(['{', '}'])
                    .split(',')
                    .filter_map(|label| Some(label.split_once('=')?.0))
                    .collect();
                assert_eq!(shown, *labels, "{name}");
            }
        }
        let types = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
        assert_eq!(types, METRICS.len());
    }

    #[test]
    fn requests_in_flight_are_counted_until_they_end() {
        let during = rendered(|| std::mem::forget(InFlight::enter()));
        assert!(during.lines().any(|line| line == "tollgate_http_requests_in_flight 1"), "{during}");
        let after = rendered(|| drop(InFlight::enter()));
        assert!(after.lines().any(|line| line == "tollgate_http_requests_in_flight 0"), "{after}");
    }

    #[test]
    fn counters_exist_before_their_first_event() {
        let text = rendered(|| ());
        for line in
            ["tollgate_http_requests_shed_total 0", r#"tollgate_refusals_total{code="store_unavailable"} 0"#]
        {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }
}
