//! Two servers on one database, without a leader.

use std::sync::Arc;
use std::time::Duration;

use crate::config::LeaseTerms;
use crate::domain::{Code, DecisionId, Prolonged};
use crate::ledger::testing::{Bench, noon, sealer};
use crate::ledger::{Claim, Counted, EndHow, Ending, HEAR_EVERY, Leased, Record};
use crate::signing::{KeyState, Keyring, first_keys, revoke};

async fn leased(bench: &Bench, token: &str, key: Option<&str>) -> Leased {
    let auth = bench.ledger.authorise(bench.planned(token, key)).await.unwrap();
    bench.ledger.lease(auth, bench.minted()).await.unwrap()
}

/// The claim of whoever has to end a lease.
fn claimed(ending: Ending) -> Claim {
    match ending {
        Ending::ToEnd(_, claim) => claim,
        other => panic!("{other:?}"),
    }
}

async fn assert_sound(bench: &Bench) {
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn i_10_of_two_servers_exactly_one_uses_a_token() {
    let one = Bench::postgres();
    let two = one.beside();
    let attempts: Vec<_> = (0..60)
        .flat_map(|n| [(n, &one), (n, &two)])
        .map(|(n, bench)| {
            let (ledger, planned) = (bench.ledger.clone(), bench.planned(&format!("token {n}"), None));
            tokio::spawn(async move {
                let done = ledger.authorise(planned).await;
                (n, done.map(drop).map_err(|(_, refusal)| refusal.code))
            })
        })
        .collect();
    let mut won = [0; 60];
    for attempt in attempts {
        match attempt.await.unwrap() {
            (n, Ok(())) => won[n] += 1,
            (_, Err(code)) => assert_eq!(code, Code::TokenReplayed),
        }
    }
    assert_eq!(won, [1; 60]);
    assert_sound(&one).await;
}

#[tokio::test]
async fn i_10_of_two_servers_with_one_idempotency_key_the_later_supersedes_the_earlier() {
    let one = Bench::postgres();
    let two = one.beside();
    for n in 0..20 {
        let (token, key) = (format!("token {n}"), format!("key-{n}"));
        let plan = |bench: &Bench| bench.planned(&token, Some(&key));
        let (first, second) =
            tokio::join!(one.ledger.authorise(plan(&one)), two.ledger.authorise(plan(&two)));
        let (first, second) = (first.unwrap(), second.unwrap());
        let superseding = [&first, &second].map(|auth| auth.supersedes().is_some());
        assert!(superseding == [true, false] || superseding == [false, true], "{superseding:?}");
        let (winner, by) = if superseding[0] { (first, &one) } else { (second, &two) };
        let earlier = winner.supersedes().unwrap().decision;
        by.ledger.lease(winner, by.minted()).await.unwrap();
        by.resolve(earlier, true).await;
    }
    assert!(one.unleased().await.is_empty());
    assert_sound(&one).await;
}

#[tokio::test]
async fn a_lease_of_one_server_is_ended_through_the_other_and_only_once() {
    let one = Bench::postgres();
    let two = one.beside();
    let lease = leased(&one, "token", None).await;
    let claim = claimed(two.ledger.begin_end(lease.id(), lease.secret()).await.unwrap());
    let before = one.verify().await.records;
    let (id, how) = (lease.id(), EndHow::AtTarget);
    let (first, second) = tokio::join!(one.ledger.ended(id, how, claim), two.ledger.ended(id, how, claim));
    assert_eq!((first, second), (Ok(Counted::Yes), Ok(Counted::Yes)));
    let report = one.verify().await;
    assert_eq!(report.records, before + 1);
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_claim_of_another_server_holds_until_it_expires_even_if_that_server_is_gone() {
    let one = Bench::postgres();
    let two = one.beside();
    let lease = leased(&one, "token", None).await;
    let paused = claimed(one.ledger.begin_end(lease.id(), lease.secret()).await.unwrap());
    let claim = async || two.ledger.claim(vec![Record::Lease(lease.id())]).await.unwrap();
    let is_due = async || two.ledger.leases_to_end().await.unwrap()[0].due;
    assert!(!is_due().await && claim().await.is_empty());
    let busy = two.ledger.begin_end(lease.id(), lease.secret()).await.unwrap();
    assert!(matches!(busy, Ending::Busy(_)), "{busy:?}");
    drop(one);
    assert!(!is_due().await && claim().await.is_empty());
    two.pass(Duration::from_mins(1));
    assert!(is_due().await);
    let taken = claim().await.remove(0);
    let (id, how) = (lease.id(), EndHow::AtTarget);
    assert_eq!(two.ledger.ended(id, how, paused).await, Ok(Counted::Stale));
    assert_eq!(two.ledger.ended(id, how, taken).await, Ok(Counted::Yes));
    assert_sound(&two).await;
}

#[tokio::test]
async fn of_the_workers_of_two_servers_one_has_each_claim() {
    let one = Bench::postgres();
    let two = one.beside();
    let mut records = Vec::new();
    for n in 0..30 {
        let lease = leased(&one, &format!("token {n}"), None).await;
        let claim = claimed(one.ledger.begin_end(lease.id(), lease.secret()).await.unwrap());
        one.ledger.postpone([(claim, false)], "provider_unavailable").await.unwrap();
        records.push(Record::Lease(lease.id()));
    }
    one.pass(Duration::from_mins(10));
    let backwards: Vec<_> = records.iter().rev().copied().collect();
    let (first, second) = tokio::join!(one.ledger.claim(records.clone()), two.ledger.claim(backwards));
    let mut claims: Vec<_> = first.unwrap().into_iter().chain(second.unwrap()).map(|c| c.record()).collect();
    claims.sort_unstable();
    records.sort_unstable();
    assert_eq!(claims, records);
}

#[tokio::test]
async fn a_holder_that_one_server_hears_is_not_silent_for_the_other() {
    let one = Bench::postgres();
    let two = one.beside();
    let silence = Duration::from_mins(2);
    let terms = LeaseTerms { heartbeat: Some(silence), max_session: None };
    let auth = one.ledger.authorise(one.planned_terms("token", terms)).await.unwrap();
    let lease = one.ledger.lease(auth, one.minted()).await.unwrap();
    // Both servers are ready all the time; together they hear for no longer than one does.
    let serve = async |time: Duration| {
        let (mut ended, until) = (Vec::new(), one.clock.now() + time);
        while one.clock.now() < until {
            one.pass(HEAR_EVERY);
            let (first, second) = tokio::join!(one.ledger.hear(), two.ledger.hear());
            ended.extend(first.unwrap().into_iter().chain(second.unwrap()));
        }
        ended
    };
    for _ in 0..3 {
        assert_eq!(serve(Duration::from_secs(117)).await, []);
        two.ledger.beat(lease.id(), lease.secret()).await.unwrap();
    }
    assert_eq!(serve(silence).await, []);
    assert_eq!(serve(Duration::from_secs(15)).await, [lease.id()], "once, by one of them");
    assert_eq!(one.ledger.leases_to_end().await.unwrap().len(), 1);
    assert_sound(&one).await;
}

#[tokio::test]
async fn of_a_renewal_and_an_end_on_two_servers_one_comes_first() {
    let one = Bench::postgres();
    let two = one.beside();
    for n in 0..10 {
        let lease = leased(&one, &format!("token {n}"), None).await;
        let first = one.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
        let planned = one.planned_renewal(lease.id());
        let renewal = one.ledger.authorise_renewal(planned, &first).await.unwrap();
        let dies_at = lease.minted().dies_at + Duration::from_mins(5);
        let (renewed, ended) = tokio::join!(
            one.ledger.renew(renewal, Prolonged::Extended { dies_at }),
            two.ledger.begin_end(lease.id(), lease.secret())
        );
        assert!(matches!(ended, Ok(Ending::ToEnd(..))));
        let status = two.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
        match renewed {
            Ok(_) => assert_eq!(status.dies_at, dies_at),
            Err((renewal, refusal)) => {
                assert_eq!(refusal.code, Code::LeaseEnded);
                one.ledger.abandon_renewal(renewal, &refusal, true).await;
            }
        }
        assert!(status.end_asked_at.is_some());
    }
    assert!(one.unleased().await.is_empty());
    assert_sound(&one).await;
}

#[tokio::test]
async fn what_another_server_closes_is_found_in_its_chain() {
    let one = Bench::postgres();
    let two = one.beside();
    // Authorised by the newer writer and closed by the older one, so that the chains are read the other way round.
    let dead = two.ledger.authorise(two.planned("dead", None)).await.unwrap();
    let alive = two.ledger.authorise(two.planned("alive", None)).await.unwrap();
    let id = |auth: &crate::ledger::Authorised| auth.grant().facts().decision();
    one.resolve(id(&dead), true).await;
    one.resolve(id(&alive), false).await;
    let (_, refusal) = two.ledger.lease(dead, two.minted()).await.unwrap_err();
    assert_eq!(refusal.code, Code::Internal, "it was looked after already");
    assert_eq!(one.unleased().await, [id(&alive)]);
    assert_sound(&two).await;
}

#[tokio::test]
async fn c_15_a_block_stops_the_leases_of_every_server() {
    let one = Bench::postgres();
    let two = one.beside();
    let first = one.ledger.authorise(one.planned("one", None)).await.unwrap();
    let second = two.ledger.authorise(two.planned("two", None)).await.unwrap();
    let lease = leased(&two, "leased", None).await;
    let block = one.block("repository:acme/shop", None).await;
    for (bench, auth) in [(&one, first), (&two, second)] {
        assert_eq!(bench.ledger.lease(auth, bench.minted()).await.unwrap_err().1.code, Code::Blocked);
        let refused = bench.ledger.authorise(bench.planned("later", None)).await.unwrap_err().1;
        assert_eq!(refused.code, Code::Blocked, "in the transaction, whatever memory says");
    }
    assert_eq!(two.ledger.leases_to_end().await.unwrap()[0].lease, lease.id());
    // Memory learns of it by the next look at the epoch, and refuses before anything is asked.
    let caller = crate::identity::testing::caller("token", two.clock.now());
    let refused_early = || two.ledger.blocked(&caller, None, &"deploy".parse().unwrap()).is_some();
    assert!(!refused_early());
    two.ledger.upkeep().await;
    assert!(refused_early());
    assert!(two.ledger.lift_block(block, None, "a test".into()).await.unwrap());
    leased(&one, "after", None).await;
    assert_sound(&one).await;
}

#[tokio::test]
async fn what_a_live_server_mints_is_not_left_behind_and_what_a_dead_one_left_is() {
    let one = Bench::postgres();
    let two = one.beside();
    let auth = two.ledger.authorise(two.planned("token", None)).await.unwrap();
    one.pass(Duration::from_secs(20));
    let left_behind = async || one.ledger.unleased(one.clock.now()).await.unwrap()[0].left_behind;
    assert!(!left_behind().await, "its writer is alive");
    let _other = one.ledger.authorise(one.planned("own", None)).await.unwrap();
    drop(auth);
    drop(Arc::into_inner(two.ledger).unwrap());
    // The database notices the end of a session a moment later.
    for _ in 0..500 {
        if left_behind().await {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(left_behind().await, "its writer is gone");
    let own = one.ledger.unleased(one.clock.now()).await.unwrap();
    assert!(!own[1].left_behind, "this server's own");
}

#[tokio::test]
async fn upkeep_of_two_servers_closes_each_authorisation_once() {
    let one = Bench::postgres();
    let two = one.beside();
    for n in 0..40 {
        drop(one.ledger.authorise(one.planned(&format!("token {n}"), None)).await.unwrap());
    }
    let before = one.verify().await.records;
    one.pass(Duration::from_hours(1));
    tokio::join!(one.ledger.upkeep(), two.ledger.upkeep());
    // Rows that one holds are skipped by the other; the next turn finds those of a batch that ran again.
    tokio::join!(one.ledger.upkeep(), two.ledger.upkeep());
    let report = one.verify().await;
    assert_eq!(report.records, before + 40);
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn of_two_servers_that_start_at_once_one_makes_the_keys() {
    let one = Bench::postgres();
    let two = one.beside();
    let keys = || first_keys(&[], &sealer(), noon()).unwrap();
    let (mine, theirs) =
        tokio::join!(one.ledger.insert_keys_if_none(keys()), two.ledger.insert_keys_if_none(keys()));
    assert_ne!(mine.unwrap(), theirs.unwrap());
    let stored = one.ledger.signing_keys().await.unwrap();
    assert_eq!(stored.len(), keys().len());
    assert_sound(&two).await;
}

#[tokio::test]
async fn a_key_that_one_server_revoked_is_not_brought_back_by_another() {
    let one = Bench::postgres();
    let two = one.beside();
    one.ledger.insert_keys_if_none(first_keys(&[], &sealer(), noon()).unwrap()).await.unwrap();
    let before = two.ledger.signing_keys().await.unwrap();
    let kid = before[0].kid.clone();
    let changed = revoke(&before, &kid, true, &sealer(), noon()).unwrap().changed;
    one.ledger.store_keys(changed).await.unwrap();
    two.ledger.store_keys(before).await.unwrap();
    let after = two.ledger.signing_keys().await.unwrap();
    let revoked = after.iter().find(|key| key.kid == kid).unwrap();
    assert_eq!(revoked.state, KeyState::Revoked);
    assert_sound(&one).await;
}

#[tokio::test]
async fn c_15_what_is_authorised_while_another_server_sets_a_block_is_refused_or_marked() {
    let one = Bench::postgres();
    let two = one.beside();
    let minting: Vec<_> = (0..200)
        .map(|n| {
            let (ledger, planned) = (two.ledger.clone(), two.planned(&format!("token {n}"), None));
            let minted = two.minted();
            tokio::spawn(async move {
                match ledger.authorise(planned).await {
                    Ok(auth) => ledger.lease(auth, minted).await.map(drop).map_err(|(_, why)| why.code),
                    Err((_, why)) => Err(why.code),
                }
            })
        })
        .collect();
    one.block("everything", None).await;
    let mut leased = 0;
    for mint in minting {
        match mint.await.unwrap() {
            Ok(()) => leased += 1,
            Err(code) => assert_eq!(code, Code::Blocked),
        }
    }
    // What was leased was leased before the block, which marked it.
    let waiting = one.texts("SELECT 'lease' FROM leases WHERE end_asked_at IS NOT NULL").len();
    let marked = one.texts("SELECT 'lease' FROM block_effects WHERE leased = 1").len();
    assert_eq!((waiting, marked), (leased, leased));
    let (unleased, open) = (one.unleased().await.len(), one.texts("SELECT tenant FROM authorisations").len());
    assert_eq!(unleased, open);
    assert!(one.ledger.unleased(one.clock.now()).await.unwrap().iter().all(|lost| lost.blocked));
    assert_sound(&one).await;
}

#[tokio::test]
async fn s_11_a_checkpoint_of_one_server_proves_the_chains_of_all() {
    let one = Bench::postgres();
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    one.ledger.insert_keys_if_none(keys).await.unwrap();
    let two = one.beside();
    leased(&two, "token", None).await;
    let (first, second) = tokio::join!(one.ledger.checkpoint(&keyring), two.ledger.checkpoint(&keyring));
    let (first, second) = (first.unwrap().unwrap(), second.unwrap().unwrap());
    assert_eq!([first.n, second.n].iter().sum::<i64>(), 3, "numbers without gaps: {} {}", first.n, second.n);
    let report = one.verify().await;
    assert!(report.is_sound() && report.unproven_since.is_none(), "{:?}", report.findings);
    // The tail of the server that did not sign is proven too.
    let server = crate::ledger::testing::server();
    let cut = "SET session_replication_role = replica; DELETE FROM checkpoints;
               DELETE FROM audit WHERE writer = 2 AND seq = (SELECT max(seq) FROM audit WHERE writer = 2)";
    server.sql(one.database(), cut);
    let reader = one.ledger.store.reader().clone();
    let verify = move || reader.verify(Some(&mut first.jws.as_bytes())).unwrap();
    let report = tokio::task::spawn_blocking(verify).await.unwrap();
    let found = |f: &crate::ledger::Finding| {
        f.kind == crate::ledger::FindingKind::CutOrRolledBack && f.writer == Some(2)
    };
    assert!(report.findings.iter().any(found), "{:?}", report.findings);
}

#[tokio::test]
async fn a_start_vouches_for_every_chain_that_moved_since_the_last_start() {
    let one = Bench::postgres();
    let two = one.beside();
    leased(&two, "token", None).await;
    let heads = |bench: &Bench| {
        let started = "SELECT body FROM audit WHERE seq = 1 ORDER BY writer DESC LIMIT 1";
        let body = crate::ledger::testing::server().sql(bench.database(), started).remove(0);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["follows"].as_array().unwrap().iter().map(|head| head["writer"].as_i64().unwrap()).collect()
    };
    let three = two.beside();
    let follows: Vec<i64> = heads(&three);
    assert_eq!(follows, [2], "the second start vouched for the first, which did nothing since");
    leased(&one, "another", None).await;
    let four = three.beside();
    let follows: Vec<i64> = heads(&four);
    assert_eq!(follows, [1, 3]);
    assert_sound(&four).await;
    assert_eq!(four.ledger.decision(DecisionId::new(1, &[1; 10])).await.unwrap(), None);
}
