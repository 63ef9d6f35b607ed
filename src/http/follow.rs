//! Requests that follow the audit chain: they wait, for a while, for what is not recorded yet.
//!
//! Few wait at once, and each for a bounded time: whoever finds no place, or no more time, is told that there is nothing
//! more, and asks again. They do not hold up the end of the server.

use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::config::Limits;
use crate::domain::Refusal;
use crate::ledger::{AuditFrom, AuditListed, Ledger, Reading};

/// Most requests that wait at once, so that others have room for theirs.
const PLACES: usize = 32;

/// Longest wait that can be asked for.
pub(super) const LONGEST: Duration = Duration::from_secs(20);

/// Room for those who wait.
pub struct Followers {
    places: Semaphore,
    longest: Duration,
    stopping: CancellationToken,
}

impl Followers {
    /// Room for waits within the time that `limits` give a request.
    pub fn new(limits: &Limits) -> Self {
        // What is found at the end still has to be read and sent.
        let longest = LONGEST.min(limits.request_timeout / 2);
        Self { places: Semaphore::new(PLACES), longest, stopping: CancellationToken::new() }
    }

    /// Lets nobody wait any longer.
    pub(super) fn end(&self) {
        self.stopping.cancel();
    }

    /// The records that follow; if there are none, those that come within `wait`.
    pub(super) async fn follow(
        &self,
        ledger: &Ledger,
        reading: &Reading,
        limit: usize,
        wait: Duration,
    ) -> Result<AuditListed, Refusal> {
        if let Ok(_place) = self.places.try_acquire() {
            let coming = timeout(wait.min(self.longest), ledger.follow_audit(reading, limit));
            if let Some(Ok(listed)) = self.stopping.run_until_cancelled(coming).await {
                return listed;
            }
        }
        ledger.list_audit(reading, AuditFrom::Start, limit).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_a_request_may_take() {
        let short = Limits { request_timeout: Duration::from_secs(4), ..Limits::default() };
        assert_eq!(Followers::new(&short).longest, Duration::from_secs(2));
        assert!(Followers::new(&Limits::default()).longest < Limits::default().request_timeout);
    }
}
