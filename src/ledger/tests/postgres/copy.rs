//! A file's ledger that moves into a database.

use std::sync::Arc;

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
