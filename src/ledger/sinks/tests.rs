//! A sink's task on a real ledger, with a file as its receiver: what arrives, once or again, and never not at all.

mod replicas;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::cursor::{CHECKPOINTS, Cursor, Place};
use super::file::Lines;
use super::health::{Health, Stop};
use super::pace::Pace;
use super::runner::{Reads, Runner};
use super::send::Transport;
use crate::config::{SinkFormat, StorePlace};
use crate::domain::{Code, DecisionId, Operation, Prolonged, Refusal};
use crate::ledger::testing::{Bench, noon, sealer, server};
use crate::ledger::{AskedFor, EndHow, Leased, LedgerSettings, Record, Refused};
use crate::signing::{Keyring, first_keys};

/// Failures are over in a moment here.
const QUICK: Pace = Pace { first: Duration::from_millis(1), longest: Duration::from_millis(2) };

crate::ledger::conformance::stores! {
    every_record_arrives_once_in_order_over_restarts
    what_a_crash_forgot_is_sent_again
    a_receiver_that_is_away_costs_grants_nothing_and_misses_nothing
    a_record_that_cannot_be_read_does_not_stop_the_others
    a_batch_is_bounded_and_chains_take_turns
    runs_that_are_over_leave_no_places_behind
}

fn runner(bench: &Bench, path: &Path) -> Runner {
    let transport = Transport::File(Lines::new(path).unwrap());
    let reads = Reads::new(Semaphore::new(1));
    Runner::new(Health::new("siem", QUICK), Arc::clone(&bench.ledger), transport, SinkFormat::Tollgate, reads)
}

fn stop() -> Stop {
    Stop { drain: CancellationToken::new(), cut: CancellationToken::new() }
}

/// Sends all that there is, as at a shutdown.
async fn drain(bench: &Bench, path: &Path) {
    // A database notices the end of the former run's session a moment later.
    while !bench.ledger.store.hold_sink("siem".to_owned()).await.unwrap() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let stop = stop();
    stop.drain.cancel();
    runner(bench, path).run(stop).await;
}

/// Changes the store behind the server's back.
async fn change(bench: &Bench, sql: &'static str) {
    match &bench.settings.place {
        StorePlace::Sqlite(_) => {
            bench.ledger.store.poke(move |store| assert!(store.execute(sql, []).unwrap() > 0)).await;
        }
        StorePlace::Postgres(place) => {
            assert!(!server().sql(&place.database, &format!("{sql} RETURNING 1")).is_empty());
        }
    }
}

fn copy(bench: &Bench) -> PathBuf {
    bench.path("copy.jsonl")
}

fn lines(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The places of the records of `writer`, in the order in which they stand in the file.
fn sequence(path: &Path, writer: i64) -> Vec<i64> {
    let of = |line: &Value| (line["writer"] == writer).then(|| line["seq"].as_i64().unwrap());
    lines(path).iter().filter_map(of).collect()
}

async fn leased(bench: &Bench, token: &str) -> Leased {
    let auth = bench.ledger.authorise(bench.planned(token, None)).await.unwrap();
    bench.ledger.lease(auth, bench.minted()).await.unwrap()
}

async fn lease(bench: &Bench, token: &str) -> crate::domain::LeaseId {
    leased(bench, token).await.id()
}

/// Records of as many kinds as a ledger makes by itself.
async fn all_sorts(bench: &Bench) {
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    bench.ledger.insert_keys_if_none(keys).await.unwrap();
    let print = crate::secret::Fingerprint::of(b"revision");
    bench.ledger.set_revision(print, print).await.unwrap();
    let lease = leased(bench, "renewed and ended").await;
    bench.pass(Duration::from_mins(5));
    let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
    let planned = bench.planned_renewal(lease.id());
    let renewal = bench.ledger.authorise_renewal(planned, &first).await.unwrap();
    let dies_at = bench.clock.now() + Duration::from_mins(15);
    bench.ledger.renew(renewal, Prolonged::Extended { dies_at }).await.unwrap();
    bench.end_by_holder(&lease, EndHow::AtTarget).await;
    let lease = leased(bench, "given up").await;
    let block = bench.block("role:deploy", None).await;
    assert!(bench.ledger.lift_block(block, None, "a test".into()).await.unwrap());
    let claim = bench.ledger.claim_now(Record::Lease(lease.id())).await.unwrap().unwrap();
    bench.ledger.postpone([(claim, true)], "provider_unavailable").await.unwrap();
    let lost = bench.ledger.authorise(bench.planned("lost", None)).await.unwrap();
    bench.ledger.abandon(lost, &Refusal::new(Code::ProviderUnavailable, "no answer"), true).await;
    let (nobody, refusal) =
        (Refused::Unidentified { source_ip: None }, Refusal::new(Code::TokenExpired, "old"));
    bench.ledger.refuse(nobody, DecisionId::new(1, &[1; 10]), &refusal).await;
    let caller = crate::identity::testing::caller("token", bench.clock.now());
    for (n, asked) in [(3, AskedFor::Role("deploy")), (4, AskedFor::Operation(Operation::AuditRead))] {
        let who = Refused::Identified { caller: &caller, asked, configuration: print };
        bench.ledger.refuse(who, DecisionId::new(1, &[n; 10]), &Refusal::new(Code::NotAllowed, "no")).await;
    }
    bench.pass(Duration::from_mins(30));
    bench.ledger.upkeep().await;
    bench.ledger.checkpoint(&keyring).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_sink_gets_line_for_line_what_the_writer_said() {
    let folder = tempfile::tempdir().unwrap();
    let saying = |name: &str| {
        let file = folder.path().join(name);
        move |settings: &mut LedgerSettings| settings.events_file = Some(file)
    };
    said_and_sent(Bench::with(saying("file"))).await;
    said_and_sent(Bench::postgres_with(saying("database"))).await;
}

async fn said_and_sent(bench: Bench) {
    all_sorts(&bench).await;
    // The writer of the first run ends, and has written its own copy.
    let bench = bench.restart();
    let copy = copy(&bench);
    drain(&bench, &copy).await;
    let said = bench.settings.events_file.clone().unwrap();
    let bench = bench.restart();
    drain(&bench, &copy).await;
    let text = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let mut lines: Vec<_> = text.lines().map(str::to_owned).collect();
        // The third run's own start is not yet in the writer's copy for certain.
        lines.retain(|line| !line.contains("\"writer\":3"));
        lines.sort();
        lines
    };
    assert_eq!(text(&copy), text(&said));
    let of_decisions = ["authorised", "leased", "renewed", "ended", "abandoned", "refused", "counted"];
    let of_blocks = ["block_set", "block_marked", "block_lifted", "end_asked", "end_given_up"];
    for kind in ["started", "revision", "key"].into_iter().chain(of_decisions).chain(of_blocks) {
        assert!(lines(&copy).iter().any(|line| line["kind"] == kind), "no {kind}");
    }
}

async fn every_record_arrives_once_in_order_over_restarts(bench: Bench) {
    let copy = copy(&bench);
    lease(&bench, "one").await;
    drain(&bench, &copy).await;
    lease(&bench, "two").await;
    let bench = bench.restart();
    lease(&bench, "three").await;
    drain(&bench, &copy).await;
    assert_eq!(sequence(&copy, 1), [1, 2, 3, 4, 5]);
    assert_eq!(sequence(&copy, 2), [1, 2, 3]);
}

async fn what_a_crash_forgot_is_sent_again(bench: Bench) {
    let copy = copy(&bench);
    lease(&bench, "one").await;
    drain(&bench, &copy).await;
    change(&bench, "DELETE FROM sink_cursors").await;
    drain(&bench, &copy).await;
    assert_eq!(sequence(&copy, 1), [1, 2, 3, 1, 2, 3]);
}

async fn a_receiver_that_is_away_costs_grants_nothing_and_misses_nothing(bench: Bench) {
    let folder = bench.path("receiver");
    std::fs::create_dir(&folder).unwrap();
    let copy = folder.join("copy.jsonl");
    let (stop, runner) = (stop(), runner(&bench, &copy));
    std::fs::remove_dir_all(&folder).unwrap();
    let running = tokio::spawn(runner.run(stop.clone()));
    for token in 0..20 {
        lease(&bench, &token.to_string()).await;
    }
    let delivered = async |sink: &str| {
        let cursor = bench.ledger.store.reader().sink_cursor(sink.to_owned()).await.unwrap();
        cursor.delivered(1)
    };
    assert_eq!(delivered("siem").await, 0, "retention must keep all of it");
    std::fs::create_dir(&folder).unwrap();
    while !copy.exists() || sequence(&copy, 1).len() < 41 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    stop.drain.cancel();
    running.await.unwrap();
    assert_eq!(sequence(&copy, 1), (1..=41).collect::<Vec<_>>());
    assert_eq!(delivered("siem").await, 41);
    assert_eq!(delivered("another").await, 0, "the other has nothing");
}

async fn a_record_that_cannot_be_read_does_not_stop_the_others(bench: Bench) {
    let copy = copy(&bench);
    lease(&bench, "one").await;
    change(&bench, "UPDATE audit SET kind = 'unheard_of' WHERE seq = 2").await;
    drain(&bench, &copy).await;
    assert_eq!(sequence(&copy, 1), [1, 3]);
}

async fn a_batch_is_bounded_and_chains_take_turns(bench: Bench) {
    lease(&bench, "one").await;
    let bench = bench.restart();
    lease(&bench, "two").await;
    let ahead = async |limit: usize, bytes: usize, cursor: Cursor| {
        let ahead = bench.ledger.store.reader().ahead(cursor, limit, bytes).await.unwrap();
        let places = ahead.rows.iter().map(|row| (row.place.writer, row.place.seq)).collect::<Vec<_>>();
        (ahead.records, places)
    };
    let all = ahead(100, usize::MAX, Cursor::default()).await;
    assert_eq!(all, (6, vec![(1, 1), (1, 2), (1, 3), (2, 1), (2, 2), (2, 3)]));
    assert_eq!(ahead(4, usize::MAX, Cursor::default()).await, (6, vec![(1, 1), (1, 2), (2, 1), (2, 2)]));
    assert_eq!(ahead(1, usize::MAX, Cursor::default()).await, (6, vec![(1, 1)]));
    assert_eq!(ahead(100, 1, Cursor::default()).await.1, [(1, 1)], "one record always fits");
    let behind = Cursor::new([Place { writer: 1, seq: 3 }, Place { writer: 2, seq: 1 }]);
    assert_eq!(ahead(100, usize::MAX, behind).await, (2, vec![(2, 2), (2, 3)]));
}

async fn runs_that_are_over_leave_no_places_behind(mut bench: Bench) {
    let copy = copy(&bench);
    for _ in 0..5 {
        drain(&bench, &copy).await;
        bench = bench.restart();
    }
    drain(&bench, &copy).await;
    let cursor = bench.ledger.store.reader().sink_cursor("siem".to_owned()).await.unwrap();
    let writers: Vec<_> = cursor.places().iter().map(|place| place.writer).collect();
    assert!(writers.iter().all(|writer| *writer <= CHECKPOINTS || *writer >= 6), "{writers:?}");
    assert_eq!((1..=6).map(|writer| sequence(&copy, writer).len()).sum::<usize>(), 6, "each start once");
}
