//! Waits for what must happen, without trusting any pace.

use std::time::{Duration, Instant};

/// Longest wait for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// Looks until there is something.
pub(crate) async fn soon<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = look().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Looks until `condition` holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    soon(what, async || condition().await.then_some(())).await;
}
