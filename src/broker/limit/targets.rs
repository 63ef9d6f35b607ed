//! Exchanges in flight at each target: one that does not answer holds up those that ask for it, and nobody else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::TargetName;

/// How many there are at each target that has any; kept over a reload, as what waits outlives it too.
#[derive(Default)]
pub(super) struct Targets(Arc<Mutex<HashMap<TargetName, usize>>>);

/// One of those at a target, until it is dropped.
pub(super) struct There {
    target: TargetName,
    counts: Arc<Mutex<HashMap<TargetName, usize>>>,
}

impl Targets {
    /// Counts one more at `target`, if that makes no more than `most`.
    pub(super) fn enter(&self, target: &TargetName, most: usize) -> Option<There> {
        let mut counts = lock(&self.0);
        let count = counts.entry(target.clone()).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(There { target: target.clone(), counts: Arc::clone(&self.0) })
    }
}

impl Drop for There {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts);
        if let Some(count) = counts.get_mut(&self.target) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.target);
            }
        }
    }
}

/// Nothing that holds this lock can panic half way through a change.
fn lock(counts: &Mutex<HashMap<TargetName, usize>>) -> MutexGuard<'_, HashMap<TargetName, usize>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_fill_apart_and_whoever_leaves_makes_room() {
        let (targets, one, other) = (Targets::default(), "one".parse().unwrap(), "other".parse().unwrap());
        let held: Vec<_> = (0..2).map(|_| targets.enter(&one, 2).unwrap()).collect();
        assert!(targets.enter(&one, 2).is_none());
        assert!(targets.enter(&one, 3).is_some(), "a higher limit leaves room");
        assert!(targets.enter(&other, 2).is_some());
        drop(held);
        assert!(targets.enter(&one, 2).is_some());
        assert!(lock(&targets.0).is_empty(), "what nobody waits for is forgotten");
    }
}
