//! How leases end, whoever ends them and however often it fails.

use std::time::Duration;

use crate::ledger::endings::MAX_ATTEMPTS;
use crate::ledger::testing::Bench;
use crate::ledger::{Claim, Counted, EndHow, Ending, Leased, Record};

/// A lease whose end its holder has asked for, and the claim on it.
async fn doomed(bench: &Bench, token: &str) -> (Leased, Claim) {
    let lease = super::leased(bench, token, None).await;
    match bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap() {
        Ending::ToEnd(_, claim) => (lease, claim),
        other => panic!("{other:?}"),
    }
}

/// Claims `lease` as a worker of the queue does.
async fn claimed(bench: &Bench, lease: &Leased) -> Option<Claim> {
    bench.ledger.claim(vec![Record::Lease(lease.id())]).await.unwrap().pop()
}

/// True if the queue shows that the turn of the one lease in it has come.
async fn is_due(bench: &Bench) -> bool {
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.len(), 1);
    waiting[0].due
}

pub(super) async fn a_worker_that_was_held_up_cannot_write_over_another(bench: Bench) {
    let (lease, paused) = doomed(&bench, "token").await;
    bench.pass(Duration::from_secs(61));
    let second = claimed(&bench, &lease).await.unwrap();
    let late = bench.ledger.ended(lease.id(), EndHow::DiesAtExpiry, paused).await;
    assert_eq!(late, Ok(Counted::Stale));
    assert_eq!(bench.ledger.postpone([(paused, true)], "late").await, Ok(vec![]));
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    assert_eq!(status.ended_at, None, "nothing was written");
    assert_eq!(claimed(&bench, &lease).await, None, "the second worker's claim was not given back");
    assert_eq!(bench.ledger.ended(lease.id(), EndHow::AtTarget, second).await, Ok(Counted::Yes));
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    assert_eq!(status.ended_at, Some(bench.clock.now()));
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn of_many_workers_one_has_the_claim(bench: Bench) {
    let (lease, first) = doomed(&bench, "token").await;
    bench.pass(Duration::from_mins(1));
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let (ledger, id) = (bench.ledger.clone(), lease.id());
            tokio::spawn(async move { ledger.claim(vec![Record::Lease(id)]).await.unwrap() })
        })
        .collect();
    let mut claims = Vec::new();
    for worker in workers {
        claims.extend(worker.await.unwrap());
    }
    assert_eq!(claims.len(), 1);
    assert_ne!(claims[0], first);
}

pub(super) async fn a_claim_of_an_earlier_run_is_void(bench: Bench) {
    let (lease, _) = doomed(&bench, "token").await;
    assert!(!is_due(&bench).await);
    let bench = bench.restart();
    assert!(is_due(&bench).await);
    assert!(claimed(&bench, &lease).await.is_some());
}

pub(super) async fn what_fails_is_tried_again_after_a_growing_pause_over_restarts(bench: Bench) {
    let (lease, mut claim) = doomed(&bench, "token").await;
    let mut bench = bench;
    for longest in [5, 10, 20] {
        assert_eq!(bench.ledger.postpone([(claim, true)], "provider_unavailable").await, Ok(vec![]));
        bench = bench.restart();
        bench.pass(Duration::from_secs(longest / 2 - 1));
        assert!(!is_due(&bench).await, "at least half of {longest} s");
        assert_eq!(claimed(&bench, &lease).await, None);
        bench.pass(Duration::from_secs(longest - (longest / 2 - 1)));
        assert!(is_due(&bench).await, "at most {longest} s");
        claim = claimed(&bench, &lease).await.unwrap();
    }
}

pub(super) async fn what_fails_too_often_raises_the_alarm_and_is_still_tried(bench: Bench) {
    let (lease, mut claim) = doomed(&bench, "token").await;
    for attempt in 1..=MAX_ATTEMPTS {
        let given_up = bench.ledger.postpone([(claim, true)], "provider_refused").await.unwrap();
        let expected = if attempt == MAX_ATTEMPTS { vec![Record::Lease(lease.id())] } else { vec![] };
        assert_eq!(given_up, expected, "attempt {attempt}");
        // The pauses together take longer than the lease lives.
        if attempt < MAX_ATTEMPTS {
            bench.skip_pauses().await;
            claim = claimed(&bench, &lease).await.unwrap();
        }
    }
    let waiting = bench.ledger.endings().await.unwrap();
    assert_eq!((waiting.all, waiting.dead), (1, 1));
    bench.skip_pauses().await;
    let claim = claimed(&bench, &lease).await.unwrap();
    assert_eq!(bench.ledger.postpone([(claim, true)], "provider_refused").await, Ok(vec![]), "told once");
    bench.skip_pauses().await;
    let claim = claimed(&bench, &lease).await.unwrap();
    assert_eq!(bench.ledger.ended(lease.id(), EndHow::AtTarget, claim).await, Ok(Counted::Yes));
    assert_eq!(bench.ledger.endings().await.unwrap().all, 0);
    assert_eq!(bench.records("end_given_up"), 1);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn what_had_no_turn_counts_no_attempt(bench: Bench) {
    let (lease, mut claim) = doomed(&bench, "token").await;
    for _ in 0..2 * MAX_ATTEMPTS {
        assert_eq!(bench.ledger.postpone([(claim, false)], "provider_unavailable").await, Ok(vec![]));
        bench.skip_pauses().await;
        claim = claimed(&bench, &lease).await.unwrap();
    }
}

pub(super) async fn its_holder_may_try_again_at_once(bench: Bench) {
    let (lease, claim) = doomed(&bench, "token").await;
    bench.ledger.postpone([(claim, true)], "provider_unavailable").await.unwrap();
    assert_eq!(claimed(&bench, &lease).await, None);
    let again = bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    assert!(matches!(again, Ending::ToEnd(..)), "{again:?}");
}

pub(super) async fn an_end_that_no_target_confirmed_before_it_died_is_told(bench: Bench) {
    let (_, tried) = doomed(&bench, "tried").await;
    doomed(&bench, "not tried").await;
    bench.ledger.postpone([(tried, true)], "provider_unavailable").await.unwrap();
    bench.pass(Duration::from_mins(16));
    bench.ledger.upkeep().await;
    assert_eq!(bench.ledger.endings().await.unwrap().all, 0);
    assert_eq!(bench.records("end_given_up"), 1, "of the one that was tried");
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn an_authorisation_without_a_lease_is_claimed_like_a_lease(bench: Bench) {
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let decision = auth.grant().facts().decision();
    let claim = || bench.ledger.claim(vec![Record::Authorisation(decision)]);
    let paused = claim().await.unwrap()[0];
    assert!(claim().await.unwrap().is_empty());
    bench.pass(Duration::from_mins(1));
    let second = claim().await.unwrap()[0];
    assert_eq!(bench.ledger.resolve_unleased(decision, true, paused).await, Ok(Counted::Stale));
    assert_eq!(bench.unleased().await, [decision]);
    assert_eq!(bench.ledger.resolve_unleased(decision, true, second).await, Ok(Counted::Yes));
    assert!(bench.unleased().await.is_empty());
}

pub(super) async fn c_06_a_fence_of_forgotten_attempts_never_comes_again(bench: Bench) {
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let decision = auth.grant().facts().decision();
    let claim = async || bench.ledger.claim_now(Record::Authorisation(decision)).await.unwrap().unwrap();
    let paused = claim().await;
    bench.pass(Duration::from_mins(1));
    let second = claim().await;
    // It lives on, so that it is looked after again; the attempts so far are forgotten.
    assert_eq!(bench.ledger.resolve_unleased(decision, false, second).await, Ok(Counted::Yes));
    assert_eq!(bench.ledger.endings().await.unwrap().all, 0);
    let third = claim().await;
    assert_eq!(bench.ledger.resolve_unleased(decision, true, paused).await, Ok(Counted::Stale));
    assert_eq!(bench.unleased().await, [decision], "nothing was written");
    assert_eq!(bench.ledger.resolve_unleased(decision, true, third).await, Ok(Counted::Yes));
}
