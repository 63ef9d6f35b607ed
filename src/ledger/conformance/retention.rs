//! What is pruned, what never is, and what is left to prove it.

use std::time::Duration;

use super::leased;
use crate::domain::DecisionId;
use crate::ledger::intent::KeepCursor;
use crate::ledger::sinks::{Cursor, Place};
use crate::ledger::testing::{Bench, noon, sealer};
use crate::ledger::tests::tamper::act;
use crate::ledger::{EndHow, LedgerError};
use crate::signing::{Keyring, first_keys};

/// Long enough that everything before it is to be pruned, with the day that few records may stay longer.
const AGES: Duration = Duration::from_hours(9 * 24);

pub(in crate::ledger) async fn with_keys(bench: &Bench) -> Keyring {
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let keyring = Keyring::open(&keys, &sealer(), noon()).unwrap();
    bench.ledger.insert_keys_if_none(keys).await.unwrap();
    keyring
}

/// Signs a checkpoint and prunes all that can be; returns how many records went.
pub(in crate::ledger) async fn prune(bench: &Bench, keyring: &Keyring, sinks: &[&str]) -> usize {
    let retention = "7d".parse().unwrap();
    let sinks: Vec<_> = sinks.iter().map(|name| (*name).to_owned()).collect();
    bench.ledger.checkpoint(keyring).await.unwrap();
    let mut all = 0;
    loop {
        match bench.ledger.prune(retention, &sinks, keyring).await.unwrap() {
            0 => return all,
            records => all += records,
        }
    }
}

/// Lets everything end, and time pass until it can go.
pub(super) async fn age(bench: &Bench) {
    bench.pass(Duration::from_hours(2));
    bench.ledger.upkeep().await;
    bench.pass(AGES);
    bench.ledger.upkeep().await;
}

async fn assert_sound(bench: &Bench) -> u64 {
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
    report.pruned
}

fn count(bench: &Bench, table: &str) -> usize {
    bench.texts(&format!("SELECT tenant FROM {table}")).len()
}

pub(super) async fn s_11_what_is_old_proven_and_over_is_pruned_under_a_seal_and_the_rest_verifies(
    bench: Bench,
) {
    let keyring = with_keys(&bench).await;
    act(&bench, "first").await;
    let bench = bench.restart();
    act(&bench, "second").await;
    for n in 0..200 {
        leased(&bench, &format!("token {n}"), None).await;
    }
    age(&bench).await;
    let before = bench.verify().await;
    assert!(before.is_sound(), "{:?}", before.findings);
    let gone = prune(&bench, &keyring, &[]).await;
    assert!(gone > 400, "{gone}");
    assert_eq!(u64::try_from(gone).unwrap(), assert_sound(&bench).await);
    for table in
        ["decisions", "inputs", "decision_keys", "leases", "blocks", "block_effects", "refusal_counts"]
    {
        assert!(count(&bench, table) <= 1, "{table}: the newest record of an ended chain stays");
    }
    // What comes then is recorded, pruned and proven as before, also over a restart.
    let bench = bench.restart();
    act(&bench, "third").await;
    age(&bench).await;
    assert!(prune(&bench, &keyring, &[]).await > 10);
    assert!(assert_sound(&bench).await > u64::try_from(gone).unwrap());
    bench.ledger.checkpoint(&keyring).await.unwrap();
    assert!(bench.verify().await.unproven_since.is_none());
}

pub(super) async fn s_11_nothing_young_or_unproven_is_pruned(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "token", None).await;
    bench.pass(Duration::from_hours(7 * 24));
    assert_eq!(prune(&bench, &keyring, &[]).await, 0, "the lease is over since less than the retention");
    let retention = "7d".parse().unwrap();
    bench.pass(AGES);
    leased(&bench, "after the checkpoint", None).await;
    bench.pass(2 * AGES);
    let gone = prune(&bench, &keyring, &[]).await;
    assert!(gone > 0);
    // What no checkpoint covers stays, however old it is.
    leased(&bench, "unproven", None).await;
    leased(&bench, "unproven too", None).await;
    bench.pass(2 * AGES);
    bench.ledger.prune(retention, &[], &keyring).await.unwrap();
    assert_eq!(count(&bench, "leases"), 2);
    assert_sound(&bench).await;
}

pub(super) async fn s_11_what_lives_or_is_in_force_holds_its_chain(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let block = bench.block("repository:stands", None).await;
    leased(&bench, "token", None).await;
    age(&bench).await;
    let before_the_block = prune(&bench, &keyring, &[]).await;
    assert!(before_the_block > 0);
    assert_eq!(
        (count(&bench, "blocks"), count(&bench, "leases")),
        (1, 1),
        "what follows the block stays too"
    );
    assert!(bench.ledger.lift_block(block, None, "a test".into()).await.unwrap());
    leased(&bench, "last", None).await;
    age(&bench).await;
    assert!(prune(&bench, &keyring, &[]).await > 0);
    assert_eq!(count(&bench, "blocks"), 0);
    assert_sound(&bench).await;
}

pub(super) async fn s_11_what_a_sink_has_not_got_stays(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "token", None).await;
    leased(&bench, "another", None).await;
    age(&bench).await;
    assert_eq!(prune(&bench, &keyring, &["siem"]).await, 0);
    let cursor = Cursor::new([Place { writer: 1, seq: 3 }]);
    bench.ledger.store.hold_sink("siem".to_owned()).await.unwrap();
    bench.ledger.store.run(KeepCursor { sink: "siem".to_owned(), cursor }).await.unwrap();
    assert_eq!(prune(&bench, &keyring, &["siem"]).await, 3);
    assert_eq!(prune(&bench, &keyring, &["siem", "another"]).await, 0, "every sink counts");
    assert_sound(&bench).await;
}

pub(super) async fn s_11_the_last_word_on_a_key_is_said_again_before_it_goes(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let keys = bench.ledger.signing_keys().await.unwrap().len();
    leased(&bench, "token", None).await;
    age(&bench).await;
    assert!(prune(&bench, &keyring, &[]).await > keys);
    assert_eq!(bench.records("key"), keys, "each once");
    assert_eq!(bench.ledger.signing_keys().await.unwrap().len(), keys);
    assert_sound(&bench).await;
    let bench = bench.restart();
    assert_eq!(bench.ledger.signing_keys().await.unwrap().len(), keys);
}

pub(super) async fn s_11_a_lease_over_the_cut_keeps_its_decision_until_it_goes_itself(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let decision = auth.grant().facts().decision();
    // A sink that has got the authorisation and not yet the lease cuts between the two.
    let authorised = bench.verify().await.records;
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    bench.end_by_holder(&lease, EndHow::AtTarget).await;
    leased(&bench, "last", None).await;
    age(&bench).await;
    let cursor = Cursor::new([Place { writer: 1, seq: i64::try_from(authorised).unwrap() }]);
    bench.ledger.store.hold_sink("siem".to_owned()).await.unwrap();
    bench.ledger.store.run(KeepCursor { sink: "siem".to_owned(), cursor }).await.unwrap();
    assert!(prune(&bench, &keyring, &["siem"]).await > 0);
    assert!(bench.ledger.decision(decision).await.unwrap().is_some());
    assert_sound(&bench).await;
    bench.change("UPDATE decisions SET role = 'another' WHERE n = (SELECT min(n) FROM decisions)").await;
    assert!(!bench.verify().await.is_sound(), "the seal holds what the decision was");
    bench.change("UPDATE decisions SET role = 'deploy' WHERE role = 'another'").await;
    assert_sound(&bench).await;
    assert!(prune(&bench, &keyring, &[]).await > 0);
    assert!(bench.ledger.decision(decision).await.unwrap().is_none());
    assert_sound(&bench).await;
}

pub(super) async fn s_11_seals_outlive_the_chain_that_held_them(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "first", None).await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let mut bench = bench.restart();
    for round in 0..4 {
        leased(&bench, &format!("round {round}"), None).await;
        age(&bench).await;
        prune(&bench, &keyring, &[]).await;
        assert_sound(&bench).await;
        bench = bench.restart();
    }
    let gone = assert_sound(&bench).await;
    assert!(gone > 20, "{gone}");
    bench.ledger.checkpoint(&keyring).await.unwrap();
    assert!(bench.verify().await.unproven_since.is_none());
}

pub(super) async fn s_11_a_chain_that_was_changed_is_not_pruned(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "token", None).await;
    leased(&bench, "another", None).await;
    age(&bench).await;
    bench.change("UPDATE audit SET tenant = 'x' WHERE seq = 2").await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let refused = bench.ledger.prune("7d".parse().unwrap(), &[], &keyring).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Cut { writer: 1 }), "{refused:?}");
    assert_eq!(bench.records("sealed"), 0);
}

pub(super) async fn a_decision_that_was_pruned_says_so(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let old = leased(&bench, "token", None).await.grant().facts().decision();
    leased(&bench, "another", None).await;
    assert!(!bench.ledger.is_pruned(old).await.unwrap());
    age(&bench).await;
    prune(&bench, &keyring, &[]).await;
    let young = leased(&bench, "young", None).await.grant().facts().decision();
    assert!(bench.ledger.decision(old).await.unwrap().is_none());
    assert!(bench.ledger.is_pruned(old).await.unwrap());
    assert!(!bench.ledger.is_pruned(young).await.unwrap());
    let now = u64::try_from(bench.clock.now().as_millisecond()).unwrap();
    assert!(!bench.ledger.is_pruned(DecisionId::new(now, &[0; 10])).await.unwrap());
}
