//! One budget: so many a minute, the whole of it available at once.

/// A minute, in microseconds.
const MINUTE: i64 = 60_000_000;

/// What is left of a budget, as the time at which it is whole again (Unix microseconds): the generic cell rate algorithm.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Bucket(i64);

/// The budget is used up; it allows one more after so many seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UsedUp(pub(super) u32);

impl Bucket {
    /// Takes one of `per_minute`, of which zero counts as one.
    ///
    /// # Errors
    /// [`UsedUp`]; nothing is taken then.
    pub(super) fn take(&mut self, per_minute: u32, now: i64) -> Result<(), UsedUp> {
        let each = MINUTE / i64::from(per_minute.max(1));
        // A clock that was set back must not close the budget for longer than a budget can be closed.
        let whole_at = self.0.clamp(now, now.saturating_add(MINUTE)).saturating_add(each);
        let wait = whole_at.saturating_sub(now).saturating_sub(MINUTE);
        if wait > 0 {
            let seconds = wait.div_euclid(1_000_000).saturating_add(1);
            return Err(UsedUp(u32::try_from(seconds).unwrap_or(60)));
        }
        self.0 = whole_at;
        Ok(())
    }

    /// True if nothing of it is used, so that forgetting it changes nothing.
    pub(super) const fn is_whole(self, now: i64) -> bool {
        self.0 <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_whole_budget_is_there_at_once_and_comes_back_evenly() {
        let (mut bucket, now) = (Bucket::default(), 1_000 * MINUTE);
        for _ in 0..3 {
            assert_eq!(bucket.take(3, now), Ok(()));
        }
        assert_eq!(bucket.take(3, now), Err(UsedUp(21)));
        assert_eq!(bucket.take(3, now + 19 * SECOND), Err(UsedUp(2)));
        assert_eq!(bucket.take(3, now + 20 * SECOND), Ok(()));
        assert_eq!(bucket.take(3, now + 20 * SECOND), Err(UsedUp(21)));
        assert!(!bucket.is_whole(now + 79 * SECOND) && bucket.is_whole(now + 80 * SECOND));
    }

    #[test]
    fn a_clock_that_is_set_back_closes_nobody_out_for_more_than_a_minute() {
        let (mut bucket, now) = (Bucket::default(), 1_000 * MINUTE);
        assert_eq!(bucket.take(1, now), Ok(()));
        let earlier = now - 500 * MINUTE;
        assert_eq!(bucket.take(1, earlier), Err(UsedUp(61)));
        assert_eq!(bucket.take(0, earlier + MINUTE), Err(UsedUp(61)), "refusals take nothing");
    }
}
