//! Logs, metrics and traces: how Tollgate says what it does.
//!
//! Logs go to standard error, one line per event, with every control character escaped. Metric labels come from enums and
//! configured names, never from a token or a request. No secret may reach either; what dependencies say below `info` is
//! not written at all, because their authors cannot know what is secret here.

mod escape;
mod logs;
mod metrics;
mod span;
mod traces;

pub use logs::{DEFAULT_FILTER, FILTER_VARIABLE, Format, init};
pub use metrics::{
    Budget, EndOutcome, Exposition, InFlight, KmsOutcome, METRICS, Metric, MetricKind, Metrics, Outcome,
    batch_committed, blocks_in_force, commit_failed, configuration_reloaded, end_tried, ends_waiting,
    event_dropped, exchange_ended, issuer_keys_aged, kms_called, leases_live, mint_ended, names,
    rate_limited, readiness, request_ended, request_shed, signing_keys, sink_dead_letter, sink_delivered,
    sink_failed, sink_lags, sink_starts,
};
pub use span::{Step, exchange_came_to, exchange_is_for, exchange_span, in_request};
pub use traces::{TraceOptions, Traces};

use crate::net::NetError;

/// Why logs, metrics or traces cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not a list of directives.
    #[error("the log filter is not of the form `info` or `info,tollgate::policy=debug`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logs were started before.
    #[error("logs are already set up")]
    Logs(#[source] tracing_subscriber::util::TryInitError),
    /// The client of the collector cannot be built.
    #[error("traces cannot be sent")]
    Collector(#[source] NetError),
    /// Metrics were started before, or a histogram has no bucket.
    #[error("metrics are already set up")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
}
