//! Pauses, and what is given to the store.

use super::*;
use crate::config::BundleSource;
use crate::domain::IssuerUrl;
use crate::identity::BoxFuture;
use crate::identity::spiffe::BundlePlace;
use crate::identity::tests::harness::entry;

/// A store that keeps nothing.
struct Full;

impl Remembered for Full {
    fn last_keys<'a>(&'a self, _: &'a IssuerUrl) -> BoxFuture<'a, Option<(String, Timestamp)>> {
        Box::pin(std::future::ready(None))
    }

    fn keep_keys<'a>(&'a self, _: &'a IssuerUrl, _: &'a str, _: Timestamp) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }
}

#[tokio::test]
async fn of_what_is_streamed_changes_are_kept_now_and_then_and_removals_and_failures_at_once() {
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    let workload = WorkloadApi::follow(&"unix:///nowhere".parse().unwrap(), None);
    let source = BundleSource::WorkloadApi;
    let place = Place::Bundle(BundlePlace::new(&entry("mesh"), &source));
    let clock = Clock::manual(now);
    let cache = KeyCache::new(place, FRESH, Arc::new(Full), clock, Some(&workload)).unwrap();
    let unkept = || cache.attempts.lock().unwrap().unkept;
    assert!(cache.may_keep(now, false) && !unkept());
    assert!(!cache.may_keep(now, false) && unkept(), "one a moment ago");
    assert!(cache.may_keep(now, true) && !unkept(), "it takes something back");
    cache.keep(b"{}".to_vec(), now).await;
    assert!(unkept(), "the store failed");
    assert!(cache.may_keep(now, false));
}

#[test]
fn pauses_double_up_to_a_minute_with_half_left_to_chance() {
    for (failures, most) in [(0, 1), (1, 2), (5, 32), (6, 60), (u32::MAX, 60)] {
        let most = Duration::from_secs(most);
        let pauses: Vec<_> = (0..200).map(|_| backoff(failures)).collect();
        assert!(pauses.iter().all(|pause| (most / 2..=most).contains(pause)), "{failures}");
        assert!(pauses.iter().any(|pause| pause != &pauses[0]), "{failures}");
    }
}
