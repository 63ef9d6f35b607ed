//! How often one principal may ask, before any target hears of it.

use std::num::NonZeroU32;

use arc_swap::ArcSwap;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use crate::domain::{Code, PrincipalKey, Refusal};

/// Most principals remembered at once: some megabytes.
const REMEMBERED: usize = 50_000;

/// A budget per principal and minute, the whole of it available at once.
pub(super) struct Limiter {
    quota: Quota,
    budgets: ArcSwap<DefaultKeyedRateLimiter<PrincipalKey>>,
    clock: DefaultClock,
    remembered: usize,
}

impl Limiter {
    /// `per_minute` exchanges; zero counts as one.
    pub(super) fn new(per_minute: u32) -> Self {
        Self::remembering(per_minute, REMEMBERED)
    }

    fn remembering(per_minute: u32, remembered: usize) -> Self {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute).unwrap_or(NonZeroU32::MIN));
        let budgets = ArcSwap::from_pointee(RateLimiter::keyed(quota));
        Self { quota, budgets, clock: DefaultClock::default(), remembered }
    }

    /// Takes one from the principal's budget.
    ///
    /// # Errors
    /// `rate_limited`, with the time until the budget allows one more.
    pub(super) fn admit(&self, principal: &PrincipalKey) -> Result<(), Refusal> {
        if self.budgets.load().len() >= self.remembered {
            self.forget();
        }
        self.budgets.load().check_key(principal).map_err(|denied| {
            let wait = denied.wait_time_from(self.clock.now()).as_secs().saturating_add(1);
            Refusal::new(Code::RateLimited, "this identity asks too often")
                .with_retry_after(u32::try_from(wait).unwrap_or(60))
        })
    }

    /// Makes room: forgets whoever has a whole budget again, and everybody if that is not enough.
    ///
    /// Everybody then has a whole budget once more. Whoever brings that about has as many identities as are remembered, and
    /// with them as many budgets: it gains nothing by it. Leaving a quarter free keeps the look at all of them rare.
    fn forget(&self) {
        let budgets = self.budgets.load();
        budgets.retain_recent();
        if budgets.len() > self.remembered / 4 * 3 {
            tracing::warn!(
                principals = budgets.len(),
                "too many principals ask at once; their budgets begin anew"
            );
            self.budgets.store(RateLimiter::keyed(self.quota).into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> PrincipalKey {
        text.parse().unwrap()
    }

    #[test]
    fn c_08_one_principal_cannot_use_up_anothers_budget() {
        let limiter = Limiter::new(3);
        for _ in 0..3 {
            assert!(limiter.admit(&key("greedy")).is_ok());
        }
        let refusal = limiter.admit(&key("greedy")).unwrap_err();
        assert_eq!(refusal.code, Code::RateLimited);
        assert!(refusal.retry_after.is_some_and(|seconds| (1..=60).contains(&seconds)));
        assert!(limiter.admit(&key("modest")).is_ok());
    }

    #[test]
    fn memory_is_bounded_although_everybody_has_just_asked() {
        let limiter = Limiter::remembering(1, 100);
        for n in 0..1_050 {
            assert!(limiter.admit(&key(&format!("principal-{n}"))).is_ok());
            assert!(limiter.budgets.load().len() <= 100);
        }
        assert!(limiter.admit(&key("principal-1049")).is_err(), "who has just asked is remembered");
    }
}
