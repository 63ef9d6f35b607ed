//! A store that is locked, full, read-only, or whose writer dies: no grant without a record, no refusal lost, and
//! recovery without a hand.

use std::time::Duration;

use rusqlite::Connection;

use crate::domain::{Code, DecisionId, Refusal};
use crate::ledger::Refused;
use crate::ledger::testing::Bench;
use crate::policy::testing::judged;

async fn authorise(bench: &Bench, token: &str) -> Result<(), Refusal> {
    bench.ledger.authorise(bench.planned(token, None)).await.map(drop).map_err(|(_, refusal)| refusal)
}

/// Refuses a request of `token`; returns its decision.
async fn refuse(bench: &Bench, token: &str) -> DecisionId {
    let facts = bench.facts(token, None);
    let decision = facts.decision();
    let refusal = Refusal::new(Code::NotAllowed, "no policy allows it");
    bench.ledger.refuse(Refused::Judged(&judged(facts)), decision, &refusal).await;
    decision
}

async fn is_recorded(bench: &Bench, decision: DecisionId) -> bool {
    bench.ledger.decision(decision).await.unwrap().is_some()
}

#[tokio::test]
async fn s_02_a_locked_store_grants_nothing_and_spools_refusals() {
    let bench = Bench::new();
    let other = Connection::open(bench.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let refusal = authorise(&bench, "token").await.unwrap_err();
    assert_eq!(refusal.code, Code::StoreUnavailable);
    assert_eq!(refusal.detail.as_deref(), Some("the store is locked by another process"));
    let spooled = refuse(&bench, "another").await;
    bench.ledger.upkeep().await;
    assert!(!is_recorded(&bench, spooled).await);
    assert_eq!(bench.ledger.spooled(), 1);
    other.execute_batch("ROLLBACK").unwrap();

    // The token was not used up by the attempt that failed.
    authorise(&bench, "token").await.unwrap();
    bench.ledger.upkeep().await;
    assert!(is_recorded(&bench, spooled).await);
    assert_eq!(bench.ledger.spooled(), 0);
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

/// How long the writer's next transaction would wait for another process, milliseconds.
async fn wait_of(bench: &Bench) -> i64 {
    let (tell, told) = tokio::sync::oneshot::channel();
    let ask = |store: &Connection| {
        let wait = store.pragma_query_value(None, "busy_timeout", |row| row.get(0));
        tell.send(wait.unwrap()).unwrap();
    };
    bench.ledger.store.poke(ask).await;
    told.await.unwrap()
}

#[tokio::test]
async fn s_02_a_locked_store_is_waited_for_once_and_not_by_every_record() {
    let bench = Bench::with(|settings| settings.busy_timeout = Duration::from_millis(300));
    let other = Connection::open(bench.file()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(wait_of(&bench).await, 300);
    authorise(&bench, "token").await.unwrap_err();
    // The record of that refusal follows at once, and whoever asks meanwhile is told at once too.
    assert_eq!(wait_of(&bench).await, 50);
    refuse(&bench, "another").await;
    assert_eq!(wait_of(&bench).await, 50);
    other.execute_batch("ROLLBACK").unwrap();
    authorise(&bench, "token").await.unwrap();
    assert_eq!(wait_of(&bench).await, 300);
}

#[tokio::test]
async fn s_02_a_read_only_store_grants_nothing_and_recovers() {
    let bench = Bench::new();
    bench.ledger.store.poke(|store| store.pragma_update(None, "query_only", true).unwrap()).await;
    let refusal = authorise(&bench, "token").await.unwrap_err();
    assert_eq!(refusal.detail.as_deref(), Some("the store is read-only"));
    let spooled = refuse(&bench, "another").await;
    bench.ledger.store.poke(|store| store.pragma_update(None, "query_only", false).unwrap()).await;
    authorise(&bench, "token").await.unwrap();
    bench.ledger.upkeep().await;
    assert!(is_recorded(&bench, spooled).await);
}

#[tokio::test]
async fn s_02_a_lease_that_cannot_be_recorded_gives_its_authorisation_back() {
    let bench = Bench::new();
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let decision = auth.grant().facts().decision();
    bench.ledger.store.poke(|store| store.pragma_update(None, "query_only", true).unwrap()).await;
    let (auth, refusal) = bench.ledger.lease(auth, bench.minted()).await.unwrap_err();
    assert_eq!(refusal.code, Code::StoreUnavailable);
    bench.ledger.abandon(auth, &refusal, false).await;
    assert_eq!(bench.unleased().await, [decision], "what may live is known");
}

#[tokio::test]
async fn s_02_a_writer_that_panics_grants_nothing_more() {
    let bench = Bench::new();
    let panic = |_: &Connection| panic!("a bug in the writer, for the test");
    let poke = tokio::spawn({
        let ledger = bench.ledger.clone();
        async move { ledger.store.poke(panic).await }
    });
    poke.await.unwrap();
    let refusal = authorise(&bench, "token").await.unwrap_err();
    assert_eq!(refusal.detail.as_deref(), Some("the ledger's writer has stopped"));
    refuse(&bench, "another").await;
    assert_eq!(bench.ledger.spooled(), 1);
    while bench.ledger.is_alive() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn one_record_that_sqlite_rejects_fails_alone() {
    let bench = Bench::new();
    let facts = bench.facts("token", None);
    let (decision, refusal) = (facts.decision(), Refusal::new(Code::NotAllowed, "no"));
    let judged = judged(facts);
    // The same decision id twice: the second record is rejected, with others in the same batch.
    let twice = || bench.ledger.refuse(Refused::Judged(&judged), decision, &refusal);
    twice().await;
    let ((), fine, also) = tokio::join!(twice(), authorise(&bench, "a"), authorise(&bench, "b"));
    assert_eq!((fine, also), (Ok(()), Ok(())));
    assert_eq!(bench.ledger.spooled(), 1);
    bench.ledger.upkeep().await;
    assert_eq!(bench.ledger.spooled(), 0, "what can never be recorded does not hold up the rest");
    assert!(bench.verify().await.is_sound());
}

/// Settings of a store that is full after a few dozen refusals.
fn small() -> Bench {
    Bench::with(|settings| {
        settings.max_bytes = Some(400 * 1024);
        settings.reserve_bytes = 128 * 1024;
        settings.refusals_per_minute = u32::MAX;
    })
}

#[tokio::test]
async fn s_09_refusals_that_fill_the_store_leave_room_for_grants() {
    let bench = small();
    let mut refusals = 0;
    while bench.ledger.spooled() == 0 {
        refuse(&bench, "noise").await;
        refusals += 1;
        assert!(refusals < 10_000, "never full");
    }
    for n in 0..10 {
        authorise(&bench, &format!("grant {n}")).await.unwrap();
    }
    let spooled = bench.ledger.spooled();
    refuse(&bench, "noise").await;
    assert_eq!(bench.ledger.spooled(), spooled + 1, "refusals no longer take storage");
    assert!(bench.verify().await.is_sound());
}

#[tokio::test]
async fn s_02_a_full_store_grants_nothing_and_recovers_when_there_is_room() {
    let bench = small();
    let mut granted = 0;
    let refusal = loop {
        match authorise(&bench, &format!("grant {granted}")).await {
            Ok(()) => granted += 1,
            Err(refusal) => break refusal,
        }
        assert!(granted < 10_000, "never full");
    };
    assert_eq!(refusal.detail.as_deref(), Some("the store is full"));
    let spooled = refuse(&bench, "another").await;
    bench.ledger.store.poke(|store| drop(store.execute_batch("PRAGMA max_page_count = 100000"))).await;
    authorise(&bench, "after").await.unwrap();
    assert!(!is_recorded(&bench, spooled).await);
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn s_09_the_reserve_file_is_given_up_and_laid_again() {
    let bench = Bench::with(|settings| settings.reserve_bytes = 64 * 1024);
    let reserve = bench.file().with_file_name("ledger.db.reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 64 * 1024);
    // A disk that is full, as SQLite tells it; given up, the reserve makes no room here, so the grant fails too.
    bench.ledger.store.poke(|store| drop(store.execute_batch("PRAGMA max_page_count = 1"))).await;
    while authorise(&bench, &format!("{}", bench.verify().await.records)).await.is_ok() {}
    assert!(!reserve.exists());
    let spooled = refuse(&bench, "while it is full").await;
    bench.ledger.store.poke(|store| drop(store.execute_batch("PRAGMA max_page_count = 100000"))).await;
    bench.ledger.upkeep().await;
    assert!(!is_recorded(&bench, spooled).await, "refusals wait until the reserve is back");
    bench.pass(Duration::from_secs(10));
    bench.ledger.upkeep().await;
    assert!(reserve.exists());
    assert!(is_recorded(&bench, spooled).await);
}

#[tokio::test]
async fn used_tokens_and_keys_are_forgotten_once_dead() {
    let bench = Bench::new();
    let left = |bench: &Bench| {
        let path = bench.file().to_owned();
        let count = "SELECT (SELECT count(*) FROM replay) + (SELECT count(*) FROM idempotency)";
        Connection::open(path).unwrap().query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    for n in 0..400 {
        bench.ledger.authorise(bench.planned(&format!("old {n}"), Some(&format!("k{n}")))).await.unwrap();
    }
    assert_eq!(left(&bench), 800);
    bench.pass(Duration::from_mins(10));
    for n in 0..300 {
        authorise(&bench, &format!("new {n}")).await.unwrap();
    }
    assert_eq!(left(&bench), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_while_a_batch_is_gathered_is_in_one() {
    let bench = Bench::new();
    // So many under way that no batch is ever large enough: each is gathered to its last moment.
    let _under_way: Vec<_> = (0..10_000).map(|_| bench.ledger.begin()).collect();
    let tasks: Vec<_> = (0..400_u64)
        .map(|n| {
            let (ledger, planned) = (bench.ledger.clone(), bench.planned(&n.to_string(), None));
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_micros(n * 50)).await;
                ledger.authorise(planned).await.map(drop).map_err(|(_, why)| why.code)
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), Ok(()));
    }
}
