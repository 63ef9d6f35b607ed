//! What would be pruned, and what holds the rest.

use std::time::Duration;

use super::leased;
use super::retention::{age, prune, with_keys};
use crate::ledger::intent::KeepCursor;
use crate::ledger::sinks::{Cursor, Place};
use crate::ledger::testing::Bench;
use crate::ledger::{ChainForecast, Held};

/// The chains, as they would be pruned.
async fn forecast(bench: &Bench, sinks: &[&str]) -> Vec<ChainForecast> {
    let sinks: Vec<_> = sinks.iter().map(|name| (*name).to_owned()).collect();
    let reader = bench.ledger.store.reader().clone();
    let forecast = reader.forecast("7d".parse().unwrap(), &sinks, bench.clock.now()).await.unwrap();
    assert_eq!(forecast.records, forecast.chains.iter().map(|chain| chain.records).sum::<u64>());
    forecast.chains
}

/// What holds the only chain.
async fn held(bench: &Bench, sinks: &[&str]) -> Vec<Held> {
    forecast(bench, sinks).await.remove(0).held
}

pub(super) async fn s_11_a_forecast_says_what_pruning_then_does_and_changes_nothing(bench: Bench) {
    let keyring = with_keys(&bench).await;
    for n in 0..200 {
        leased(&bench, &format!("token {n}"), None).await;
    }
    let bench = bench.restart();
    leased(&bench, "another", None).await;
    age(&bench).await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let before = bench.texts("SELECT kind FROM audit").len();
    let told = forecast(&bench, &[]).await;
    assert_eq!(bench.texts("SELECT kind FROM audit").len(), before);
    let records: u64 = told.iter().map(|chain| chain.records).sum();
    assert!(told.len() == 2 && told[0].records > 3 * 128, "{told:?}");
    for chain in &told {
        assert_eq!((chain.last, &chain.held), (Some(chain.newest - 1), &vec![Held::Newest]), "{chain:?}");
    }
    // The seals follow what was the newest record of the second chain: that one goes too.
    assert_eq!(u64::try_from(prune(&bench, &keyring, &[]).await).unwrap(), records + 1);
    let after = forecast(&bench, &[]).await;
    assert_eq!([after[0].records, after[1].records], [0, 0], "{after:?}");
}

pub(super) async fn a_forecast_says_what_is_young_unproven_or_not_delivered(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "token", None).await;
    let week = Duration::from_hours(7 * 24);
    let young = Held::Young { until: bench.clock.now() + week };
    assert_eq!(held(&bench, &[]).await, [young, Held::Unproven]);
    bench.pass(week);
    assert_eq!(held(&bench, &[]).await, [Held::Unproven]);
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let sinks = ["copy", "siem"].map(|sink| Held::Undelivered { sink: sink.to_owned() });
    assert_eq!(held(&bench, &["copy", "siem"]).await, sinks);
    let cursor = Cursor::new([Place { writer: 1, seq: 3 }]);
    bench.ledger.store.hold_sink("copy".to_owned()).await.unwrap();
    bench.ledger.store.run(KeepCursor { sink: "copy".to_owned(), cursor }).await.unwrap();
    assert_eq!(held(&bench, &["copy"]).await[1..], [sinks[0].clone()], "what it has got can go");
    // Three records alone get no seal for a day.
    let until = bench.clock.now() + Duration::from_hours(24);
    assert_eq!(held(&bench, &["copy"]).await[0], Held::Few { until });
    bench.pass(Duration::from_hours(24));
    let chain = forecast(&bench, &["copy"]).await.remove(0);
    assert_eq!((chain.records, chain.last, chain.first), (3, Some(3), 1));
}

pub(super) async fn a_forecast_names_the_lease_and_the_block_that_hold_a_chain(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let lease = leased(&bench, "token", None).await;
    let block = bench.block("repository:stands", None).await;
    leased(&bench, "another", None).await;
    let week = Duration::from_hours(7 * 24);
    let until = lease.minted().dies_at + week;
    bench.pass(week);
    bench.ledger.checkpoint(&keyring).await.unwrap();
    assert_eq!(held(&bench, &[]).await.pop(), Some(Held::Lease { lease: lease.id(), until }));
    age(&bench).await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    assert_eq!(held(&bench, &[]).await, [Held::Block { block, until: None }]);
}

pub(super) async fn a_forecast_names_an_authorisation_that_may_have_led_to_something(bench: Bench) {
    let keyring = with_keys(&bench).await;
    let open = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    leased(&bench, "another", None).await;
    bench.pass(Duration::from_hours(9 * 24));
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let decision = open.grant().facts().decision();
    assert_eq!(held(&bench, &[]).await, [Held::Open { decision }]);
}

pub(super) async fn s_11_a_forecast_says_that_a_chain_is_broken(bench: Bench) {
    let keyring = with_keys(&bench).await;
    leased(&bench, "token", None).await;
    age(&bench).await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    bench.change("UPDATE audit SET tenant = 'x' WHERE seq = 2").await;
    let chain = forecast(&bench, &[]).await.remove(0);
    assert_eq!((chain.records, chain.last, chain.held), (0, None, vec![Held::Broken]));
}
