//! A sink of several servers on one database: one of them runs it, and no chain is put behind that may still grow.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{copy, drain, lease, lines, runner, sequence, stop};
use crate::ledger::chain::Head;
use crate::ledger::intent::KeepCursor;
use crate::ledger::sinks::{Cursor, Place};
use crate::ledger::testing::{Bench, server};

async fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

fn up_to(last: i64) -> Vec<i64> {
    (1..=last).collect()
}

/// What is delivered of each of the first writers.
fn delivered(path: &Path, writers: i64) -> Vec<Vec<i64>> {
    if !path.exists() {
        return Vec::new();
    }
    (1..=writers).map(|writer| sequence(path, writer)).collect()
}

/// The sink's place as the store has it.
async fn cursor(bench: &Bench) -> Cursor {
    bench.ledger.store.reader().sink_cursor("siem".to_owned()).await.unwrap()
}

/// Ends the session of a writer, as a network that is cut does, and waits until the database has noticed.
async fn cut(bench: &Bench, writer: i64) {
    let held = format!(
        "FROM pg_locks WHERE locktype = 'advisory' AND classid = 1414483015 AND objid = {writer} AND objsubid = 2
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    );
    server().sql(bench.database(), &format!("SELECT pg_terminate_backend(pid) {held}"));
    let count = format!("SELECT count(*) {held}");
    soon("the session ends", || server().sql(bench.database(), &count) == ["0"]).await;
}

/// A lease once the store is there again.
async fn lease_again(bench: &Bench) {
    let mut tries = 0;
    while let Err((_, refusal)) = bench.ledger.authorise(bench.planned("again", None)).await {
        assert_eq!(refusal.code, crate::domain::Code::StoreUnavailable, "{refusal:?}");
        tries += 1;
        assert!(tries < 300, "the store does not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn one_server_runs_a_sink_for_all_and_another_goes_on_when_it_is_gone() {
    let one = Bench::postgres();
    let two = one.beside();
    let (first, second) = (one.path("first.jsonl"), one.path("second.jsonl"));
    let running = stop();
    let task = tokio::spawn(runner(&one, &first).run(running.clone()));
    lease(&one, "one").await;
    lease(&two, "two").await;
    soon("the chains of both arrive", || delivered(&first, 2) == [up_to(3), up_to(3)]).await;
    let waiting = stop();
    let waiter = tokio::spawn(runner(&two, &second).run(waiting.clone()));
    assert!(!two.ledger.store.hold_sink("siem".to_owned()).await.unwrap());
    running.drain.cancel();
    task.await.unwrap();
    drop(Arc::into_inner(one.ledger).unwrap());
    lease(&two, "three").await;
    soon("the other goes on", || delivered(&second, 2) == [vec![], vec![4, 5]]).await;
    waiting.drain.cancel();
    waiter.await.unwrap();
    assert!(cursor(&two).await.delivered(2) >= 5);
}

#[tokio::test]
async fn a_server_that_does_not_run_a_sink_notes_nothing_of_it() {
    let one = Bench::postgres();
    let two = one.beside();
    drain(&one, &copy(&one)).await;
    let before = cursor(&one).await;
    let far = Cursor::new([Place { writer: 1, seq: 1000 }]);
    let keep = KeepCursor { sink: "siem".to_owned(), cursor: far };
    assert_eq!(two.ledger.store.run(keep).await, Ok(None));
    assert_eq!(cursor(&one).await, before);
}

#[tokio::test]
async fn a_chain_of_a_server_that_lives_is_not_put_behind() {
    let one = Bench::postgres();
    let two = one.beside();
    let copy = copy(&two);
    drain(&two, &copy).await;
    assert_eq!(cursor(&two).await.first_writer(), 1);
    lease(&one, "later").await;
    drain(&two, &copy).await;
    assert_eq!(delivered(&copy, 2), [up_to(3), up_to(1)]);
}

#[tokio::test]
async fn a_chain_with_records_that_no_sink_has_is_not_put_behind() {
    let one = Bench::postgres();
    let two = one.beside();
    lease(&one, "one").await;
    cut(&one, 1).await;
    assert!(two.ledger.store.hold_sink("siem".to_owned()).await.unwrap());
    let part = Cursor::new([Place { writer: 1, seq: 2 }]);
    let keep = |cursor| KeepCursor { sink: "siem".to_owned(), cursor };
    assert_eq!(two.ledger.store.run(keep(part)).await, Ok(Some(1)));
    let all = Cursor::new([Place { writer: 1, seq: 3 }]);
    assert_eq!(two.ledger.store.run(keep(all)).await, Ok(Some(2)));
}

#[tokio::test]
async fn s_11_a_server_whose_chain_was_put_behind_begins_another_and_nothing_is_passed_over() {
    let one = Bench::postgres();
    let two = one.beside();
    let copy = copy(&two);
    lease(&one, "one").await;
    cut(&one, 1).await;
    drain(&two, &copy).await;
    assert_eq!(cursor(&two).await.first_writer(), 2);
    lease_again(&one).await;
    let Head { writer, seq, .. } = one.ledger.store.head();
    assert_eq!((writer, seq), (3, 2), "a start and an authorisation");
    drain(&two, &copy).await;
    assert_eq!(delivered(&copy, 3), [up_to(3), up_to(1), up_to(2)]);
    let started = lines(&copy).into_iter().find(|line| line["writer"] == 3 && line["seq"] == 1).unwrap();
    assert_eq!(started["data"]["follows"][0]["writer"], 1, "{started}");
    let report = one.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}

#[tokio::test]
async fn a_server_whose_session_broke_goes_on_with_its_chain_and_its_sink() {
    let one = Bench::postgres();
    let copy = copy(&one);
    drain(&one, &copy).await;
    let running = stop();
    let task = tokio::spawn(runner(&one, &copy).run(running.clone()));
    cut(&one, 1).await;
    lease_again(&one).await;
    soon("what came afterwards arrives", || delivered(&copy, 1) == [up_to(2)]).await;
    assert_eq!(one.ledger.store.head().writer, 1);
    running.drain.cancel();
    task.await.unwrap();
}
