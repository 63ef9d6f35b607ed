//! A budget for each of many, in bounded memory.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};

use super::bucket::{Bucket, UsedUp};

/// Least time between two looks at all budgets, microseconds: a flood must not cause one per request.
const TIDY_EVERY: i64 = 1_000_000;

/// Budgets by key.
///
/// A budget that is whole again is forgotten, as that changes nothing; any other is kept. Keys that find no room share one
/// budget: who brings ever new keys neither gets a budget for each nor makes an earlier one forgotten.
pub(super) struct Keyed<K> {
    remembered: usize,
    state: Mutex<State<K>>,
}

struct State<K> {
    budgets: HashMap<K, Bucket>,
    others: Bucket,
    tidied: i64,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// At most `remembered` keys at once.
    pub(super) fn new(remembered: usize) -> Self {
        let state = State { budgets: HashMap::new(), others: Bucket::default(), tidied: i64::MIN };
        Self { remembered, state: Mutex::new(state) }
    }

    /// Takes one of the key's `per_minute`, at `now` in Unix microseconds.
    ///
    /// # Errors
    /// [`UsedUp`].
    pub(super) fn take(&self, key: &K, per_minute: u32, now: i64) -> Result<(), UsedUp> {
        // Nothing that holds this lock can panic half way through a change.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = state.budgets.get_mut(key) {
            return bucket.take(per_minute, now);
        }
        if state.budgets.len() >= self.remembered {
            state.tidy(now);
        }
        if state.budgets.len() >= self.remembered {
            return state.others.take(per_minute, now);
        }
        state.budgets.entry(key.clone()).or_default().take(per_minute, now)
    }
}

impl<K> State<K> {
    /// Forgets whoever has a whole budget again.
    fn tidy(&mut self, now: i64) {
        if now.abs_diff(self.tidied) < TIDY_EVERY.unsigned_abs() {
            return;
        }
        self.tidied = now;
        self.budgets.retain(|_, bucket| !bucket.is_whole(now));
        if self.budgets.len() >= self.budgets.capacity() / 4 * 3 {
            tracing::warn!(keys = self.budgets.len(), "too many ask at once: new ones share a budget");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000_000_000;
    const MINUTE: i64 = 60_000_000;

    fn len(keyed: &Keyed<u32>) -> usize {
        keyed.state.lock().unwrap().budgets.len()
    }

    #[test]
    fn c_08_a_flood_of_new_keys_gets_one_budget_together_and_makes_no_old_one_forgotten() {
        let keyed = Keyed::new(100);
        assert!(keyed.take(&0, 2, NOW).is_ok() && keyed.take(&0, 2, NOW).is_ok());
        let served = (1..100_000).filter(|key| keyed.take(key, 2, NOW + 1).is_ok()).count();
        assert_eq!(served, 99 + 2, "one each for those that are remembered, and one budget for the rest");
        assert_eq!(len(&keyed), 100);
        assert!(keyed.take(&0, 2, NOW + 1).is_err(), "the flood gives nobody its budget back");
        assert!(keyed.take(&1, 2, NOW + 1).is_ok(), "nor does it take anybody's away");
    }

    #[test]
    fn whoever_has_a_whole_budget_again_makes_room() {
        let keyed = Keyed::new(10);
        for key in 0..20 {
            let _ = keyed.take(&key, 1, NOW);
        }
        assert_eq!(len(&keyed), 10);
        for key in 100..105 {
            assert!(keyed.take(&key, 1, NOW + MINUTE).is_ok());
        }
        assert_eq!(len(&keyed), 5);
    }
}
