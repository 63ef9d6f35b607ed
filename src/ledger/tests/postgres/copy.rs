//! A file's ledger that moves into a database.

use std::sync::Arc;
use std::time::Duration;

use crate::ledger::conformance::retention::{prune, with_keys};
use crate::ledger::testing::{Bench, place, server};
use crate::ledger::tests::tamper::act;
use crate::ledger::{LedgerError, copy_store};

#[tokio::test]
async fn a_copied_ledger_is_whole_and_goes_on() {
    let file = Bench::with(|settings| settings.refusals_per_minute = 1);
    act(&file, "first").await;
    let file = file.restart();
    let lease = file.ledger.authorise(file.planned("token", None)).await.unwrap();
    let lease = file.ledger.lease(lease, file.minted()).await.unwrap();
    let (before, unleased) = (file.verify().await, file.unleased().await);
    let (path, clock, database) = (file.file().to_owned(), file.clock.clone(), server().database());

    let into = place(&database);
    let busy = copy_store(&path, &into).unwrap_err();
    assert!(matches!(busy, LedgerError::InUse(_)), "{busy}");
    drop(Arc::into_inner(file.ledger).unwrap());
    let copied = copy_store(&path, &into).unwrap();
    assert_eq!((copied.report.records, copied.report.writers), (before.records, 2));
    assert!(copied.report.is_sound() && copied.rows > before.records, "{:?}", copied.report.findings);
    let again = copy_store(&path, &into).unwrap_err();
    assert!(matches!(again, LedgerError::NotEmpty(_)), "{again}");

    let bench = Bench::postgres_with(|settings| {
        settings.place = crate::config::StorePlace::Postgres(place(&database));
    });
    bench.clock.set(clock.now());
    let mut found = bench.unleased().await;
    found.sort();
    let mut expected = unleased;
    expected.sort();
    assert_eq!(found, expected);
    bench.ledger.lease_status(lease.id(), lease.secret()).await.unwrap();
    act(&bench, "second").await;
    let report = bench.verify().await;
    assert!(report.is_sound() && report.writers == 3, "{:?}", report.findings);
}

#[tokio::test]
async fn s_11_a_pruned_ledger_is_copied_and_pruned_on() {
    let file = Bench::new();
    let keyring = with_keys(&file).await;
    act(&file, "first").await;
    for _ in 0..2 {
        file.pass(Duration::from_hours(9 * 24));
        file.ledger.upkeep().await;
    }
    act(&file, "second").await;
    let gone = prune(&file, &keyring, &[]).await;
    let (path, clock, into) = (file.file().to_owned(), file.clock.clone(), place(&server().database()));
    drop(Arc::into_inner(file.ledger).unwrap());
    let copied = copy_store(&path, &into).unwrap();
    assert!(copied.report.is_sound(), "{:?}", copied.report.findings);
    assert_eq!(copied.report.pruned, u64::try_from(gone).unwrap());
    let bench = Bench::postgres_with(|settings| {
        settings.place = crate::config::StorePlace::Postgres(into);
    });
    bench.clock.set(clock.now() + Duration::from_hours(2));
    bench.ledger.upkeep().await;
    bench.pass(Duration::from_hours(9 * 24));
    bench.ledger.upkeep().await;
    assert!(prune(&bench, &keyring, &[]).await > 10);
    let report = bench.verify().await;
    assert!(report.is_sound() && report.pruned > copied.report.pruned, "{:?}", report.findings);
    // Of two servers one prunes a chain, whichever comes first.
    let beside = bench.beside();
    act(&beside, "third").await;
    bench.pass(Duration::from_hours(20 * 24));
    bench.ledger.upkeep().await;
    bench.ledger.checkpoint(&keyring).await.unwrap();
    let retention = "7d".parse().unwrap();
    let (one, two) = tokio::join!(
        bench.ledger.prune(retention, &[], &keyring),
        beside.ledger.prune(retention, &[], &keyring)
    );
    assert!(one.unwrap() + two.unwrap() > 0);
    let report = bench.verify().await;
    assert!(report.is_sound(), "{:?}", report.findings);
}
