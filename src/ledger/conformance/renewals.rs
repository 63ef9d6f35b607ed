//! What a renewal does to a lease, and what is known when nobody knows whether it happened.

use std::time::Duration;

use crate::domain::{Code, Prolonged, Refusal};
use crate::ledger::testing::Bench;
use crate::ledger::{AuthorisedRenewal, Counted, EndHow, Leased, Record};
use crate::secret::LeaseSecret;

/// An authorised renewal of `lease` for a quarter of an hour from now.
async fn authorised(bench: &Bench, lease: &Leased) -> AuthorisedRenewal {
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    let planned = bench.planned_renewal(lease.id());
    bench.ledger.authorise_renewal(planned, &first).await.unwrap()
}

async fn dies_in(bench: &Bench, lease: &Leased) -> i64 {
    let status = bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    status.dies_at.duration_since(bench.clock.now()).as_secs()
}

fn until(bench: &Bench, minutes: u64) -> Prolonged {
    Prolonged::Extended { dies_at: bench.clock.now() + Duration::from_mins(minutes) }
}

pub(super) async fn a_renewal_makes_the_lease_live_longer_and_never_shorter(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    bench.pass(Duration::from_mins(10));
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    assert_eq!((first.role.as_str(), first.target.as_str()), ("deploy", "api"));
    assert_eq!((&first.handle, &first.scopes), (lease.auth.handle(), lease.grant().scopes()));
    assert_eq!(first.claims["repository"], "acme/shop");
    for (minutes, lives) in [(15, 15), (5, 15), (20, 20)] {
        let renewal = authorised(&bench, &lease).await;
        let renewed = bench.ledger.renew(renewal, until(&bench, minutes)).await.unwrap();
        assert_eq!(renewed.id(), lease.id());
        assert_eq!(dies_in(&bench, &lease).await, lives * 60);
    }
    assert!(bench.unleased().await.is_empty());
    let bench = bench.restart();
    assert_eq!(dies_in(&bench, &lease).await, 20 * 60);
    assert_eq!(bench.records("renewed"), 3);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn what_is_to_be_ended_is_not_renewed(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let renewal = authorised(&bench, &lease).await;
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    let again = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap_err();
    assert_eq!(again.code, Code::LeaseEnded);
    let planned = bench.planned_renewal(lease.id());
    let (_, why) = bench.ledger.authorise_renewal(planned, &first).await.unwrap_err();
    assert_eq!(why.code, Code::LeaseEnded);
    let (renewal, why) = bench.ledger.renew(renewal, until(&bench, 30)).await.unwrap_err();
    assert_eq!(why.code, Code::LeaseEnded);
    // The target may have done it: the lease is looked after for as long as it may live.
    bench.ledger.abandon_renewal(renewal, &why, false).await;
    assert!(bench.unleased().await.is_empty());
    bench.pass(Duration::from_mins(16));
    assert_eq!(bench.ledger.leases_to_end().await.unwrap().len(), 1);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_15_a_block_between_authorise_and_renew_stops_the_renewal(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let renewal = authorised(&bench, &lease).await;
    bench.block("repository:acme/shop", None).await;
    let (renewal, why) = bench.ledger.renew(renewal, until(&bench, 30)).await.unwrap_err();
    assert_eq!(why.code, Code::Blocked);
    bench.ledger.abandon_renewal(renewal, &why, true).await;
    assert_eq!(dies_in(&bench, &lease).await, 15 * 60, "as it was");
    assert!(bench.unleased().await.is_empty());
    assert_eq!(bench.ledger.leases_to_end().await.unwrap().len(), 1);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_15_a_renewal_that_the_sweep_settled_under_a_block_is_blocked_too(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let renewal = authorised(&bench, &lease).await;
    let decision = renewal.grant().facts().decision();
    bench.block("repository:acme/shop", None).await;
    let claim = bench.ledger.claim_now(Record::Authorisation(decision)).await.unwrap().unwrap();
    assert_eq!(bench.ledger.adopt(lease.id(), decision, claim).await, Ok(Counted::Yes));
    let (_, why) = bench.ledger.renew(renewal, until(&bench, 30)).await.unwrap_err();
    assert_eq!(why.code, Code::Blocked);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_15_a_renewal_is_not_authorised_under_a_block_that_is_about_it(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let renewal = authorised(&bench, &lease).await;
    bench.block("repository:acme/other", None).await;
    bench.ledger.renew(renewal, until(&bench, 20)).await.expect("the block is about somebody else");
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    bench.block("principal:github:repository:1234", None).await;
    let planned = bench.planned_renewal(lease.id());
    let (_, why) = bench.ledger.authorise_renewal(planned, &first).await.unwrap_err();
    assert_eq!(why.code, Code::Blocked);
    assert_eq!(dies_in(&bench, &lease).await, 20 * 60);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn after_a_crash_a_lost_renewal_counts_as_done(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    bench.pass(Duration::from_mins(10));
    let renewal = authorised(&bench, &lease).await;
    let decision = renewal.grant().facts().decision();
    let bench = bench.restart();
    // A database's other servers wait so long for one whose connection broke.
    bench.pass(Duration::from_secs(15));
    let lost = bench.ledger.unleased(bench.clock.now()).await.unwrap();
    assert_eq!(lost.len(), 1);
    assert_eq!((lost[0].decision, lost[0].renews, lost[0].left_behind), (decision, Some(lease.id()), true));
    let claim = bench.ledger.claim_now(Record::Authorisation(decision)).await.unwrap().unwrap();
    bench.pass(Duration::from_mins(1));
    let second = bench.ledger.claim_now(Record::Authorisation(decision)).await.unwrap().unwrap();
    assert_eq!(bench.ledger.adopt(lease.id(), decision, claim).await, Ok(Counted::Stale));
    assert_eq!(bench.ledger.adopt(lease.id(), decision, second).await, Ok(Counted::Yes));
    assert!(dies_in(&bench, &lease).await >= 14 * 60, "as long as it may live");
    assert!(bench.unleased().await.is_empty());
    let (_, why) = bench.ledger.renew(renewal, until(&bench, 15)).await.unwrap_err();
    assert_eq!(why.code, Code::Internal, "it is settled");
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn a_lost_renewal_of_what_its_target_ended_is_dead(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let renewal = authorised(&bench, &lease).await;
    bench.end_by_holder(&lease, EndHow::AtTarget).await;
    bench.ledger.abandon_renewal(renewal, &Refusal::new(Code::Internal, "no answer"), false).await;
    assert!(bench.unleased().await.is_empty());
    assert_eq!(dies_in(&bench, &lease).await, 15 * 60);
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_16_only_its_own_secret_renews_a_lease(bench: Bench) {
    let lease = super::leased(&bench, "token", None).await;
    let wrong = LeaseSecret::generate().unwrap();
    let refused = bench.ledger.renewable(lease.id(), &wrong).await.unwrap_err();
    assert_eq!(refused.code, Code::LeaseUnknown);
}

pub(super) async fn a_renewal_needs_the_record_that_it_rests_on(bench: Bench) {
    for change in [
        "UPDATE inputs SET body = replace(body, 'acme/shop', 'acme/shoq')",
        "UPDATE decisions SET role = 'other'",
        "UPDATE decisions SET body = replace(body, '\"write\"', '\"admin\"')",
        "UPDATE decisions SET token = zeroblob(32)",
        "UPDATE frames SET body = replace(body, '\"claims\"', '\"clains\"')",
        "DELETE FROM inputs",
    ] {
        let bench = Bench::new();
        let lease = super::leased(&bench, "token", None).await;
        bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
        bench.change(change).await;
        let refused = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap_err();
        assert_eq!(refused.code, Code::LeaseNotRenewable, "{change}");
    }
    drop(bench);
}
