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
        match self.wait(wait, ledger.follow_audit(reading, limit)).await {
            Some(listed) => listed,
            None => ledger.list_audit(reading, AuditFrom::Start, limit).await,
        }
    }

    /// What `coming` gives, if there is a place to wait for it, it comes in time, and the server does not end before.
    async fn wait<T>(&self, wait: Duration, coming: impl Future<Output = T>) -> Option<T> {
        let _place = self.places.try_acquire().ok()?;
        let coming = timeout(wait.min(self.longest), coming);
        self.stopping.run_until_cancelled(coming).await?.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use futures_util::future::join_all;
    use tokio::sync::watch;

    const LONG: Duration = Duration::from_hours(1);

    #[test]
    fn nobody_waits_longer_than_a_request_may_take() {
        let short = Limits { request_timeout: Duration::from_secs(4), ..Limits::default() };
        assert_eq!(Followers::new(&short).longest, Duration::from_secs(2));
        assert!(Followers::new(&Limits::default()).longest < Limits::default().request_timeout);
    }

    #[tokio::test]
    async fn s_07_who_finds_no_place_does_not_wait_and_the_others_go_on() {
        let followers = Followers::new(&Limits::default());
        let (record, _) = watch::channel(());
        let coming = || {
            let mut records = record.subscribe();
            async move { records.changed().await.is_ok() }
        };
        let mut waiting = Box::pin(join_all((0..PLACES).map(|_| followers.wait(LONG, coming()))));
        assert_eq!((&mut waiting).now_or_never(), None, "there is room for them");
        assert_eq!(followers.wait(LONG, coming()).now_or_never(), Some(None), "one too many");
        assert_eq!((&mut waiting).now_or_never(), None, "it takes nobody's place");
        record.send(()).unwrap();
        assert_eq!(waiting.await, [Some(true); PLACES]);
        let mut again = Box::pin(followers.wait(LONG, coming()));
        assert_eq!((&mut again).now_or_never(), None, "there is room again");
    }

    #[tokio::test]
    async fn nobody_waits_beyond_the_end_of_the_server() {
        let followers = Followers::new(&Limits::default());
        let never = std::future::pending::<()>;
        let mut waiting = Box::pin(join_all((0..3).map(|_| followers.wait(LONG, never()))));
        assert_eq!((&mut waiting).now_or_never(), None);
        followers.end();
        assert_eq!(waiting.now_or_never(), Some(vec![None; 3]));
        assert_eq!(followers.wait(LONG, never()).now_or_never(), Some(None), "who comes late neither");
    }
}
