//! Opens the SQLite file: one server at a time, settings asserted by reading them back, schema brought up to date.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use crate::ledger::error::LedgerError;

/// `TOLG`: marks the file as ours (SQLite's `application_id`).
const APPLICATION_ID: i64 = 0x544F_4C47;

/// Pages kept in memory, as negative KiB: SQLite's own 2 MiB hold the leaves of the randomly keyed tables for minutes of
/// load only, and every other exchange then reads a page before it writes it.
const CACHE_KIB: i64 = -8 * 1024;

/// Pages of write-ahead log (of 4 KiB) that are moved into the file at once: a page written by many batches is moved once.
const CHECKPOINT_PAGES: i64 = 4000;

/// Statements kept prepared per connection; every one of ours fits.
const STATEMENTS: usize = 96;

const MIGRATIONS: Migrations<'_> = Migrations::from_slice(STEPS);
const STEPS: &[M<'_>] = &[
    M::up(include_str!("../../../migrations/sqlite/0001_ledger.sql")),
    M::up(include_str!("../../../migrations/sqlite/0002_lease_life.sql")),
    M::up(include_str!("../../../migrations/sqlite/0003_blocks.sql")),
    M::up(include_str!("../../../migrations/sqlite/0004_lists.sql")),
    M::up(include_str!("../../../migrations/sqlite/0005_keys.sql")),
    M::up(include_str!("../../../migrations/sqlite/0006_sink_cursors.sql")),
    M::up(include_str!("../../../migrations/sqlite/0007_retention.sql")),
    M::up(include_str!("../../../migrations/sqlite/0008_possession.sql")),
];

/// The writer's connection with the lock that keeps other servers away.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) lock: StoreLock,
}

/// The lock of a store, free as soon as this is dropped.
///
/// Closing the file would not do: a program that another thread starts meanwhile holds a copy of it until it has become that
/// program, and flock(2) frees a lock with the last copy, or when it is told to.
pub(in crate::ledger) struct StoreLock(File);

impl Drop for StoreLock {
    fn drop(&mut self) {
        if let Err(error) = self.0.unlock() {
            tracing::warn!(%error, "the store's lock goes with its file");
        }
    }
}

/// Opens or creates the store for its one server.
pub(super) fn writable(path: &Path, busy_timeout: Duration) -> Result<Opened, LedgerError> {
    let lock = lock(path)?;
    private(path).map_err(|source| LedgerError::Open { path: path.to_owned(), source })?;
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    claim(&connection, path)?;
    assert_setting(&connection, "journal_mode", "wal", "wal")?;
    assert_setting(&connection, "synchronous", "full", "2")?;
    assert_setting(&connection, "foreign_keys", "on", "1")?;
    connection.pragma_update(None, "cache_size", CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    MIGRATIONS.to_latest(&mut connection)?;
    Ok(Opened { connection, lock })
}

/// Makes an empty store that is to be filled row by row and only ever read: nothing is checked, nothing is synced.
pub(in crate::ledger) fn blank(path: &Path) -> Result<Connection, LedgerError> {
    let mut connection = Connection::open(path)?;
    MIGRATIONS.to_latest(&mut connection)?;
    connection.execute_batch(
        "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF;
         PRAGMA ignore_check_constraints = ON",
    )?;
    Ok(connection)
}

/// Takes an existing store that no server uses, to be read while the lock is held.
pub(in crate::ledger) fn unused(path: &Path) -> Result<(Connection, StoreLock), LedgerError> {
    let connection = read_only(path)?;
    Ok((connection, lock(path)?))
}

/// Opens an existing store for reading only; a server may be running on it.
pub(super) fn read_only(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.busy_timeout(Duration::from_secs(5))?;
    if application_id(&connection)? == APPLICATION_ID {
        Ok(connection)
    } else {
        Err(LedgerError::Foreign(path.to_owned()))
    }
}

/// Path of a file that belongs to the store at `path`.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// SQLite's own locks let two servers write in turn, each believing that its chain and caches are the only ones.
fn lock(path: &Path) -> Result<StoreLock, LedgerError> {
    let open = |source| LedgerError::Open { path: path.to_owned(), source };
    make_folder(path).map_err(open)?;
    let lock = beside(path, ".lock");
    let file = private(&lock).map_err(open)?;
    match file.try_lock() {
        Ok(()) => Ok(StoreLock(file)),
        Err(TryLockError::WouldBlock) => Err(LedgerError::InUse(path.to_owned())),
        Err(TryLockError::Error(source)) => Err(open(source)),
    }
}

/// Makes the folder of `path`, for its owner alone, if it is not there.
fn make_folder(path: &Path) -> io::Result<()> {
    let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists())
    else {
        return Ok(());
    };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Opens or creates a file that only its owner may read: the store holds identities, and sealed keys. SQLite gives its
/// WAL the same permissions.
fn private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Marks a new file as ours, and refuses one that is another program's.
fn claim(connection: &Connection, path: &Path) -> Result<(), LedgerError> {
    let objects: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match application_id(connection)? {
        APPLICATION_ID => Ok(()),
        0 if objects == 0 => Ok(connection.pragma_update(None, "application_id", APPLICATION_ID)?),
        _ => Err(LedgerError::Foreign(path.to_owned())),
    }
}

fn application_id(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "application_id", |row| row.get(0))
}

fn assert_setting(
    connection: &Connection,
    setting: &'static str,
    wanted: &'static str,
    expected: &str,
) -> Result<(), LedgerError> {
    connection.pragma_update(None, setting, wanted)?;
    let reported = setting_of(connection, setting)?;
    if reported == expected { Ok(()) } else { Err(LedgerError::Setting { setting, wanted, reported }) }
}

/// What SQLite reports for a pragma, as text.
pub(super) fn setting_of(connection: &Connection, setting: &str) -> rusqlite::Result<String> {
    use rusqlite::types::Value;
    connection.pragma_query_value(None, setting, |row| {
        Ok(match row.get(0)? {
            Value::Text(text) => text,
            Value::Integer(number) => number.to_string(),
            other => format!("{other:?}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_is_free_once_it_is_dropped_whoever_has_a_copy_of_its_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger.db");
        let held = lock(&path).unwrap();
        assert!(matches!(lock(&path), Err(LedgerError::InUse(_))));
        // What a child has between fork and exec.
        let copy = held.0.try_clone().unwrap();
        drop(held);
        let again = lock(&path);
        assert!(again.is_ok(), "{:?}", again.err());
        drop(copy);
        assert!(matches!(lock(&path), Err(LedgerError::InUse(_))), "closing the copy frees nothing");
    }
}
