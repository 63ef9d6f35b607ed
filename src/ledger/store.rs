//! The store that the settings chose: one of two, each of which carries out every intent.

use std::fmt;

use serde::Serialize;
use tokio::sync::watch;

use super::chain::Head;
use super::error::{LedgerError, Unavailable};
use super::in_flight::Exchanges;
use super::intent::{HoldSink, Intent};
use super::kind::HeadText;
use super::postgres::{self, ServerDurability};
use super::reader::Reader;
use super::rows::{LeaseRow, UnleasedRow};
use super::settings::LedgerSettings;
use super::sqlite::{self, FileDurability};
use crate::clock::Clock;
use crate::config::StorePlace;

/// How durable a commit is, as read back from the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Durability {
    /// Of a file.
    Sqlite(FileDurability),
    /// Of a database server.
    Postgres(ServerDurability),
}

impl Durability {
    /// True if a commit survives power loss. A database that would lose one is refused when it is opened.
    pub fn is_durable(&self) -> bool {
        match self {
            Self::Sqlite(file) => file.is_durable(),
            Self::Postgres(_) => true,
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(FileDurability { journal_mode, synchronous, file_system }) => {
                write!(f, "journal_mode={journal_mode}, synchronous={synchronous}, {file_system}")
            }
            Self::Postgres(server) => {
                let ServerDurability { fsync, full_page_writes, synchronous_commit, server_version } = server;
                write!(
                    f,
                    "PostgreSQL {server_version}, fsync={fsync}, full_page_writes={full_page_writes}, \
                     synchronous_commit={synchronous_commit}"
                )
            }
        }
    }
}

/// An open store.
pub(super) struct Store {
    kind: StoreKind,
    reader: Reader,
    durability: Durability,
    in_flight: Exchanges,
}

enum StoreKind {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

impl Store {
    /// Opens the store, brings its schema up to date, and starts its writer.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(super) fn open(settings: &LedgerSettings, clock: Clock) -> Result<Self, LedgerError> {
        let in_flight = Exchanges::default();
        match &settings.place {
            StorePlace::Sqlite(path) => {
                let store = sqlite::Store::open(path, settings, clock, in_flight.clone())?;
                let reader = Reader::of_sqlite(store.reader().clone());
                let durability = Durability::Sqlite(store.durability().clone());
                Ok(Self { kind: StoreKind::Sqlite(store), reader, durability, in_flight })
            }
            StorePlace::Postgres(place) => {
                let store = postgres::Store::open(place, settings, clock)?;
                let reader = Reader::of_postgres(store.reader().clone());
                let durability = Durability::Postgres(store.durability().clone());
                Ok(Self { kind: StoreKind::Postgres(store), reader, durability, in_flight })
            }
        }
    }

    /// Has the writer carry out `intent`, and waits until it is durable.
    ///
    /// # Errors
    /// [`Unavailable`]: it is not known to be recorded.
    pub(super) async fn run<I: sqlite::Apply + postgres::Apply>(
        &self,
        intent: I,
    ) -> Result<<I as Intent>::Output, Unavailable> {
        match &self.kind {
            StoreKind::Sqlite(store) => store.run(intent).await,
            StoreKind::Postgres(store) => store.run(intent).await,
        }
    }

    /// Reads the store.
    pub(super) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// What the store says about durability.
    pub(super) const fn durability(&self) -> &Durability {
        &self.durability
    }

    /// The exchanges under way. A database's commits take long enough for batches to form by themselves.
    pub(super) const fn in_flight(&self) -> &Exchanges {
        &self.in_flight
    }

    /// The newest durable record of this writer.
    pub(super) fn head(&self) -> Head {
        match &self.kind {
            StoreKind::Sqlite(store) => store.head(),
            StoreKind::Postgres(store) => store.head(),
        }
    }

    /// Heads of other writers' chains that no start of a server has vouched for yet: with one server there are none.
    pub(super) async fn heads_beside(&self) -> Result<Vec<HeadText>, LedgerError> {
        match &self.kind {
            StoreKind::Sqlite(_) => Ok(Vec::new()),
            StoreKind::Postgres(store) => store.heads_beside().await,
        }
    }

    /// Leases that somebody asked to end and that may still live, longest waiting first.
    pub(super) async fn leases_to_end(&self, now: i64) -> Result<Vec<LeaseRow>, LedgerError> {
        match &self.kind {
            StoreKind::Sqlite(store) => store.leases_to_end(now).await,
            StoreKind::Postgres(store) => store.reader().leases_to_end(now).await,
        }
    }

    /// Authorisations without a lease that may have led to something that lives.
    pub(super) async fn unleased(&self, now: i64) -> Result<Vec<UnleasedRow>, LedgerError> {
        match &self.kind {
            StoreKind::Sqlite(store) => store.unleased(now).await,
            StoreKind::Postgres(store) => store.reader().unleased(now).await,
        }
    }

    /// Hears of each commit of this server that gave the stream of events something new.
    pub(super) fn commits(&self) -> watch::Receiver<()> {
        match &self.kind {
            StoreKind::Sqlite(store) => store.commits(),
            StoreKind::Postgres(store) => store.commits(),
        }
    }

    /// True if other servers may write too.
    pub(super) const fn is_shared(&self) -> bool {
        matches!(&self.kind, StoreKind::Postgres(_))
    }

    /// The number of the writer's session, by which the right to run a sink is held.
    pub(super) fn session(&self) -> u64 {
        match &self.kind {
            StoreKind::Sqlite(_) => 0,
            StoreKind::Postgres(store) => store.session(),
        }
    }

    /// Takes the right to run a sink; false if another server has it.
    pub(super) async fn hold_sink(&self, sink: String) -> Result<bool, Unavailable> {
        match &self.kind {
            StoreKind::Sqlite(_) => Ok(true),
            StoreKind::Postgres(store) => store.run(HoldSink { sink }).await,
        }
    }

    /// The store's own id.
    pub(super) const fn id(&self) -> &[u8; 16] {
        match &self.kind {
            StoreKind::Sqlite(store) => store.id(),
            StoreKind::Postgres(store) => store.id(),
        }
    }

    /// True while the writer lives.
    pub(super) fn is_alive(&self) -> bool {
        match &self.kind {
            StoreKind::Sqlite(store) => store.is_alive(),
            StoreKind::Postgres(store) => store.is_alive(),
        }
    }

    /// Lets a test reach the SQLite writer's own connection.
    #[cfg(test)]
    pub(super) async fn poke(&self, poke: impl FnOnce(&rusqlite::Connection) + Send + 'static) {
        match &self.kind {
            StoreKind::Sqlite(store) => store.poke(poke).await,
            StoreKind::Postgres(_) => panic!("this test is about SQLite's own connection"),
        }
    }
}
