//! The durable record: authorisations, leases and their audit chain. One transaction each, group-committed.
//!
//! Every public operation is one intent: all of it is recorded, or none and the caller is told `store_unavailable`.
//! What must never happen here: an answer before its commit; a token, credential or lease secret in the store; a
//! refusal that takes the last of the storage from a grant.
//!
//! The states of a grant are in `states`, what is hashed in `chain`, the decision record in `record` (written) and
//! `explained` (read). SQLite is in `sqlite`, PostgreSQL in `postgres`: the same intents, and one `conformance`.

mod blocks;
mod chain;
mod checkpoint;
mod counts;
mod endings;
mod error;
mod event;
mod explained;
mod frame;
mod gather;
mod heartbeats;
mod in_flight;
mod intent;
mod issue;
mod key_text;
mod keys;
mod kind;
mod leases;
mod look;
mod matching;
mod pending;
mod postgres;
mod reader;
mod reading;
mod record;
mod refuse;
mod renewals;
mod retention;
mod rewrap;
mod rows;
mod seal;
mod search;
mod settings;
mod sinks;
mod spool;
mod sqlite;
mod states;
mod store;
mod toll;
mod touched;
mod verify;

#[cfg(test)]
mod conformance;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use blocks::{Block, BlocksSet, NewBlock, Once};
pub use checkpoint::Checkpoint;
pub use endings::{Claim, Counted, Record, Waiting};
pub use error::{LedgerError, Unavailable};
pub use event::{About, Event};
pub use explained::DecisionRecord;
pub use heartbeats::HEAR_EVERY;
pub use in_flight::InFlight;
pub use kind::Kind;
pub use leases::{EndHow, Ending, LeaseStatus, ToEnd, Unleased};
pub use postgres::{Copied, ServerDurability};
pub use reader::Reader;
pub use reading::{AuditFrom, AuditListed, Listed, Reading};
pub use renewals::{Renewable, RunnerId};
pub use retention::{ChainForecast, Forecast, Held};
pub use rewrap::{Handles, Rewrapped};
pub use search::{
    AuditEntry, AuditPage, AuditPlace, DecisionEntry, LeaseEntry, LeaseState, Look, MAX_LOOK, MAX_PAGE, Page,
    Search, UnknownState, UnleasedEntry,
};
pub use settings::LedgerSettings;
pub use sinks::{RunningSinks, SinkSetupError, Sinks, Unusable};
pub use sqlite::FileDurability;
pub use states::{
    AskedFor, Authorised, AuthorisedRenewal, Leased, Permitted, Planned, Refused, Renewed, Superseded,
};
pub use store::Durability;
pub use toll::{Affected, Fate, Toll};
pub use verify::{Finding, FindingKind, Report};

use std::path::Path;
use std::sync::atomic::AtomicI64;
use std::sync::{Arc, Mutex};

use self::blocks::Blocks;
use self::counts::Counts;
use self::heartbeats::Hearing;
use self::spool::Spool;
use self::store::Store;
use crate::clock::Clock;
use crate::config::PostgresPlace;
use crate::domain::DecisionId;
use crate::secret::Fingerprint;
use crate::signing::Sealer;

/// Copies the ledger in the file `from` into the empty database `to`, and verifies the copy. Blocks.
///
/// # Errors
/// A server uses the file; the database holds something already; one of them fails. Then nothing was copied.
pub fn copy_store(from: &Path, to: &PostgresPlace) -> Result<Copied, LedgerError> {
    postgres::copy(from, to)
}

/// The ledger of one server.
pub struct Ledger {
    store: Store,
    sealer: Arc<Sealer>,
    clock: Clock,
    counts: Mutex<Counts>,
    spool: Mutex<Spool>,
    hearing: Mutex<Hearing>,
    blocks: Blocks,
    /// Claims that this process has asked for.
    claims: AtomicI64,
    /// Sequence number that the newest checkpoint of this process covers.
    checkpointed: AtomicI64,
}

impl Ledger {
    /// Opens or creates the store, takes its lock, brings its schema up to date, and starts its writer.
    ///
    /// Blocks for a few disk syncs: call it at start, not on a request's path.
    ///
    /// # Errors
    /// [`LedgerError::InUse`] if another server holds the file; a database that cannot be reached; a setting that does not
    /// take; a schema of a newer version.
    pub fn open(settings: &LedgerSettings, sealer: Arc<Sealer>, clock: Clock) -> Result<Self, LedgerError> {
        let store = Store::open(settings, clock.clone())?;
        let now = clock.now();
        let in_force = store.reader().blocks_in_force_now(now.as_millisecond())?;
        Ok(Self {
            store,
            sealer,
            clock,
            blocks: Blocks::new(in_force, now, settings.tell_block_reasons),
            counts: Mutex::new(Counts::new(settings.refusals_per_minute)),
            spool: Mutex::new(Spool::default()),
            hearing: Mutex::default(),
            claims: AtomicI64::new(1),
            checkpointed: AtomicI64::new(0),
        })
    }

    /// Says that an exchange is under way, until the guard is dropped: the writer gathers what will soon be recorded.
    pub fn begin(&self) -> InFlight {
        self.store.in_flight().begin()
    }

    /// What may be said about durability, as read back from the store.
    pub const fn durability(&self) -> &Durability {
        self.store.durability()
    }

    /// True while the writer lives, and reaches its database if it has one: for readiness. A store that is merely full or
    /// locked recovers by itself.
    pub fn is_alive(&self) -> bool {
        self.store.is_alive()
    }

    /// Notes which configuration and policies are in force from now on, as a record of the chain. Each decision names
    /// its own: one that began before a reload rests on the former ones.
    ///
    /// # Errors
    /// [`LedgerError::Unavailable`]: then nothing changes.
    pub async fn set_revision(
        &self,
        configuration: Fingerprint,
        policy: Fingerprint,
    ) -> Result<(), LedgerError> {
        Ok(self.store.run(intent::Revise { configuration, policy }).await?)
    }

    /// The record of a decision, if there is one. Whoever shows it checks its tenant and principal first.
    ///
    /// # Errors
    /// The store cannot be read, or the record is damaged.
    pub async fn decision(&self, id: DecisionId) -> Result<Option<DecisionRecord>, LedgerError> {
        let joined = self.store.reader().stored(id).await?.map(explained::Stored::join).transpose();
        joined.map_err(|_| LedgerError::Damaged { what: "decision record" })
    }

    /// Looks after what time changes: writes spooled refusals and the counts of past minutes, learns of blocks that
    /// others set, and closes authorisations that are dead by themselves. Call it every second or so.
    pub async fn upkeep(&self) {
        self.flush(false).await;
        self.refresh_blocks().await;
        self.mark_rest().await;
        match self.store.run(intent::Upkeep).await {
            Ok(unconfirmed) => {
                for lease in unconfirmed {
                    tracing::error!(%lease, "it was to be ended, and died by itself before any target confirmed it");
                }
            }
            Err(why) => tracing::warn!(%why, "the ledger's upkeep waits for the store"),
        }
    }

    /// Writes what is only in memory, before a shutdown.
    pub async fn close(&self) {
        self.flush(true).await;
        if let Err(why) = self.hear().await {
            tracing::warn!(%why, "the last heartbeats are not recorded; they count as time without a server");
        }
    }
}
