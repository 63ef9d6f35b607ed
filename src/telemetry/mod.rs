//! Logs and metrics: how Tollgate says what it does.
//!
//! Logs go to standard error, one line per event, with every control character escaped. Metric labels come from enums and
//! configured names, never from a token or a request. No secret may reach either; what dependencies say below `info` is
//! not written at all, because their authors cannot know what is secret here.

mod escape;
mod logs;
mod metrics;

pub use logs::{DEFAULT_FILTER, FILTER_VARIABLE, Format, init};
pub use metrics::{Budget, InFlight, Metrics, Outcome, Step, names};
pub use metrics::{
    batch_committed, commit_failed, event_dropped, exchange_ended, issuer_keys_aged, leases_live,
    rate_limited, request_ended, request_shed,
};

/// Why logs or metrics cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not a list of directives.
    #[error("the log filter is not of the form `info` or `info,tollgate::policy=debug`")]
    Filter(#[source] tracing_subscriber::filter::ParseError),
    /// Logs were started before.
    #[error("logs are already set up")]
    Logs(#[source] tracing_subscriber::util::TryInitError),
    /// Metrics were started before, or a histogram has no bucket.
    #[error("metrics are already set up")]
    Metrics(#[source] metrics_exporter_prometheus::BuildError),
}
