//! How often one principal may ask, before any target hears of it.

use std::num::NonZeroU32;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::{Code, PrincipalKey, Refusal};

/// Principals remembered before those that have not asked lately are forgotten.
const REMEMBERED: usize = 10_000;

/// A budget per principal and minute, the whole of it available at once.
pub(super) struct Limiter {
    budgets: DefaultKeyedRateLimiter<PrincipalKey>,
    clock: DefaultClock,
}

impl Limiter {
    /// `per_minute` exchanges; zero counts as one.
    pub(super) fn new(per_minute: u32) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        Self { budgets: RateLimiter::keyed(quota), clock: DefaultClock::default() }
    }

    /// Takes one from the principal's budget.
    ///
    /// # Errors
    /// `rate_limited`, with the time until the budget allows one more.
    pub(super) fn admit(&self, principal: &PrincipalKey) -> Result<(), Refusal> {
        if self.budgets.len() > REMEMBERED {
            self.budgets.retain_recent();
        }
        self.budgets.check_key(principal).map_err(|denied| {
            let wait = denied.wait_time_from(self.clock.now()).as_secs().saturating_add(1);
            Refusal::new(Code::RateLimited, "this identity asks too often")
                .with_retry_after(u32::try_from(wait).unwrap_or(60))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_08_one_principal_cannot_use_up_anothers_budget() {
        let limiter = Limiter::new(3);
        let key = |text: &str| text.parse::<PrincipalKey>().unwrap();
        for _ in 0..3 {
            assert!(limiter.admit(&key("greedy")).is_ok());
        }
        let refusal = limiter.admit(&key("greedy")).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(refusal.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)));
        assert!(limiter.admit(&key("modest")).is_ok());
    }
}
