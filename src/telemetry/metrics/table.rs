//! Every metric: what it is called, what may label it, what it says.

/// Metric names: a contract with dashboards and alerts.
pub mod names {
    /// Exchanges that ended.
    pub const EXCHANGES: &str = "tollgate_exchanges_total";
    /// Refusals.
    pub const REFUSALS: &str = "tollgate_refusals_total";
    /// Time per step of the path.
    pub const STEP_SECONDS: &str = "tollgate_step_duration_seconds";
    /// Time per decision of one role.
    pub const ROLE_DECIDE_SECONDS: &str = "tollgate_role_decide_duration_seconds";
    /// Time that targets take to mint.
    pub const MINT_SECONDS: &str = "tollgate_mint_duration_seconds";
    /// Leases that are alive.
    pub const LEASES_LIVE: &str = "tollgate_leases_live";
    /// Blocks in force.
    pub const BLOCKS: &str = "tollgate_blocks_in_force";
    /// Attempts to end a credential.
    pub const ENDS: &str = "tollgate_ends_total";
    /// Credentials that still have to be ended.
    pub const ENDS_WAITING: &str = "tollgate_ends_waiting";
    /// Those of them that somebody must look at.
    pub const ENDS_DEAD: &str = "tollgate_ends_dead";
    /// HTTP requests that were answered.
    pub const REQUESTS: &str = "tollgate_http_requests_total";
    /// Time per HTTP request.
    pub const REQUEST_SECONDS: &str = "tollgate_http_request_duration_seconds";
    /// HTTP requests being served.
    pub const IN_FLIGHT: &str = "tollgate_http_requests_in_flight";
    /// HTTP requests turned away.
    pub const SHED: &str = "tollgate_http_requests_shed_total";
    /// Requests refused because a budget was used up.
    pub const RATE_LIMITED: &str = "tollgate_rate_limited_total";
    /// Records per commit of the ledger.
    pub const BATCH_SIZE: &str = "tollgate_ledger_batch_records";
    /// Time per commit of the ledger.
    pub const COMMIT_SECONDS: &str = "tollgate_ledger_commit_duration_seconds";
    /// Commits of the ledger that failed.
    pub const FAILED_COMMITS: &str = "tollgate_ledger_commit_failures_total";
    /// Audit events that a sink did not take.
    pub const EVENTS_DROPPED: &str = "tollgate_events_dropped_total";
    /// Records that a sink has not got yet.
    pub const SINK_LAG: &str = "tollgate_sink_lag_records";
    /// Age of the oldest record that a sink has not got yet.
    pub const SINK_LAG_SECONDS: &str = "tollgate_sink_lag_seconds";
    /// Records that a sink has got.
    pub const SINK_DELIVERED: &str = "tollgate_sink_delivered_total";
    /// Attempts of a sink that failed.
    pub const SINK_FAILURES: &str = "tollgate_sink_failures_total";
    /// Records that a sink's receiver refuses for good.
    pub const SINK_DEAD_LETTERS: &str = "tollgate_sink_dead_letters_total";
    /// Age of an issuer's keys.
    pub const ISSUER_KEYS_AGE: &str = "tollgate_issuer_keys_age_seconds";
    /// Whether an issuer's keys are known.
    pub const ISSUER_KEYS_KNOWN: &str = "tollgate_issuer_keys_known";
    /// Tollgate's own keys.
    pub const SIGNING_KEYS: &str = "tollgate_signing_keys";
    /// Calls of a KMS.
    pub const KMS_CALLS: &str = "tollgate_kms_calls_total";
    /// Whether anything can be issued.
    pub const READY: &str = "tollgate_ready";
    /// Reloads of the configuration.
    pub const RELOADS: &str = "tollgate_reloads_total";
    /// Spans of traces.
    pub const SPANS: &str = "tollgate_spans_total";
    /// Which Tollgate this is.
    pub const BUILD_INFO: &str = "tollgate_build_info";
}

/// From a cached look-up to a target that hangs; seconds.
const SECONDS: &[f64] = &[
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0, 2.5, 10.0,
];

/// From one record to the largest batch.
const RECORDS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// What a metric counts, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// Only grows, until a restart.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Observations in buckets with these upper bounds.
    Histogram(&'static [f64]),
}

impl MetricKind {
    /// The type as Prometheus writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// Its kind.
    pub kind: MetricKind,
    /// What it is broken down by. Values come from enums and from the configuration, so that their number is bounded.
    pub labels: &'static [&'static str],
    /// What it says, one sentence.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Gauge, labels, help }
}

const fn seconds(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: MetricKind::Histogram(SECONDS), labels, help }
}

/// Every metric of Tollgate; its page in the documentation is compared with this.
pub const METRICS: &[Metric] = &[
    gauge(names::BUILD_INFO, &["version"], "Always 1; the version is in the label."),
    gauge(names::READY, &[], "1 while the ledger can record, and so anything can be issued; otherwise 0."),
    counter(names::RELOADS, &["outcome"], "Reloads of the configuration: done, or refused whole."),
    counter(names::EXCHANGES, &["outcome"], "Exchanges that ended: leased, renewed, would_allow or refused."),
    counter(names::REFUSALS, &["code"], "Exchanges that were refused, by code."),
    seconds(names::STEP_SECONDS, &["step"], "Time that each step of the path took."),
    seconds(
        names::ROLE_DECIDE_SECONDS,
        &["role"],
        "Time that policy took for the roles in telemetry.label_roles.",
    ),
    seconds(
        names::MINT_SECONDS,
        &["provider", "outcome"],
        "Time that minting took, by kind of target: minted or failed.",
    ),
    gauge(names::LEASES_LIVE, &[], "Leases that are alive."),
    gauge(names::BLOCKS, &[], "Blocks in force."),
    counter(
        names::ENDS,
        &["outcome"],
        "Attempts to end a credential: ended, dies_at_expiry (its target cannot end it) or failed.",
    ),
    gauge(names::ENDS_WAITING, &[], "Credentials that are being ended, or whose end is tried again."),
    gauge(names::ENDS_DEAD, &[], "Credentials whose end failed so often that somebody must look."),
    counter(names::REQUESTS, &["route", "status"], "HTTP requests that were answered."),
    seconds(names::REQUEST_SECONDS, &["route"], "Time from a request's head to its answer's."),
    gauge(names::IN_FLIGHT, &[], "HTTP requests being served."),
    counter(names::SHED, &[], "HTTP requests turned away because too many were being served."),
    counter(
        names::RATE_LIMITED,
        &["budget"],
        "Requests refused because a budget was used up: principal, tenant, role, on_call, lookups, peer or alerts.",
    ),
    Metric {
        name: names::BATCH_SIZE,
        kind: MetricKind::Histogram(RECORDS),
        labels: &[],
        help: "Records per commit of the ledger.",
    },
    seconds(names::COMMIT_SECONDS, &[], "Time from a transaction's begin until it is durable."),
    counter(names::FAILED_COMMITS, &[], "Commits of the ledger that failed."),
    counter(
        names::EVENTS_DROPPED,
        &[],
        "Audit events that a sink did not take; the store has their records.",
    ),
    gauge(names::SINK_LAG, &["sink"], "Records that a sink has not got yet."),
    gauge(names::SINK_LAG_SECONDS, &["sink"], "Age of the oldest record that a sink has not got yet."),
    counter(names::SINK_DELIVERED, &["sink"], "Records that a sink has got."),
    counter(names::SINK_FAILURES, &["sink"], "Attempts of a sink that failed; it tries again."),
    counter(names::SINK_DEAD_LETTERS, &["sink"], "Records that a sink's receiver refuses for good."),
    gauge(names::ISSUER_KEYS_AGE, &["issuer"], "Time since an issuer's keys were last fetched."),
    gauge(
        names::ISSUER_KEYS_KNOWN,
        &["issuer"],
        "1 if an issuer's keys are known, 0 if none was ever fetched.",
    ),
    gauge(names::SIGNING_KEYS, &["purpose", "state"], "Tollgate's own keys."),
    counter(
        names::KMS_CALLS,
        &["outcome"],
        "Calls of a KMS: done, refused, unavailable (down or too slow) or paused (not asked: it failed a moment ago).",
    ),
    counter(
        names::SPANS,
        &["outcome"],
        "Spans of traces: exported, failed (the collector did not take them) or dropped (the queue was full).",
    ),
];
