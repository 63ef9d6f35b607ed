//! Signing keys in the store: what was changed is found when they are loaded; everything is sealed anew.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rusqlite::Connection;

use crate::config::StorePlace;
use crate::domain::Prolonged;
use crate::identity::Remembered;
use crate::ledger::testing::{Bench, noon, sealer};
use crate::ledger::{EndHow, LedgerError, Reader};
use crate::signing::{KeyState, Keyring, Sealer, SigningError, first_keys, revoke};

/// A store with its first keys, of which one was revoked and replaced.
async fn bench() -> (Bench, String) {
    let bench = Bench::new();
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    let (stolen, purpose) = (keys[0].kid.clone(), keys[0].purpose);
    bench.ledger.insert_keys_if_none(keys.clone()).await.unwrap();
    let mut changed = revoke(&keys, &stolen, true, &sealer(), noon()).unwrap().changed;
    changed.push(Keyring::generate(purpose, keys[0].algorithm, &sealer(), noon(), noon()).unwrap());
    bench.ledger.store_keys(changed).await.unwrap();
    (bench, stolen)
}

#[tokio::test]
async fn c_11_a_changed_row_of_a_key_is_found_at_load_and_nothing_is_loaded() {
    let changes = [
        "UPDATE signing_keys SET state = 'active' WHERE state = 'revoked'",
        "UPDATE signing_keys SET state = 'revoked' WHERE purpose = 'checkpoints'",
        "UPDATE signing_keys SET activates_at = activates_at - 1",
        "UPDATE signing_keys SET created_at = created_at - 1",
        "UPDATE signing_keys SET purpose = 'credentials' WHERE purpose = 'checkpoints'",
        "UPDATE signing_keys SET place = 'kms' WHERE purpose = 'checkpoints'",
        "UPDATE signing_keys SET public_jwk = '{}'",
        "UPDATE signing_keys SET sealed = x'02' WHERE state = 'revoked'",
        "DELETE FROM signing_keys WHERE state = 'revoked'",
        "DELETE FROM signing_keys WHERE purpose = 'checkpoints'",
        "INSERT INTO signing_keys SELECT 'x', tenant, purpose, algorithm, state, created_at, activates_at, sealed,
            public_jwk, place FROM signing_keys LIMIT 1",
        "DELETE FROM audit WHERE kind = 'key' AND body LIKE '%revoked%'",
    ];
    let (bench, _) = bench().await;
    bench.ledger.signing_keys().await.unwrap();
    for change in changes {
        let copy = bench.file().with_file_name("copy.db");
        let _ = std::fs::remove_file(&copy);
        let original = Connection::open(bench.file()).unwrap();
        original.execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
        assert!(Connection::open(&copy).unwrap().execute(change, []).unwrap() > 0, "{change}");
        let loaded = Reader::open(&StorePlace::Sqlite(copy.clone())).unwrap().stored_keys();
        assert!(matches!(loaded, Err(LedgerError::KeyChanged(_))), "{change}: {loaded:?}");
    }
}

#[tokio::test]
async fn c_11_a_row_restored_from_before_its_revocation_is_found_at_load() {
    let bench = Bench::new();
    let keys = first_keys(&[], &sealer(), noon()).unwrap();
    bench.ledger.insert_keys_if_none(keys.clone()).await.unwrap();
    let before = keys[0].sealed.clone();
    let retired = revoke(&keys, &keys[0].kid, true, &sealer(), noon()).unwrap().changed;
    bench.ledger.store_keys(retired).await.unwrap();
    let restore = move |store: &Connection| {
        let sql = "UPDATE signing_keys SET state = 'active', sealed = ?1 WHERE state = 'revoked'";
        assert_eq!(store.execute(sql, [&before]), Ok(1));
    };
    bench.ledger.store.poke(restore).await;
    assert!(matches!(bench.ledger.signing_keys().await, Err(LedgerError::KeyChanged(_))));
}

#[tokio::test]
async fn c_11_whoever_did_not_know_of_a_revocation_cannot_undo_it() {
    let (bench, stolen) = bench().await;
    let mut known = first_keys(&[], &sealer(), noon()).unwrap();
    known[0].kid.clone_from(&stolen);
    bench.ledger.store_keys(vec![known[0].clone()]).await.unwrap();
    let stored = bench.ledger.signing_keys().await.unwrap();
    let key = stored.iter().find(|key| key.kid == stolen).unwrap();
    assert_eq!((key.state, key.sealed.len()), (KeyState::Revoked, 0));
    assert!(bench.verify().await.is_sound());
}

/// A sealer of another key that also opens what the tests' own has sealed.
fn changed() -> Arc<Sealer> {
    let former = STANDARD.encode([0; 32]).into();
    Arc::new(Sealer::with_former(&STANDARD.encode([9; 32]).into(), &[former]).unwrap())
}

#[tokio::test]
async fn c_11_all_is_sealed_anew_but_handles_and_a_second_run_does_what_is_left() {
    let (bench, _) = bench().await;
    let issuer = "https://issuer.example".parse().unwrap();
    bench.ledger.keep_keys(&issuer, "{\"keys\":[]}", noon()).await;
    let auth = bench.ledger.authorise(bench.planned("living", None)).await.unwrap();
    let leased = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    let stored = bench.ledger.signing_keys().await.unwrap();
    let living = stored.iter().filter(|key| key.state != KeyState::Revoked).count();
    let bench = bench.with_sealer(changed());

    let first = bench.ledger.rewrap().await.unwrap();
    assert_eq!((first.signing_keys, first.issuer_keys, first.unopened), (living, 1, 0));
    assert_eq!((first.handles.count, first.handles.until), (1, Some(leased.minted().dies_at)));
    let again = bench.ledger.rewrap().await.unwrap();
    assert_eq!((again.signing_keys, again.issuer_keys), (0, 0));
    assert!(bench.verify().await.is_sound());

    // Without the former key: keys open, the handle does not, until its credential is dead.
    let only_new = || Arc::new(Sealer::new(&STANDARD.encode([9; 32]).into()).unwrap());
    let bench = bench.with_sealer(only_new());
    let keys = bench.ledger.signing_keys().await.unwrap();
    Keyring::open(&keys, &only_new(), noon()).unwrap();
    assert!(bench.ledger.last_keys(&issuer).await.is_some());
    assert_eq!(bench.ledger.lost_handles().await.unwrap().count, 1);
    bench.clock.set(leased.minted().dies_at);
    assert_eq!(bench.ledger.lost_handles().await.unwrap().count, 0);
}

#[tokio::test]
async fn a_former_key_that_is_missing_is_named_and_nothing_is_changed() {
    let (bench, _) = bench().await;
    let foreign = Arc::new(Sealer::new(&STANDARD.encode([9; 32]).into()).unwrap());
    let bench = bench.with_sealer(foreign);
    let refused = bench.ledger.rewrap().await.unwrap_err();
    let LedgerError::Signing(SigningError::UnknownSeal(id)) = refused else { panic!("{refused}") };
    assert_eq!(id, sealer().id());
    let bench = bench.with_sealer(sealer());
    let keys = bench.ledger.signing_keys().await.unwrap();
    assert!(Keyring::open(&keys, &sealer(), noon()).is_ok());
}

#[tokio::test]
async fn c_11_a_renewed_lease_needs_the_former_key_for_longer_and_is_asked_for_again() {
    let (bench, _) = bench().await;
    let auth = bench.ledger.authorise(bench.planned("living", None)).await.unwrap();
    let lease = bench.ledger.lease(auth, bench.minted()).await.unwrap();
    let bench = bench.with_sealer(changed());
    let told = bench.ledger.rewrap().await.unwrap().handles;
    assert_eq!((told.count, told.until), (1, Some(lease.minted().dies_at)));
    for _ in 0..3 {
        bench.pass(Duration::from_mins(10));
        let first = bench.ledger.renewable(lease.id(), lease.secret()).await.unwrap();
        let planned = bench.planned_renewal(lease.id());
        let renewal = bench.ledger.authorise_renewal(planned, &first).await.unwrap();
        let dies_at = bench.clock.now() + Duration::from_mins(15);
        bench.ledger.renew(renewal, Prolonged::Extended { dies_at }).await.unwrap();
        let handles = bench.ledger.rewrap().await.unwrap().handles;
        assert_eq!((handles.count, handles.until), (1, Some(dies_at)), "the handle of the first decision");
    }
    assert!(bench.clock.now() > told.until.unwrap());
    bench.end_by_holder(&lease, EndHow::AtTarget).await;
    assert_eq!(bench.ledger.rewrap().await.unwrap().handles.count, 0);
}
