//! The steps of the path, as spans and metrics name them.

use std::time::{Duration, Instant};

use metrics::histogram;
use tracing::{Instrument, Span, debug_span};

use super::metrics::names;
use crate::domain::RoleName;

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

    #[tokio::test]
    async fn a_step_gives_back_what_its_work_gives() {
        assert_eq!(Step::Mint.run(async { 7 }).await, 7);
        assert_eq!(Step::decide(None, || 8), 8);
    }
}
