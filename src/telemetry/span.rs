//! An exchange and the steps of its path, as spans and metrics name them.
//!
//! Where nobody listens to a span, as by default, it is a constant: nothing is allocated or formatted for it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use metrics::histogram;
use opentelemetry::trace::TraceId;
use tracing::{Instrument, Span, debug_span};

use super::metrics::{Outcome, names};
use super::traces;
use crate::domain::{DecisionId, RoleName, TenantName, TraceParent};

/// What the spans of the path are known by: traces are made of them, and of nothing else.
pub(super) const TARGET: &str = "tollgate::path";

/// The span of an exchange. `parent` is somebody that may be believed.
pub fn exchange_span(decision: DecisionId, parent: Option<TraceParent>) -> Span {
    use tracing::field::Empty;
    let span = debug_span!(
        target: TARGET, "exchange", %decision, role = Empty, tenant = Empty, outcome = Empty, code = Empty
    );
    if let Some(parent) = parent {
        traces::adopt(&span, parent);
    }
    span
}

/// Notes in the current exchange's span what it is about, now that the caller is known to see that role.
pub fn exchange_is_for(role: &RoleName, tenant: &TenantName) {
    Span::current().record("role", role.as_str()).record("tenant", tenant.as_str());
}

tokio::task_local! {
    /// The sampled trace of the exchange that a request came to.
    static TRACE: Arc<OnceLock<TraceId>>;
}

/// Runs a request, or a part of it in a task of its own: what is timed after its exchange belongs to the exchange's trace.
pub fn in_request<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    TRACE.scope(TRACE.try_with(Arc::clone).unwrap_or_default(), work)
}

/// The trace of what is done here, if it was sampled.
pub(super) fn current_trace() -> Option<TraceId> {
    let of_request = TRACE.try_with(|trace| trace.get().copied()).ok().flatten();
    of_request.or_else(|| traces::sampled(&Span::current()))
}

/// Notes in an exchange's span how it ended.
pub fn exchange_came_to(span: &Span, outcome: Outcome) {
    if let Some(sampled) = traces::sampled(span) {
        // Not every exchange is a request's.
        let _ = TRACE.try_with(|trace| trace.set(sampled));
    }
    span.record("outcome", outcome.as_str());
    if let Outcome::Refused(code) = outcome {
        span.record("code", code.as_str());
    }
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
            Self::Authenticate => debug_span!(target: TARGET, "authenticate"),
            Self::Facts => debug_span!(target: TARGET, "facts"),
            Self::Decide => debug_span!(target: TARGET, "decide"),
            Self::Plan => debug_span!(target: TARGET, "plan"),
            Self::Authorise => debug_span!(target: TARGET, "authorise"),
            Self::Mint => debug_span!(target: TARGET, "mint"),
            Self::Lease => debug_span!(target: TARGET, "lease"),
        }
    }

    /// Runs an asynchronous step in its span and records how long it took.
    pub async fn run<T>(self, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.instrument(self.span()).await;
        self.record(started.elapsed());
        done
    }

    /// Runs the decision, which does not wait, likewise; and once more under `role`, if that one is to be told apart.
    pub fn decide<T>(role: Option<&RoleName>, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = Self::Decide.span().in_scope(work);
        let took = started.elapsed();
        Self::Decide.record(took);
        if let Some(role) = role {
            histogram!(names::ROLE_DECIDE_SECONDS, "role" => role.as_str().to_owned()).record(took);
        }
        done
    }

    /// One arm per step, so that each has its labels as a constant: nothing is allocated for them.
    fn record(self, took: Duration) {
        macro_rules! record {
            ($step:literal) => {
                histogram!(names::STEP_SECONDS, "step" => $step).record(took)
            };
        }
        match self {
            Self::Authenticate => record!("authenticate"),
            Self::Facts => record!("facts"),
            Self::Decide => record!("decide"),
            Self::Plan => record!("plan"),
            Self::Authorise => record!("authorise"),
            Self::Mint => record!("mint"),
            Self::Lease => record!("lease"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A span that is disabled is a constant: its fields are not looked at, and nothing is allocated for it.
    #[test]
    fn without_traces_no_span_of_the_path_is_made() {
        let log = crate::telemetry::logs::quiet();
        tracing::dispatcher::with_default(&log, || {
            let exchange = exchange_span(DecisionId::from_bytes([7; 16]), None);
            assert!(exchange.is_disabled());
            for step in
                [Step::Authenticate, Step::Facts, Step::Decide, Step::Plan, Step::Authorise, Step::Mint]
            {
                assert!(step.span().is_disabled(), "{step:?}");
            }
            assert!(!tracing::info_span!("http").is_disabled(), "others are made");
        });
    }

    #[tokio::test]
    async fn a_step_gives_back_what_its_work_gives() {
        assert_eq!(Step::Mint.run(async { 7 }).await, 7);
        assert_eq!(Step::decide(None, || 8), 8);
    }
}
