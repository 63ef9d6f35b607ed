//! Opening a store, and what it remembers.

use std::sync::Arc;

use rusqlite::Connection;

use crate::clock::Clock;
use crate::config::StorePlace;
use crate::identity::Remembered;
use crate::ledger::testing::{Bench, noon, sealer};
use crate::ledger::{Durability, Ledger, LedgerError, LedgerSettings, Reader};
use crate::signing::{Purpose, first_keys};

#[test]
fn a_second_server_on_one_file_is_refused() {
    let bench = Bench::new();
    let second = Ledger::open(&bench.settings, sealer(), bench.clock.clone());
    assert!(matches!(second.err(), Some(LedgerError::InUse(path)) if path == bench.file()));
    let bench = bench.restart();
    assert!(bench.ledger.is_alive());
}

#[tokio::test]
async fn commands_read_while_the_server_runs_and_after() {
    let bench = Bench::new();
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let id = auth.grant().facts().decision();
    let reader = Reader::open(&bench.settings.place).unwrap();
    assert!(reader.decision(id).unwrap().is_some());
    assert!(reader.verify(None).unwrap().is_sound());
    drop(Arc::into_inner(bench.ledger).unwrap());
    let reader = Reader::open(&bench.settings.place).unwrap();
    assert!(reader.decision(id).unwrap().is_some());
}

#[tokio::test]
async fn after_an_orderly_end_the_one_file_is_the_whole_store() {
    let bench = Bench::new();
    drop(bench.ledger.authorise(bench.planned("token", None)).await.unwrap());
    let log = bench.file().with_file_name("ledger.db-wal");
    assert!(std::fs::metadata(&log).unwrap().len() > 0);
    drop(Arc::into_inner(bench.ledger).unwrap());
    assert_eq!(std::fs::metadata(&log).map_or(0, |log| log.len()), 0);
}

#[test]
fn another_programs_database_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path).unwrap().execute("CREATE TABLE theirs (x)", []).unwrap();
    let opened =
        Ledger::open(&LedgerSettings::new(StorePlace::Sqlite(path.clone())), sealer(), Clock::manual(noon()));
    assert!(matches!(opened.err(), Some(LedgerError::Foreign(_))));
    assert!(matches!(Reader::open(&StorePlace::Sqlite(path)).err(), Some(LedgerError::Foreign(_))));
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let bench = Bench::new();
    let settings = bench.settings.clone();
    drop(Arc::into_inner(bench.ledger).unwrap());
    Connection::open(settings.place.file().unwrap())
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let opened = Ledger::open(&settings, sealer(), Clock::manual(noon()));
    assert!(matches!(opened.err(), Some(LedgerError::Migration(_))));
}

#[cfg(unix)]
#[test]
fn a_folder_that_is_not_there_is_made_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::with(|settings| {
        let file = settings.place.file().unwrap();
        settings.place = StorePlace::Sqlite(file.with_file_name("state/deep/ledger.db"));
    });
    let folder = bench.file().parent().unwrap();
    assert_eq!(std::fs::metadata(folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_reads_the_store() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    drop(bench.ledger.authorise(bench.planned("token", None)).await.unwrap());
    for ending in ["", "-wal", "-shm", ".lock"] {
        let path = bench.file().with_file_name(format!("ledger.db{ending}"));
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{path:?}");
    }
}

#[test]
fn durability_is_read_back_not_assumed() {
    let bench = Bench::new();
    let Durability::Sqlite(durability) = bench.ledger.durability() else { panic!("not a file") };
    assert_eq!((durability.journal_mode.as_str(), durability.synchronous.as_str()), ("wal", "2"));
    assert_ne!(durability.file_system, "unknown");
}

#[tokio::test]
async fn of_two_first_starts_one_makes_the_keys() {
    let bench = Bench::new();
    let keys = || first_keys(&[], &sealer(), noon()).unwrap();
    let (mine, theirs) = (keys(), keys());
    assert!(bench.ledger.insert_keys_if_none(mine.clone()).await.unwrap());
    assert!(!bench.ledger.insert_keys_if_none(theirs).await.unwrap());
    let stored = bench.ledger.signing_keys().await.unwrap();
    let kids = |keys: &[crate::signing::KeyRecord]| {
        let mut kids: Vec<_> = keys.iter().map(|key| (key.kid.clone(), key.sealed.clone())).collect();
        kids.sort();
        kids
    };
    assert_eq!(kids(&stored), kids(&mine));
    assert!(stored.iter().any(|key| key.purpose == Purpose::Checkpoints));

    let revoked = crate::signing::revoke(&stored, &stored[0].kid, true, &sealer(), noon()).unwrap().changed;
    bench.ledger.store_keys(revoked).await.unwrap();
    let stored = bench.ledger.signing_keys().await.unwrap();
    assert_eq!(stored.len(), mine.len());
    assert!(bench.verify().await.is_sound());
}

#[tokio::test]
async fn issuer_keys_are_remembered_and_cannot_be_planted() {
    let bench = Bench::new();
    let issuer = |name: &str| format!("https://{name}.example").parse().unwrap();
    let (ours, theirs) = (issuer("ours"), issuer("theirs"));
    assert_eq!(bench.ledger.last_keys(&ours).await, None);
    bench.ledger.keep_keys(&ours, "{\"keys\":[]}", noon()).await;
    bench.ledger.keep_keys(&theirs, "{\"keys\":[1]}", noon()).await;
    let bench = bench.restart();
    assert_eq!(bench.ledger.last_keys(&ours).await, Some(("{\"keys\":[]}".to_owned(), noon())));
    let exchange = |store: &Connection| {
        let sql =
            "UPDATE issuer_keys SET sealed = (SELECT sealed FROM issuer_keys WHERE issuer LIKE '%theirs%')";
        assert_eq!(store.execute(sql, []), Ok(2));
    };
    bench.ledger.store.poke(exchange).await;
    assert_eq!(bench.ledger.last_keys(&ours).await, None);
}

#[tokio::test]
async fn i_02_remembered_issuer_keys_cannot_be_made_young_again() {
    let bench = Bench::new();
    let issuer = "https://issuer.example".parse().unwrap();
    bench.ledger.keep_keys(&issuer, "{\"keys\":[]}", noon()).await;
    let younger = |store: &Connection| {
        assert_eq!(store.execute("UPDATE issuer_keys SET fetched_at = fetched_at + 86400000", []), Ok(1));
    };
    bench.ledger.store.poke(younger).await;
    assert_eq!(bench.ledger.last_keys(&issuer).await, None);
}
