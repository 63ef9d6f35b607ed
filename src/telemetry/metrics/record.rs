//! What is counted and timed, one function each: nothing else may touch a metric.

use std::time::Duration;

use metrics::{counter, gauge, histogram};

use super::names;
use crate::domain::{Code, IssuerName};

/// How an exchange ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With a recorded credential.
    Leased,
    /// With a lease that lives longer.
    Renewed,
    /// As a dry run that policy allows.
    WouldAllow,
    /// Without a credential.
    Refused(Code),
}

impl Outcome {
    /// The value of the label `outcome`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leased => "leased",
            Self::Renewed => "renewed",
            Self::WouldAllow => "would_allow",
            Self::Refused(_) => "refused",
        }
    }
}

/// Counts an exchange, and its refusal if it was one.
pub fn exchange_ended(outcome: Outcome) {
    if let Outcome::Refused(code) = outcome {
        counter!(names::REFUSALS, "code" => code.as_str()).increment(1);
    }
    counter!(names::EXCHANGES, "outcome" => outcome.as_str()).increment(1);
}

/// Counts a request that was turned away.
pub fn request_shed() {
    counter!(names::SHED).increment(1);
}

/// Records how many leases are alive.
pub fn leases_live(count: u32) {
    gauge!(names::LEASES_LIVE).set(count);
}

/// Records how many blocks are in force.
pub fn blocks_in_force(count: u32) {
    gauge!(names::BLOCKS).set(count);
}

/// Times a mint at a target of the kind `provider`.
pub fn mint_ended(provider: &'static str, minted: bool, took: Duration) {
    let outcome = if minted { "minted" } else { "failed" };
    histogram!(names::MINT_SECONDS, "provider" => provider, "outcome" => outcome).record(took);
}

/// What came of an attempt to end a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOutcome {
    /// Dead at its target.
    Ended,
    /// Its target cannot end it.
    DiesAtExpiry,
    /// The target did not confirm.
    Failed,
}

/// Counts an attempt to end a credential.
pub fn end_tried(outcome: EndOutcome) {
    let outcome = match outcome {
        EndOutcome::Ended => "ended",
        EndOutcome::DiesAtExpiry => "dies_at_expiry",
        EndOutcome::Failed => "failed",
    };
    counter!(names::ENDS, "outcome" => outcome).increment(1);
}

/// Records how many credentials are being ended or have to be tried again, and how many of them somebody must look at.
pub fn ends_waiting(all: u32, dead: u32) {
    gauge!(names::ENDS_WAITING).set(all);
    gauge!(names::ENDS_DEAD).set(dead);
}

/// Records what one commit of the ledger held, and how long it took.
pub fn batch_committed(records: u32, took: Duration) {
    histogram!(names::BATCH_SIZE).record(records);
    histogram!(names::COMMIT_SECONDS).record(took);
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

/// Records how old an issuer's keys are, or that there are none. The label is bounded: issuers come from configuration,
/// never from a token.
pub fn issuer_keys_aged(issuer: &IssuerName, age: Option<Duration>) {
    let issuer = issuer.as_str().to_owned();
    gauge!(names::ISSUER_KEYS_KNOWN, "issuer" => issuer.clone()).set(f64::from(u8::from(age.is_some())));
    if let Some(age) = age {
        gauge!(names::ISSUER_KEYS_AGE, "issuer" => issuer).set(age);
    }
}

/// Records how many keys of our own are for `purpose` and in `state`.
pub fn signing_keys(purpose: &'static str, state: &'static str, count: usize) {
    let count = u32::try_from(count).unwrap_or(u32::MAX);
    gauge!(names::SIGNING_KEYS, "purpose" => purpose, "state" => state).set(count);
}

/// Records whether anything can be issued.
pub fn readiness(ready: bool) {
    gauge!(names::READY).set(f64::from(u8::from(ready)));
}

/// Counts a reload of the configuration.
pub fn configuration_reloaded(done: bool) {
    let outcome = if done { "done" } else { "refused" };
    counter!(names::RELOADS, "outcome" => outcome).increment(1);
}

/// What became of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanOutcome {
    /// The collector took them.
    Exported,
    /// The collector did not take them.
    Failed,
    /// The queue was full.
    Dropped,
}

/// Counts spans.
pub(crate) fn spans(outcome: SpanOutcome, count: usize) {
    let outcome = match outcome {
        SpanOutcome::Exported => "exported",
        SpanOutcome::Failed => "failed",
        SpanOutcome::Dropped => "dropped",
    };
    counter!(names::SPANS, "outcome" => outcome).increment(u64::try_from(count).unwrap_or(u64::MAX));
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
/// Records how many records a sink has not got, and how old the oldest is. `sink` is a configured name.
pub fn sink_lags(sink: &str, records: i64, seconds: f64) {
    let records = u32::try_from(records).unwrap_or(u32::MAX);
    gauge!(names::SINK_LAG, "sink" => sink.to_owned()).set(records);
    gauge!(names::SINK_LAG_SECONDS, "sink" => sink.to_owned()).set(seconds);
}

/// Makes a sink's counters exist before their first event, which `rate` would not see otherwise.
pub fn sink_starts(sink: &str) {
    for name in [names::SINK_DELIVERED, names::SINK_FAILURES, names::SINK_DEAD_LETTERS] {
        counter!(name, "sink" => sink.to_owned()).increment(0);
    }
}

/// Counts records that a sink has got.
pub fn sink_delivered(sink: &str, records: u64) {
    counter!(names::SINK_DELIVERED, "sink" => sink.to_owned()).increment(records);
}

/// Counts an attempt of a sink that failed.
pub fn sink_failed(sink: &str) {
    counter!(names::SINK_FAILURES, "sink" => sink.to_owned()).increment(1);
}

/// Counts a record that a sink's receiver refuses for good.
pub fn sink_dead_letter(sink: &str) {
    counter!(names::SINK_DEAD_LETTERS, "sink" => sink.to_owned()).increment(1);
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
    /// Alerts of one sender.
    Alerts,
}

impl Budget {
    pub(super) const ALL: [Self; 7] =
        [Self::Principal, Self::Tenant, Self::Role, Self::OnCall, Self::Lookups, Self::Peer, Self::Alerts];

    /// The value of the label `budget`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Principal => "principal",
            Self::Tenant => "tenant",
            Self::Role => "role",
            Self::OnCall => "on_call",
            Self::Lookups => "lookups",
            Self::Peer => "peer",
            Self::Alerts => "alerts",
        }
    }
}

/// What came of a call of a KMS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KmsOutcome {
    /// It did what was asked.
    Done,
    /// It said no.
    Refused,
    /// It is down, sealed or too slow.
    Unavailable,
    /// It was not asked, as it failed a moment ago.
    Paused,
}

/// Counts a call of a KMS.
pub fn kms_called(outcome: KmsOutcome) {
    let outcome = match outcome {
        KmsOutcome::Done => "done",
        KmsOutcome::Refused => "refused",
        KmsOutcome::Unavailable => "unavailable",
        KmsOutcome::Paused => "paused",
    };
    counter!(names::KMS_CALLS, "outcome" => outcome).increment(1);
}

/// Counts a request that was refused because `budget` was used up.
pub fn rate_limited(budget: Budget) {
    counter!(names::RATE_LIMITED, "budget" => budget.as_str()).increment(1);
}
