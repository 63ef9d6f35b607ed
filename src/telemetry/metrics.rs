//! The metrics: their names, what may label them, and the text that Prometheus reads.

use std::time::{Duration, Instant};

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tracing::{Instrument, Span, debug_span};

use super::TelemetryError;
use crate::domain::{Code, IssuerName};

/// Metric names: a contract with dashboards and alerts.
pub mod names {
    /// Counter: exchanges that ended, by `outcome` and `code`.
    pub const EXCHANGES: &str = "tollgate_exchanges_total";
    /// Counter: refusals, by `code`.
    pub const REFUSALS: &str = "tollgate_refusals_total";
    /// Histogram: seconds that each `step` of the path took.
    pub const STEP_SECONDS: &str = "tollgate_step_duration_seconds";
    /// Gauge: leases that are alive.
    pub const LEASES_LIVE: &str = "tollgate_leases_live";
    /// Counter: HTTP requests that were answered, by `route` and `status`.
    pub const REQUESTS: &str = "tollgate_http_requests_total";
    /// Histogram: seconds from a request's head to its answer's, by `route`.
    pub const REQUEST_SECONDS: &str = "tollgate_http_request_duration_seconds";
    /// Gauge: HTTP requests being served.
    pub const IN_FLIGHT: &str = "tollgate_http_requests_in_flight";
    /// Counter: requests turned away because too many were being served.
    pub const SHED: &str = "tollgate_shed_total";
    /// Counter: requests refused because a `budget` was used up.
    pub const RATE_LIMITED: &str = "tollgate_rate_limited_total";
    /// Histogram: records per commit of the ledger.
    pub const BATCH_SIZE: &str = "tollgate_ledger_batch_size";
    /// Counter: commits of the ledger that failed.
    pub const FAILED_COMMITS: &str = "tollgate_ledger_failed_commits_total";
    /// Counter: audit events that a sink did not take; the store has their records.
    pub const EVENTS_DROPPED: &str = "tollgate_events_dropped_total";
    /// Gauge: seconds since the keys of an `issuer` were last fetched.
    pub const ISSUER_KEYS_AGE: &str = "tollgate_issuer_keys_age_seconds";
}

/// From a cached look-up to a target that hangs.
const STEP_BUCKETS: [f64; 17] = [
    0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 1.0, 2.5, 10.0,
];
const BATCH_BUCKETS: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How often observations are folded into their buckets when nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// The process's metrics.
#[derive(Debug, Clone)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// Starts recording, for the rest of the process.
    ///
    /// # Errors
    /// [`TelemetryError::Metrics`].
    pub fn install() -> Result<Self, TelemetryError> {
        let handle =
            builder().and_then(PrometheusBuilder::install_recorder).map_err(TelemetryError::Metrics)?;
        describe();
        Ok(Self(handle))
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Keeps memory bounded while nobody reads the metrics: observations wait in a list until they are folded in. Runs for
    /// ever; spawn it once.
    pub async fn upkeep(self) {
        loop {
            tokio::time::sleep(UPKEEP).await;
            self.0.run_upkeep();
        }
    }
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let full = |name: &str| Matcher::Full(name.to_owned());
    PrometheusBuilder::new()
        .set_buckets_for_metric(full(names::STEP_SECONDS), &STEP_BUCKETS)?
        .set_buckets_for_metric(full(names::REQUEST_SECONDS), &STEP_BUCKETS)?
        .set_buckets_for_metric(full(names::BATCH_SIZE), &BATCH_BUCKETS)
}

fn describe() {
    describe_counter!(names::EXCHANGES, "Exchanges that ended, by outcome and code.");
    describe_counter!(names::REFUSALS, "Refusals, by code.");
    describe_histogram!(names::STEP_SECONDS, Unit::Seconds, "Time that each step of the path took.");
    describe_gauge!(names::LEASES_LIVE, "Leases that are alive.");
    describe_counter!(names::REQUESTS, "HTTP requests that were answered, by route and status.");
    describe_histogram!(names::REQUEST_SECONDS, Unit::Seconds, "Time that HTTP requests took, by route.");
    describe_gauge!(names::IN_FLIGHT, "HTTP requests being served.");
    describe_counter!(names::SHED, "Requests turned away because too many were being served.");
    describe_counter!(names::RATE_LIMITED, "Requests refused because a budget was used up, by budget.");
    describe_histogram!(names::BATCH_SIZE, "Records per commit of the ledger.");
    describe_counter!(names::FAILED_COMMITS, "Commits of the ledger that failed.");
    describe_counter!(names::EVENTS_DROPPED, "Audit events that a sink did not take.");
    describe_gauge!(names::ISSUER_KEYS_AGE, Unit::Seconds, "Time since an issuer's keys were last fetched.");
    // A counter that appears with its first event hides that event from rate().
    for name in [names::SHED, names::FAILED_COMMITS, names::EVENTS_DROPPED] {
        counter!(name).increment(0);
    }
    for budget in Budget::ALL {
        counter!(names::RATE_LIMITED, "budget" => budget.as_str()).increment(0);
    }
    gauge!(names::IN_FLIGHT).increment(0.0);
}

/// A step of the path of a request; spans and metrics have the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Who asks, and do they belong to us.
    Authenticate,
    /// What policy sees.
    Facts,
    /// What policy says.
    Decide,
    /// What will be minted, and how to find it again.
    Plan,
    /// The durable authorisation.
    Authorise,
    /// The credential.
    Mint,
    /// The durable lease.
    Lease,
}

impl Step {
    /// The value of the label `step`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authenticate => "authenticate",
            Self::Facts => "facts",
            Self::Decide => "decide",
            Self::Plan => "plan",
            Self::Authorise => "authorise",
            Self::Mint => "mint",
            Self::Lease => "lease",
        }
    }

    fn span(self) -> Span {
        match self {
            Self::Authenticate => debug_span!("authenticate"),
            Self::Facts => debug_span!("facts"),
            Self::Decide => debug_span!("decide"),
            Self::Plan => debug_span!("plan"),
            Self::Authorise => debug_span!("authorise"),
            Self::Mint => debug_span!("mint"),
            Self::Lease => debug_span!("lease"),
        }
    }

    /// Runs an asynchronous step in its span and records how long it took.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.instrument(self.span()).await;
        self.record(started.elapsed());
        done
    }

    /// Runs a step that does not wait, likewise.
    pub fn run_now<T>(self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = self.span().in_scope(work);
        self.record(started.elapsed());
        done
    }

    fn record(self, took: Duration) {
        histogram!(names::STEP_SECONDS, "step" => self.as_str()).record(took);
    }
}

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a recorded credential.
    Leased,
    /// As a dry run that policy allows.
    WouldAllow,
    /// Without a credential.
    Refused(Code),
}

/// Counts an exchange, and its refusal if it was one.
pub fn exchange_ended(outcome: Outcome) {
    let (outcome, code) = match outcome {
        Outcome::Leased => ("leased", "none"),
        Outcome::WouldAllow => ("would_allow", "none"),
        Outcome::Refused(code) => {
            counter!(names::REFUSALS, "code" => code.as_str()).increment(1);
            ("refused", code.as_str())
        }
    };
    counter!(names::EXCHANGES, "outcome" => outcome, "code" => code).increment(1);
}

/// Counts a request that was turned away.
pub fn request_shed() {
    counter!(names::SHED).increment(1);
}

/// What a rate-limited request was refused for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Budget {
    /// Exchanges of one identity.
    Principal,
    /// Exchanges of one tenant.
    Tenant,
    /// Exchanges for one role.
    Role,
    /// Exchanges for a tenant's roles on call.
    OnCall,
    /// Look-ups of one identity.
    Lookups,
    /// Look-ups from one address.
    Peer,
}

impl Budget {
    const ALL: [Self; 6] =
        [Self::Principal, Self::Tenant, Self::Role, Self::OnCall, Self::Lookups, Self::Peer];

    /// The value of the label `budget`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Tenant => "tenant",
            Self::Role => "role",
            Self::OnCall => "on_call",
            Self::Lookups => "lookups",
            Self::Peer => "peer",
        }
    }
}

/// Counts a request that was refused because `budget` was used up.
pub fn rate_limited(budget: Budget) {
    counter!(names::RATE_LIMITED, "budget" => budget.as_str()).increment(1);
}

/// Records how many leases are alive.
pub fn leases_live(count: u32) {
    gauge!(names::LEASES_LIVE).set(count);
}

/// Records how many records one commit of the ledger held.
pub fn batch_committed(records: u32) {
    histogram!(names::BATCH_SIZE).record(records);
}

/// Counts a commit of the ledger that failed.
pub fn commit_failed() {
    counter!(names::FAILED_COMMITS).increment(1);
}

/// Counts an audit event that a sink did not take.
pub fn event_dropped() {
    counter!(names::EVENTS_DROPPED).increment(1);
}

/// Counts and times an HTTP request. `route` is the matched pattern, never a path: that would be an unbounded label.
pub fn request_ended(route: &str, status: u16, took: Duration) {
    let route = route.to_owned();
    counter!(names::REQUESTS, "route" => route.clone(), "status" => status.to_string()).increment(1);
    histogram!(names::REQUEST_SECONDS, "route" => route).record(took);
}

/// Records how old an issuer's keys are. The label is bounded: issuers come from configuration, never from a token.
pub fn issuer_keys_aged(issuer: &IssuerName, age: Duration) {
    gauge!(names::ISSUER_KEYS_AGE, "issuer" => issuer.as_str().to_owned()).set(age);
}

/// Counts one HTTP request as being served until it is dropped, however it ends.
#[derive(Debug)]
pub struct InFlight(());

impl InFlight {
    /// Counts from now on.
    pub fn enter() -> Self {
        gauge!(names::IN_FLIGHT).increment(1.0);
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!(names::IN_FLIGHT).decrement(1.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(work: impl FnOnce()) -> String {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            describe();
            work();
        });
        recorder.handle().render()
    }

    #[test]
    fn every_metric_is_rendered_under_its_name_with_its_description() {
        let text = rendered(|| {
            exchange_ended(Outcome::Leased);
            exchange_ended(Outcome::WouldAllow);
            exchange_ended(Outcome::Refused(Code::PolicyDenied));
            Step::Decide.run_now(|| ());
            leases_live(3);
            batch_committed(7);
            issuer_keys_aged(&"github".parse().unwrap(), Duration::from_secs(90));
            request_shed();
            rate_limited(Budget::OnCall);
            commit_failed();
            event_dropped();
            request_ended("/token", 200, Duration::from_millis(1));
        });
        for line in [
            r#"tollgate_exchanges_total{outcome="leased",code="none"} 1"#,
            r#"tollgate_exchanges_total{outcome="would_allow",code="none"} 1"#,
            r#"tollgate_exchanges_total{outcome="refused",code="policy_denied"} 1"#,
            r#"tollgate_refusals_total{code="policy_denied"} 1"#,
            r#"tollgate_step_duration_seconds_bucket{step="decide",le="+Inf"} 1"#,
            r#"tollgate_ledger_batch_size_bucket{le="4"} 0"#,
            r#"tollgate_ledger_batch_size_bucket{le="8"} 1"#,
            r#"tollgate_issuer_keys_age_seconds{issuer="github"} 90"#,
            "tollgate_leases_live 3",
            r#"tollgate_http_requests_total{route="/token",status="200"} 1"#,
            r#"tollgate_http_request_duration_seconds_bucket{route="/token",le="+Inf"} 1"#,
            "tollgate_shed_total 1",
            r#"tollgate_rate_limited_total{budget="on_call"} 1"#,
            r#"tollgate_rate_limited_total{budget="peer"} 0"#,
            "tollgate_ledger_failed_commits_total 1",
            "tollgate_events_dropped_total 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nnot in\n{text}");
        }
        for name in [
            names::EXCHANGES,
            names::REFUSALS,
            names::STEP_SECONDS,
            names::LEASES_LIVE,
            names::REQUESTS,
            names::REQUEST_SECONDS,
            names::IN_FLIGHT,
            names::SHED,
            names::RATE_LIMITED,
            names::BATCH_SIZE,
            names::FAILED_COMMITS,
            names::EVENTS_DROPPED,
            names::ISSUER_KEYS_AGE,
        ] {
            assert!(text.contains(&format!("# HELP {name} ")), "{name}");
        }
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
        assert!(rendered(|| ()).lines().any(|line| line == "tollgate_shed_total 0"));
    }

    #[tokio::test]
    async fn a_step_gives_back_what_its_work_gives() {
        assert_eq!(Step::Mint.run(async { 7 }).await, 7);
        assert_eq!(Step::Decide.run_now(|| 8), 8);
    }
}
