//! Exchanges in flight, of which some are kept for roles that are on call.
//!
//! The gate at the surface counts requests before anybody has read them, so it cannot know a role; a hint of the caller's
//! own in a header would be one that a flood sends too. So the places are taken here, once the identity is verified and
//! before anything slow. What is kept is then free of jobs that wait for a target, and only passed through by those that are
//! about to be told that it is full.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// One of so many places is kept.
const KEPT: usize = 8;

/// What of so many places is for roles that are not on call.
pub(super) const fn ordinary(places: usize) -> usize {
    places - places / KEPT
}

/// The places of exchanges whose roles are not on call.
pub(super) struct Places(Arc<Semaphore>);

impl Places {
    /// Of `concurrency` requests at once.
    pub(super) fn new(concurrency: usize) -> Self {
        Self(Arc::new(Semaphore::new(ordinary(concurrency).min(Semaphore::MAX_PERMITS))))
    }

    /// A place until it is dropped, if one is free.
    pub(super) fn take(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).try_acquire_owned().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eighth_is_kept_and_a_server_of_one_place_still_serves() {
        for (concurrency, ordinary) in [(1, 1), (7, 7), (8, 7), (256, 224)] {
            let places = Places::new(concurrency);
            let held: Vec<_> = std::iter::from_fn(|| places.take()).collect();
            assert_eq!(held.len(), ordinary);
            drop(held);
            assert!(places.take().is_some());
        }
    }
}
