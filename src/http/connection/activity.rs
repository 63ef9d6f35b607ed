//! How long a connection has had nothing to do. A request costs two atomic writes and wakes nobody: whoever watches looks
//! again when the time could be over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// What goes on in one connection.
pub(super) struct Activity {
    since: Instant,
    in_flight: AtomicUsize,
    /// When the last request ended, in milliseconds after `since`.
    quiet_from: AtomicU64,
}

/// A request in flight, until it is dropped.
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        let (in_flight, quiet_from) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Self { since: Instant::now(), in_flight, quiet_from })
    }

    /// Counts a request as in flight.
    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Resolves when nothing has been in flight for `limit`.
    pub(super) async fn until_idle(self: Arc<Self>, limit: Duration) {
        loop {
            let idle = self.in_flight.load(Ordering::Acquire) == 0;
            let quiet_from = Duration::from_millis(self.quiet_from.load(Ordering::Acquire));
            let now = Instant::now();
            let over = if idle { self.since + quiet_from + limit } else { now + limit };
            if idle && over <= now {
                return;
            }
            sleep_until(over).await;
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Activity { since, in_flight, quiet_from } = &*self.0;
        let now = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
        // Before the count: whoever sees nothing in flight sees since when.
        quiet_from.store(now, Ordering::Release);
        in_flight.fetch_sub(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_millis(20);

    #[tokio::test]
    async fn a_connection_is_not_idle_while_a_request_is_in_flight() {
        let activity = Activity::new();
        let busy = activity.begin();
        let watch = tokio::spawn(Arc::clone(&activity).until_idle(LIMIT));
        tokio::time::sleep(LIMIT * 5).await;
        assert!(!watch.is_finished());
        drop(busy);
        let ended = Instant::now();
        watch.await.unwrap();
        assert!(ended.elapsed() + Duration::from_millis(1) >= LIMIT, "idle from the last request's end");
    }

    #[tokio::test]
    async fn a_connection_without_a_request_is_idle_from_its_start() {
        Activity::new().until_idle(LIMIT).await;
    }
}
