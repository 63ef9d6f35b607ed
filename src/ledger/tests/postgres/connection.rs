//! Connections that break, servers that stop, databases that forget.

use std::time::Duration;

use super::proxy::Proxy;
use crate::config::{PostgresPlace, StorePlace};
use crate::domain::{Code, Refusal};
use crate::ledger::testing::{Bench, Postgres, noon, place, sealer, server};
use crate::signing::{Keyring, first_keys};

/// Ends the session of the first writer.
const END_FIRST: &str = "SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND objid = 1 AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";

async fn authorise(bench: &Bench, token: &str) -> Result<(), Refusal> {
    bench.ledger.authorise(bench.planned(token, None)).await.map(drop).map_err(|(_, refusal)| refusal)
}

/// Tries until the store is there again.
async fn recovers(bench: &Bench, token: &str) {
    for _ in 0..300 {
        match authorise(bench, token).await {
            Ok(()) => return,
            Err(refusal) => assert_eq!(refusal.code, Code::StoreUnavailable, "{refusal:?}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("the store does not come back");
}

async fn assert_sound(bench: &Bench) {
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn s_02_a_session_that_is_ended_fails_its_batch_and_comes_back() {
    let bench = Bench::postgres();
    authorise(&bench, "before").await.unwrap();
    assert_eq!(server().sql(bench.database(), END_FIRST), ["t"]);
    assert_eq!(authorise(&bench, "during").await.unwrap_err().code, Code::StoreUnavailable);
    recovers(&bench, "during").await;
    assert!(bench.ledger.is_alive());
    assert_sound(&bench).await;
}

#[tokio::test]
async fn s_02_a_commit_whose_answer_is_lost_is_not_told_as_done_and_not_forgotten() {
    let database = server().database();
    let proxy = Proxy::before(place(&database).port);
    let through = PostgresPlace::from_url(&Postgres::url_at(proxy.port, &database)).unwrap();
    let bench = Bench::postgres_with(|settings| settings.place = StorePlace::Postgres(through));
    authorise(&bench, "before").await.unwrap();
    let known = bench.unleased().await.len();
    proxy.lose_the_next_answer_to_a_commit();
    let refusal = authorise(&bench, "lost").await.unwrap_err();
    assert_eq!(refusal.code, Code::StoreUnavailable);
    assert!(refusal.detail.as_ref().unwrap().contains("broke"), "{refusal:?}");
    assert!(!proxy.is_armed());
    // The chain goes on after the record that nobody was told of.
    recovers(&bench, "after").await;
    assert_eq!(bench.unleased().await.len(), known + 2, "what may live is known");
    assert_eq!(authorise(&bench, "lost").await.unwrap_err().code, Code::TokenReplayed);
    assert_sound(&bench).await;
}

#[tokio::test]
async fn s_02_a_database_that_stops_grants_nothing_and_everything_committed_is_there_afterwards() {
    let own = Postgres::start();
    let place = PostgresPlace::from_url(&own.url(&own.database())).unwrap();
    let bench = Bench::postgres_with(|settings| settings.place = StorePlace::Postgres(place));
    for n in 0..20 {
        authorise(&bench, &format!("token {n}")).await.unwrap();
    }
    own.stop_at_once();
    let refusal = authorise(&bench, "meanwhile").await.unwrap_err();
    assert_eq!(refusal.code, Code::StoreUnavailable);
    assert!(!bench.ledger.is_alive(), "not ready while it is cut off");
    let facts = bench.facts("denied", None);
    let (decision, refusal) = (facts.decision(), Refusal::new(Code::NotAllowed, "no"));
    let judged = crate::policy::testing::judged(facts);
    bench.ledger.refuse(crate::ledger::Refused::Judged(&judged), decision, &refusal).await;
    assert_eq!(bench.ledger.spooled(), 1);
    own.start_again();
    recovers(&bench, "meanwhile").await;
    assert_eq!(bench.unleased().await.len(), 21);
    bench.ledger.upkeep().await;
    assert!(bench.ledger.decision(decision).await.unwrap().is_some(), "the refusal was not lost");
    assert_sound(&bench).await;
    drop(bench);
}

#[tokio::test]
async fn s_02_a_database_that_is_read_only_grants_nothing_and_recovers_once_it_is_promoted() {
    let own = Postgres::start();
    let place = PostgresPlace::from_url(&own.url(&own.database())).unwrap();
    let bench = Bench::postgres_with(|settings| settings.place = StorePlace::Postgres(place));
    authorise(&bench, "before").await.unwrap();
    // A standby: what a failover may leave behind where the primary was.
    own.stop_at_once();
    std::fs::write(own.data.join("standby.signal"), "").unwrap();
    own.start_again();
    assert_eq!(own.sql("postgres", "SELECT pg_is_in_recovery()"), ["t"]);
    for _ in 0..3 {
        assert_eq!(authorise(&bench, "meanwhile").await.unwrap_err().code, Code::StoreUnavailable);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let facts = bench.facts("denied", None);
    let (decision, refusal) = (facts.decision(), Refusal::new(Code::NotAllowed, "no"));
    let judged = crate::policy::testing::judged(facts);
    bench.ledger.refuse(crate::ledger::Refused::Judged(&judged), decision, &refusal).await;
    assert_eq!(bench.ledger.spooled(), 1);
    assert_eq!(bench.unleased().await.len(), 1, "what may live can be read");
    assert_eq!(own.sql("postgres", "SELECT pg_promote()"), ["t"]);
    recovers(&bench, "meanwhile").await;
    bench.ledger.upkeep().await;
    assert!(bench.ledger.decision(decision).await.unwrap().is_some(), "the refusal was not lost");
    assert_eq!(bench.unleased().await.len(), 2);
    assert_sound(&bench).await;
    drop(bench);
}

#[tokio::test]
async fn s_11_a_database_that_lost_what_it_committed_is_not_written_to() {
    let bench = Bench::postgres();
    authorise(&bench, "kept").await.unwrap();
    // What a restore from a backup, or a standby that was behind, does.
    let lose = "SET session_replication_role = replica;
        DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit);
        SELECT pg_terminate_backend(pid) FROM pg_locks
        WHERE locktype = 'advisory' AND objid = 1 AND objsubid = 2
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
    server().sql(bench.database(), lose);
    authorise(&bench, "first").await.unwrap_err();
    let refusal = authorise(&bench, "second").await.unwrap_err();
    let detail = refusal.detail.unwrap();
    assert!(detail.contains("lost records"), "{detail}");
    while bench.ledger.is_alive() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_record_that_is_rejected_fails_alone() {
    let bench = Bench::postgres();
    let facts = bench.facts("token", None);
    let (decision, refusal) = (facts.decision(), Refusal::new(Code::NotAllowed, "no"));
    let judged = crate::policy::testing::judged(facts);
    let twice = || bench.ledger.refuse(crate::ledger::Refused::Judged(&judged), decision, &refusal);
    twice().await;
    let ((), fine, also) = tokio::join!(twice(), authorise(&bench, "a"), authorise(&bench, "b"));
    assert_eq!((fine, also), (Ok(()), Ok(())));
    assert_eq!(bench.ledger.spooled(), 1);
    bench.ledger.upkeep().await;
    assert_eq!(bench.ledger.spooled(), 0, "what can never be recorded does not hold up the rest");
    assert_sound(&bench).await;
}

#[tokio::test]
async fn used_tokens_and_keys_are_forgotten_once_dead() {
    let bench = Bench::postgres();
    let left = || {
        let count = "SELECT (SELECT count(*) FROM replay) + (SELECT count(*) FROM idempotency)";
        server().sql(bench.database(), count)
    };
    for n in 0..300 {
        bench.ledger.authorise(bench.planned(&format!("old {n}"), Some(&format!("k{n}")))).await.unwrap();
    }
    assert_eq!(left(), ["600"]);
    bench.pass(Duration::from_mins(10));
    for n in 0..300 {
        authorise(&bench, &format!("new {n}")).await.unwrap();
    }
    assert_eq!(left(), ["300"]);
}

#[tokio::test]
async fn s_11_a_chain_whose_session_broke_is_in_the_checkpoints_of_others_when_it_is_back() {
    let one = Bench::postgres();
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    one.ledger.insert_keys_if_none(keys).await.unwrap();
    let two = one.beside();
    assert_eq!(server().sql(one.database(), END_FIRST), ["t"]);
    // The start of the second server vouches for the first one's chain, which seems to have ended.
    authorise(&two, "meanwhile").await.unwrap();
    two.ledger.checkpoint(&keyring).await.unwrap().unwrap();
    recovers(&one, "back").await;
    authorise(&two, "after").await.unwrap();
    two.ledger.checkpoint(&keyring).await.unwrap().unwrap();
    let report = one.verify().await;
    assert!(report.is_sound() && report.unproven_since.is_none(), "{report:?}");
}
