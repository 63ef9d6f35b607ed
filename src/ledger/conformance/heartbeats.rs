//! Who is silent too long, and whose silence does not count.

use std::time::Duration;

use crate::config::LeaseTerms;
use crate::domain::Code;
use crate::ledger::testing::Bench;
use crate::ledger::{EndHow, HEAR_EVERY, Leased};

/// The longest silence in these tests, and what is granted beyond it.
const SILENCE: Duration = Duration::from_mins(2);
const GRACE: Duration = Duration::from_secs(10);

/// A lease that ends after two minutes of silence.
async fn listened_to(bench: &Bench) -> Leased {
    let terms = LeaseTerms { heartbeat: Some(SILENCE), max_session: None };
    let auth = bench.ledger.authorise(bench.planned_terms("token", terms)).await.unwrap();
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    bench.ledger.hear().await.unwrap();
    lease
}

/// Lets a running server's time pass; how many leases it ended.
async fn serve(bench: &Bench, time: Duration) -> usize {
    let (mut ended, until) = (0, bench.clock.now() + time);
    while bench.clock.now() < until {
        bench.pass(HEAR_EVERY.min(until.duration_since(bench.clock.now()).unsigned_abs()));
        ended += bench.ledger.hear().await.unwrap().len();
    }
    ended
}

pub(super) async fn a_lease_whose_holder_is_silent_is_ended_and_says_why(bench: Bench) {
    let lease = listened_to(&bench).await;
    assert_eq!(serve(&bench, SILENCE).await, 0);
    assert_eq!(serve(&bench, GRACE + HEAR_EVERY).await, 1);
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.iter().map(|end| end.lease).collect::<Vec<_>>(), [lease.id()]);
    bench.end(lease.id(), EndHow::AtTarget).await;
    assert_eq!(serve(&bench, SILENCE).await, 0, "once");
    let bodies = bench.texts("SELECT body FROM audit WHERE kind = 'end_asked'");
    assert_eq!(bodies.len(), 1);
    assert!(bodies[0].contains("\"why\":\"heartbeat_missed\""));
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn a_holder_that_beats_keeps_its_lease_over_restarts(bench: Bench) {
    let mut bench = bench;
    let lease = listened_to(&bench).await;
    for _ in 0..4 {
        assert_eq!(serve(&bench, Duration::from_secs(117)).await, 0);
        let status = bench.ledger.beat(lease.id(), lease.secret()).await.unwrap();
        assert_eq!(status.last_beat_at, Some(bench.clock.now()));
        bench.ledger.close().await;
        bench = bench.restart();
    }
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    assert_eq!((status.last_beat_at, status.end_asked_at), (Some(bench.clock.now()), None));
    assert_eq!(status.heartbeat_seconds, Some(120));
}

pub(super) async fn a_ten_minute_outage_ends_no_healthy_lease(bench: Bench) {
    let lease = listened_to(&bench).await;
    assert_eq!(serve(&bench, Duration::from_secs(90)).await, 0);
    let bench = bench.restart();
    bench.pass(Duration::from_mins(10));
    assert!(bench.ledger.hear().await.unwrap().is_empty());
    assert_eq!(serve(&bench, Duration::from_secs(30)).await, 0, "there is time for the next heartbeat");
    bench.ledger.beat(lease.id(), lease.secret()).await.unwrap();
    assert_eq!(serve(&bench, SILENCE).await, 0);
    assert_eq!(serve(&bench, GRACE + HEAR_EVERY).await, 1, "and silence counts as before");
}

pub(super) async fn a_server_that_was_held_up_counts_no_silence(bench: Bench) {
    listened_to(&bench).await;
    assert_eq!(serve(&bench, Duration::from_mins(1)).await, 0);
    bench.pass(Duration::from_mins(5));
    assert!(bench.ledger.hear().await.unwrap().is_empty(), "nobody could have been heard");
    assert_eq!(serve(&bench, Duration::from_mins(1)).await, 0);
    assert_eq!(serve(&bench, GRACE + HEAR_EVERY).await, 1);
}

pub(super) async fn a_heartbeat_of_what_is_over_says_so(bench: Bench) {
    let plain = super::leased(&bench, "plain", None).await;
    let status = bench.ledger.beat(plain.id(), plain.secret()).await.unwrap();
    assert_eq!(status.last_beat_at, None, "its role asks for none");
    let lease = listened_to(&bench).await;
    bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    assert_eq!(bench.ledger.beat(lease.id(), lease.secret()).await.unwrap_err().code, Code::LeaseEnded);
    bench.pass(Duration::from_mins(15));
    assert_eq!(bench.ledger.beat(plain.id(), plain.secret()).await.unwrap_err().code, Code::LeaseEnded);
}

pub(super) async fn c_16_only_its_own_secret_beats_for_a_lease(bench: Bench) {
    let lease = listened_to(&bench).await;
    let other = super::leased(&bench, "other", None).await;
    let refused = bench.ledger.beat(lease.id(), other.secret()).await.unwrap_err();
    assert_eq!(refused.code, Code::LeaseUnknown);
}
