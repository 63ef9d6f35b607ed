//! Opening a database: what it must promise, and whose it must be.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::clock::Clock;
use crate::config::{PostgresPlace, StorePlace};
use crate::ledger::testing::{Bench, Postgres, noon, place, sealer, server};
use crate::ledger::{Durability, Ledger, LedgerError, LedgerSettings, Reader};

fn open(place: PostgresPlace) -> Result<Ledger, LedgerError> {
    Ledger::open(&LedgerSettings::new(StorePlace::Postgres(place)), sealer(), Clock::manual(noon()))
}

#[test]
fn a_database_that_would_lose_commits_is_refused() {
    for setting in ["fsync", "full_page_writes"] {
        let careless = Postgres::with(&format!("-c {setting}=off"));
        let opened = open(PostgresPlace::from_url(&careless.url(&careless.database())).unwrap());
        let error = opened.err().unwrap();
        assert!(matches!(error, LedgerError::Setting { setting: found, .. } if found == setting), "{error}");
    }
}

#[test]
fn commits_are_synced_whatever_the_role_or_the_database_says() {
    let name = server().database();
    server().sql("postgres", &format!("ALTER DATABASE {name} SET synchronous_commit = off"));
    let ledger = open(place(&name)).unwrap();
    let Durability::Postgres(durability) = ledger.durability() else { panic!("a file") };
    assert_eq!((durability.synchronous_commit.as_str(), durability.fsync.as_str()), ("on", "on"));
}

#[test]
fn a_schema_one_version_ahead_is_worked_on_and_two_are_refused() {
    let bench = Bench::postgres();
    let ahead = |version: i64| {
        let sql = format!(
            "INSERT INTO tollgate_schema (version, description, success, checksum, execution_time)
             VALUES ({version}, 'newer', true, 'x', 0)"
        );
        server().sql(bench.database(), &sql);
    };
    ahead(4);
    drop(open(place(bench.database())).unwrap());
    assert!(Reader::open(&bench.settings.place).is_ok());
    ahead(5);
    let refused =
        |error: Option<LedgerError>| matches!(error, Some(LedgerError::SchemaAhead { found: 5, .. }));
    assert!(refused(open(place(bench.database())).err()));
    assert!(refused(Reader::open(&bench.settings.place).err()));
}

#[test]
fn another_programs_database_is_left_alone() {
    let name = server().database();
    server().sql(&name, "CREATE TABLE theirs (x int)");
    assert!(matches!(open(place(&name)).err(), Some(LedgerError::NoStore(_))));
    let read = Reader::open(&StorePlace::Postgres(place(&name)));
    assert!(matches!(read.err(), Some(LedgerError::NoStore(_))));
    assert_eq!(server().sql(&name, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), ["1"]);
}

#[test]
fn an_empty_database_is_not_made_a_store_by_reading_it() {
    let name = server().database();
    let read = Reader::open(&StorePlace::Postgres(place(&name)));
    assert!(matches!(read.err(), Some(LedgerError::NoStore(_))));
}

#[test]
fn s_01_a_wrong_password_is_told_without_it() {
    let wrong = PostgresPlace { password: Some("sentinel".into()), ..place(&server().database()) };
    let error = open(wrong).err().unwrap();
    let told = format!("{error:?} {}", crate::causes::in_full(&error));
    assert!(told.contains("password authentication failed") && !told.contains("sentinel"), "{told}");
}

#[tokio::test]
async fn commands_read_while_servers_run() {
    let bench = Bench::postgres();
    let auth = bench.ledger.authorise(bench.planned("token", None)).await.unwrap();
    let (id, place) = (auth.grant().facts().decision(), bench.settings.place.clone());
    let read = move || {
        let reader = Reader::open(&place).unwrap();
        assert!(reader.decision(id).unwrap().is_some());
        assert!(reader.stored_keys().unwrap().is_empty());
        assert!(reader.verify(None).unwrap().is_sound());
    };
    tokio::task::spawn_blocking(read).await.unwrap();
}

/// A certificate of its own for `name`, in a folder where the tests' server can read it: certificate and key.
fn certificate(folder: &Path, name: &str) -> [PathBuf; 2] {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    Postgres::give(&key);
    [certificate, key]
}

#[test]
fn the_servers_certificate_is_verified_by_authority_and_name() {
    let own = Postgres::start();
    let place = PostgresPlace::from_url(&own.url(&own.database())).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let [ours, key] = certificate(folder.path(), "127.0.0.1");
    let with = |ca: &Path| open(PostgresPlace { ca: Some(ca.to_owned()), ..place.clone() });
    let told = |opened: Result<Ledger, LedgerError>| crate::causes::in_full(&opened.err().unwrap());
    assert!(told(with(&ours)).contains("does not support TLS"), "a server without TLS");

    let offer = |certificate: &Path, key: &Path| {
        own.sql("postgres", &format!("ALTER SYSTEM SET ssl_cert_file = '{}'", certificate.display()));
        own.sql("postgres", &format!("ALTER SYSTEM SET ssl_key_file = '{}'", key.display()));
        own.sql("postgres", "ALTER SYSTEM SET ssl = on");
        own.stop_at_once();
        own.start_again();
    };
    offer(&ours, &key);
    drop(with(&ours).unwrap());
    let other = tempfile::tempdir().unwrap();
    let [theirs, their_key] = certificate(other.path(), "db.example");
    assert!(told(with(&theirs)).contains("certificate"), "another authority");
    offer(&theirs, &their_key);
    assert!(told(with(&theirs)).contains("certificate"), "another name");
}
