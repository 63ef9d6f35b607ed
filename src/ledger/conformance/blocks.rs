//! What every store must do about blocks.

use std::time::Duration;

use super::leased;
use crate::domain::{Code, Revocability};
use crate::ledger::testing::{Bench, new_block};
use crate::ledger::{BlocksSet, EndHow, Fate, Ledger, NewBlock, Once, Record};
use crate::secret::Fingerprint;

/// Every subject of the test caller and its role.
const SUBJECTS: [&str; 8] = [
    "everything",
    "tenant:default",
    "principal:github:repository:1234",
    "role:deploy",
    "issuer:https://token.actions.githubusercontent.com",
    "identity:https://token.actions.githubusercontent.com#repo:acme/shop:ref:refs/heads/main",
    "repository:1234",
    "repository:acme/shop",
];

async fn code(bench: &Bench, token: &str, key: Option<&str>) -> Option<Code> {
    bench.ledger.authorise(bench.planned(token, key)).await.err().map(|(_, why)| why.code)
}

fn refused_early(ledger: &Ledger, bench: &Bench) -> bool {
    let caller = crate::identity::testing::caller("token", bench.clock.now());
    ledger.blocked(&caller, None, &"deploy".parse().unwrap()).is_some()
}

fn operates(ledger: &Ledger, bench: &Bench) -> bool {
    ledger.blocked_operator(&crate::identity::testing::caller("token", bench.clock.now())).is_none()
}

pub(super) async fn c_15_a_block_between_authorise_and_lease_stops_the_lease(bench: Bench) {
    let hit = bench.ledger.authorise(bench.planned("hit", None)).await.unwrap();
    bench.block("principal:github:repository:1234", None).await;
    let unleased = bench.ledger.unleased(bench.clock.now()).await.unwrap();
    assert_eq!(
        unleased.iter().map(|one| one.blocked).collect::<Vec<_>>(),
        [true],
        "the sweep sees it at once"
    );
    let (hit, why) = bench.ledger.lease(hit, bench.minted()).await.unwrap_err();
    assert_eq!(why.code, Code::Blocked);
    bench.resolve(hit.grant().facts().decision(), true).await;
    let (_, why) = bench.ledger.lease(hit, bench.minted()).await.unwrap_err();
    assert_eq!(why.code, Code::Blocked, "also once the sweep has ended it");
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_15_a_block_refuses_whoever_it_is_about_and_nobody_else(bench: Bench) {
    for (n, subject) in SUBJECTS.into_iter().enumerate() {
        let token = format!("token {n}");
        let others = bench.ledger.authorise(bench.planned(&format!("in flight {n}"), None)).await.unwrap();
        for other in
            ["role:other", "repository:12345", "tenant:acme", "runner:7", "issuer:https://other.example"]
        {
            bench.block(other, Some(Duration::from_secs(30))).await;
        }
        bench.ledger.lease(others, bench.minted()).await.unwrap();
        assert!(!refused_early(&bench.ledger, &bench));
        leased(&bench, &token, Some("key")).await;

        let block = bench.block(subject, None).await;
        assert!(refused_early(&bench.ledger, &bench), "{subject}");
        // Whoever is blocked cannot lift the block; a block on everything or a role is about nobody as such.
        let about_somebody = subject != "everything" && subject != "role:deploy";
        assert_eq!(operates(&bench.ledger, &bench), !about_somebody, "{subject}");
        assert_eq!(code(&bench, "fresh", None).await, Some(Code::Blocked), "{subject}");
        assert_eq!(code(&bench, &token, Some("key")).await, Some(Code::Blocked), "a retry under {subject}");
        assert!(bench.ledger.lift_block(block, None, "a test".into()).await.unwrap());
        bench.pass(Duration::from_mins(2));
    }
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn c_15_a_block_marks_what_lives_in_its_own_transaction(bench: Bench) {
    let ended = leased(&bench, "ended", None).await;
    bench.end_by_holder(&ended, EndHow::AtTarget).await;
    let alive = leased(&bench, "alive", None).await;
    let lost = bench.ledger.authorise(bench.planned("lost", None)).await.unwrap();
    bench.block("repository:acme/shop", None).await;
    // What was committed with the block is there for the next run, whoever set it.
    let bench = bench.restart();
    assert!(refused_early(&bench.ledger, &bench));
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.lease).collect::<Vec<_>>(), [alive.id()]);
    assert_eq!(bench.unleased().await, [lost.grant().facts().decision()]);
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

pub(super) async fn c_15_what_a_block_is_about_does_not_wait_for_its_turn(bench: Bench) {
    let lease = leased(&bench, "token", None).await;
    let lost = bench.ledger.authorise(bench.planned("lost", None)).await.unwrap();
    let records = vec![Record::Lease(lease.id()), Record::Authorisation(lost.grant().facts().decision())];
    bench.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    bench.pass(Duration::from_mins(1));
    let claims = bench.ledger.claim(records.clone()).await.unwrap();
    let tried = claims.into_iter().map(|claim| (claim, true));
    bench.ledger.postpone(tried, "provider_unavailable").await.unwrap();
    assert!(bench.ledger.claim(records.clone()).await.unwrap().is_empty(), "they failed just now");
    bench.block("everything", None).await;
    assert_eq!(bench.ledger.claim(records).await.unwrap().len(), 2);
}

pub(super) async fn c_15_more_than_one_transaction_can_mark_is_marked_too(bench: Bench) {
    let planned = (0..1500).map(|n| bench.planned(&format!("token {n}"), None));
    let tasks: Vec<_> = planned
        .map(|planned| {
            let ledger = bench.ledger.clone();
            tokio::spawn(async move { ledger.authorise(planned).await.is_ok() })
        })
        .collect();
    for task in tasks {
        assert!(task.await.unwrap());
    }
    let block = bench.block("everything", None).await;
    let (_, toll) = bench.ledger.toll_of_block(block, None).await.unwrap().unwrap();
    assert_eq!((toll.unknown, toll.affected.len()), (1500, 200));
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

pub(super) async fn c_15_decisions_without_keys_are_matched_by_their_input(bench: Bench) {
    let lease = leased(&bench, "before keys were stored", None).await;
    bench.change("DELETE FROM decision_keys").await;
    bench.block("repository:other", None).await;
    bench.block("identity:https://token.actions.githubusercontent.com#somebody else", None).await;
    assert!(bench.ledger.leases_to_end().await.unwrap().is_empty());
    bench.block("repository:acme/shop", None).await;
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.iter().map(|one| one.lease).collect::<Vec<_>>(), [lease.id()]);

    bench.change("DELETE FROM inputs").await;
    let block = bench.block("runner:7", None).await;
    let (_, toll) = bench.ledger.toll_of_block(block, None).await.unwrap().unwrap();
    assert_eq!(toll.unknown, 1, "nothing says that it is not about what was erased");
}

pub(super) async fn c_15_a_block_stops_a_proved_runner_by_each_of_its_names_and_no_other(bench: Bench) {
    let names = [
        "runner:runner-7",
        "runner:kubernetes:runners:serviceaccount:1",
        "runner:https://cluster.example",
        "issuer:https://cluster.example",
    ];
    for (n, subject) in names.into_iter().enumerate() {
        let planned = bench.planned_on(&format!("on seven {n}"), &format!("of seven {n}"));
        let auth = bench.ledger.authorise(planned).await.unwrap();
        bench.ledger.lease(auth, bench.minted()).await.unwrap();
        for other in
            ["runner:runner-", "runner:unner-7", "runner:runner-77", "issuer:https://cluster.example/x"]
        {
            bench.block(other, Some(Duration::from_secs(30))).await;
        }
        assert!(bench.ledger.leases_to_end().await.unwrap().is_empty(), "before {subject}");
        let block = bench.block(subject, None).await;
        let waiting = bench.ledger.leases_to_end().await.unwrap();
        assert_eq!(waiting.len(), 1, "{subject}");
        let planned = bench.planned_on(&format!("stopped {n}"), &format!("of the stopped {n}"));
        let (_, why) = bench.ledger.authorise(planned).await.unwrap_err();
        assert_eq!(why.code, Code::Blocked, "{subject}");
        let elsewhere = bench.planned(&format!("elsewhere {n}"), None);
        bench.ledger.authorise(elsewhere).await.unwrap();
        assert!(bench.ledger.lift_block(block, None, "a test".into()).await.unwrap());
        for one in waiting {
            bench.end(one.lease, EndHow::AtTarget).await;
        }
    }
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn a_block_is_over_when_it_is_lifted_or_expires(bench: Bench) {
    let lease = leased(&bench, "before", None).await;
    let block = bench.block("role:deploy", None).await;
    assert_eq!(code(&bench, "token", None).await, Some(Code::Blocked));
    assert!(bench.ledger.lift_block(block, None, "a test".into()).await.unwrap());
    assert!(!bench.ledger.lift_block(block, None, "a test".into()).await.unwrap(), "it is over");
    assert_eq!(code(&bench, "lifted", None).await, None);
    let waiting = bench.ledger.leases_to_end().await.unwrap();
    assert_eq!(waiting.len(), 1, "what it ended stays ended");
    assert_eq!(waiting[0].lease, lease.id());

    bench.block("role:deploy", Some(Duration::from_mins(5))).await;
    assert_eq!(code(&bench, "short", None).await, Some(Code::Blocked));
    bench.pass(Duration::from_mins(5));
    assert!(!refused_early(&bench.ledger, &bench));
    assert_eq!(code(&bench, "expired", None).await, None);
    assert!(bench.ledger.blocks(None, false).await.unwrap().is_empty());
    let all = bench.ledger.blocks(None, true).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.iter().any(|one| one.id == block && one.lifted_by.as_deref() == Some("a test")));
    assert!(bench.verify().await.is_sound());
}

pub(super) async fn a_block_of_a_tenant_holds_and_is_seen_in_that_tenant_alone(bench: Bench) {
    let acme = "acme".parse().unwrap();
    let foreign = NewBlock { tenant: Some("acme".parse().unwrap()), ..new_block("everything", None) };
    let BlocksSet::InForce(ids) = bench.ledger.block(vec![foreign], None).await.unwrap() else {
        panic!("seen before")
    };
    assert_eq!(code(&bench, "of the tenant default", None).await, None);
    let own = NewBlock { tenant: Some("default".parse().unwrap()), ..new_block("everything", None) };
    bench.ledger.block(vec![own], None).await.unwrap();
    assert_eq!(code(&bench, "token", None).await, Some(Code::Blocked));

    let seen = bench.ledger.blocks(Some(&acme), false).await.unwrap();
    assert_eq!(seen.iter().map(|block| block.id).collect::<Vec<_>>(), ids);
    assert_eq!(bench.ledger.blocks(None, false).await.unwrap().len(), 2);
    let default = "default".parse().unwrap();
    assert!(bench.ledger.toll_of_block(ids[0], Some(&default)).await.unwrap().is_none());
    assert!(!bench.ledger.lift_block(ids[0], Some(&default), "default".into()).await.unwrap());
    assert!(bench.ledger.lift_block(ids[0], Some(&acme), "acme".into()).await.unwrap());
}

pub(super) async fn the_same_message_sets_its_blocks_once(bench: Bench) {
    let once = Once { key: Fingerprint::of(b"message"), until: bench.clock.now() + Duration::from_mins(5) };
    let set = |once| bench.ledger.block(vec![new_block("role:deploy", None)], Some(once));
    let BlocksSet::InForce(ids) = set(once).await.unwrap() else { panic!("seen before") };
    assert!(bench.ledger.lift_block(ids[0], None, "a test".into()).await.unwrap());
    assert_eq!(set(once).await.unwrap(), BlocksSet::SeenBefore, "a replay does not undo the lifting");
    assert_eq!(code(&bench, "token", None).await, None);
    let bench = bench.restart();
    let again = bench.ledger.block(vec![new_block("role:deploy", None)], Some(once)).await.unwrap();
    assert_eq!(again, BlocksSet::SeenBefore);
}

pub(super) async fn an_alert_that_fires_again_adds_no_block(bench: Bench) {
    let hour = Some(Duration::from_hours(1));
    let first = bench.block("role:deploy", hour).await;
    assert_eq!(bench.block("role:deploy", hour).await, first);
    assert_eq!(bench.block("role:deploy", Some(Duration::from_mins(5))).await, first);
    bench.pass(Duration::from_mins(1));
    let longer = bench.block("role:deploy", hour).await;
    assert_ne!(longer, first);
    let for_good = bench.block("role:deploy", None).await;
    assert_eq!(bench.block("role:deploy", hour).await, for_good);
    assert_eq!(bench.ledger.blocks(None, false).await.unwrap().len(), 3);
}

pub(super) async fn the_account_of_a_block_says_what_is_dead_what_dies_and_what_is_unknown(bench: Bench) {
    let subject = "repository:1234";
    let ends = leased(&bench, "ends", None).await;
    leased(&bench, "does not answer", None).await;
    let auth = bench.ledger.authorise(bench.planned("cannot be ended", None)).await.unwrap();
    let mut minted = bench.minted();
    minted.revocability = Revocability::DiesAtExpiry;
    let lives_until = minted.dies_at;
    let lives = bench.ledger.lease(auth, minted).await.unwrap();
    let lost = bench.ledger.authorise(bench.planned("lost", None)).await.unwrap();

    let parsed = subject.parse().unwrap();
    let would = bench.ledger.toll_of_subject(&parsed, None).await.unwrap();
    assert_eq!((would.would_end, would.dies_at, would.unknown, would.dead), (2, 1, 1, 0));
    assert!(bench.ledger.blocks(None, true).await.unwrap().is_empty(), "nothing was set");
    let nobody = bench.ledger.toll_of_subject(&"role:other".parse().unwrap(), None).await.unwrap();
    assert_eq!((nobody.affected.len(), nobody.last_death), (0, None));

    let block = bench.block(subject, None).await;
    bench.end(ends.id(), EndHow::AtTarget).await;
    bench.end(lives.id(), EndHow::DiesAtExpiry).await;
    let (recorded, toll) = bench.ledger.toll_of_block(block, None).await.unwrap().unwrap();
    assert_eq!((recorded.id, recorded.subject), (block, parsed));
    assert_eq!((toll.dead, toll.dies_at, toll.unknown, toll.would_end), (1, 1, 2, 0));
    let fates: Vec<_> = toll.affected.iter().map(|one| one.fate).collect();
    assert_eq!(fates, [Fate::Unknown, Fate::Unknown, Fate::DiesAt, Fate::Dead], "the worst comes first");
    let unleased = toll.affected.iter().find(|one| one.lease.is_none()).unwrap();
    assert_eq!(unleased.decision, lost.grant().facts().decision());
    assert_eq!(toll.last_death, Some(unleased.dies_at), "an authorisation dies later than a lease");
    assert!(unleased.dies_at > lives_until);

    bench.pass(Duration::from_hours(1));
    let (_, toll) = bench.ledger.toll_of_block(block, None).await.unwrap().unwrap();
    assert_eq!((toll.dead, toll.last_death), (4, None));
}
