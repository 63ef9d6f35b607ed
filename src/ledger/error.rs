//! What can go wrong with the ledger itself.

use std::path::PathBuf;

use crate::domain::{Code, Refusal};

/// Why a ledger cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// Another server holds this store; SQLite takes one.
    #[error("the store {} is in use by another server; stop it, or use another file", .0.display())]
    InUse(PathBuf),
    /// The file or its lock cannot be created or opened.
    #[error("cannot open the store {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// SQLite failed.
    #[error("the store failed")]
    Sqlite(#[from] rusqlite::Error),
    /// The sinks of events cannot be started.
    #[error("cannot write events")]
    Events(#[source] std::io::Error),
    /// There is no room, or no folder, for a temporary copy.
    #[error("cannot make a temporary copy of the store")]
    Snapshot(#[source] std::io::Error),
    /// PostgreSQL failed.
    #[error("the database failed")]
    Postgres(#[from] sqlx::Error),
    /// The database's schema cannot be brought up to date.
    #[error("cannot bring the database's schema up to date")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// The schema is more than one version ahead of this program.
    #[error("the database's schema is of version {found}, and this Tollgate knows {known}: run a newer one")]
    SchemaAhead {
        /// The schema's version.
        found: i64,
        /// The newest that this program knows; one more only adds to it.
        known: i64,
    },
    /// There is no ledger in the database yet, or it is another program's.
    #[error("{0} holds no Tollgate store")]
    NoStore(String),
    /// A variable would change how the database is reached.
    #[error("{0} is set in the environment and would change how the database is reached: unset it")]
    Environment(&'static str),
    /// The copy's target holds something.
    #[error("{0} is not empty: a store is copied into an empty place only")]
    NotEmpty(String),
    /// The schema cannot be brought up to date; a newer Tollgate may have written it.
    #[error("cannot bring the store's schema up to date")]
    Migration(#[from] rusqlite_migration::Error),
    /// The file is some other program's database.
    #[error("{} is not a Tollgate store", .0.display())]
    Foreign(PathBuf),
    /// A durability setting did not take: SQLite reports another value than was set.
    #[error("the store does not accept {setting} = {wanted}: it reports {reported}")]
    Setting {
        /// The pragma.
        setting: &'static str,
        /// What was asked for.
        wanted: &'static str,
        /// What SQLite reports.
        reported: String,
    },
    /// A stored value cannot be read.
    #[error("the store holds a damaged {what}")]
    Damaged {
        /// What it is.
        what: &'static str,
    },
    /// A signing key's row differs from what was recorded when it was written.
    #[error(
        "the signing key {0} is not as the audit chain recorded it: somebody changed the store; nothing is signed with \
         it. `tollgate audit verify` says what else was changed"
    )]
    KeyChanged(String),
    /// A checkpoint that is not one, or that no known key signed.
    #[error("not a checkpoint of this store: {0}")]
    Checkpoint(String),
    /// A seal that no key of this store signed, or that was changed.
    #[error(
        "a seal of the audit chain is not genuine, so nothing is pruned; `tollgate audit verify` says more: {0}"
    )]
    Seal(String),
    /// A chain that is not whole is not pruned.
    #[error(
        "the chain of writer {writer} is not whole, so nothing of it is pruned; `tollgate audit verify` says more"
    )]
    Cut {
        /// Whose.
        writer: i64,
    },
    /// The ledger cannot record now.
    #[error("the store cannot record")]
    Unavailable(#[from] Unavailable),
    /// The operating system gave no random bytes.
    #[error(transparent)]
    NoEntropy(#[from] crate::clock::NoEntropy),
    /// A key could not be sealed, opened or used.
    #[error("cryptography failed")]
    Signing(#[from] crate::signing::SigningError),
}

/// Why the store cannot record at this moment. Nothing was recorded, unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// Disk or configured size exhausted.
    #[error("the store is full")]
    Full,
    /// What is left of the storage is reserved for grants.
    #[error("the store is nearly full, and what is left is reserved for grants")]
    Reserved,
    /// Not writable.
    #[error("the store is read-only")]
    ReadOnly,
    /// Another process holds its lock.
    #[error("the store is locked by another process")]
    Locked,
    /// The disk failed.
    #[error("the store's disk failed: {0}")]
    Disk(String),
    /// SQLite refused this one record.
    #[error("the store refused the record: {0}")]
    Rejected(String),
    /// The database cannot be reached.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// The connection broke on the way: what was asked may be recorded or not, and must be taken as neither.
    #[error("the connection to the database broke: {0}")]
    Broken(String),
    /// The database does not hold what it had committed: it was restored, or a stale replica took over.
    #[error("the database lost records that it had committed; find out why, then restart Tollgate")]
    RolledBack,
    /// The writer has ended.
    #[error("the ledger's writer has stopped")]
    Stopped,
}

impl Unavailable {
    /// The same as a refusal: the caller learns that nothing is issued, the record and the log why.
    pub(super) fn refusal(&self) -> Refusal {
        Refusal::new(Code::StoreUnavailable, "the ledger cannot record, so nothing is issued")
            .with_detail(self.to_string())
            .with_retry_after(5)
    }
}

impl From<&rusqlite::Error> for Unavailable {
    fn from(error: &rusqlite::Error) -> Self {
        use rusqlite::ErrorCode;
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::ReadOnly) => Self::ReadOnly,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked,
            Some(ErrorCode::SystemIoFailure | ErrorCode::CannotOpen) => Self::Disk(error.to_string()),
            // Whatever else SQLite or the binding says: the record is not in the store.
            Some(_) | None => Self::Rejected(error.to_string()),
        }
    }
}
