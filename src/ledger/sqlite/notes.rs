//! Records of the server itself: starts and configuration changes.

use rusqlite::{OptionalExtension, Transaction, params};

use super::Apply;
use super::batch::Batch;
use crate::clock::random_bytes;
use crate::ledger::chain::{Head, genesis};
use crate::ledger::error::LedgerError;
use crate::ledger::event::About;
use crate::ledger::intent::Revise;
use crate::ledger::kind::{HeadText, Kind, RevisionChange, Started};
use crate::secret::Fingerprint;

/// Adds this start to the writers; returns the head of its empty chain and the store's id.
pub(super) fn register_writer(
    transaction: &Transaction<'_>,
    now: i64,
) -> Result<(Head, [u8; 16]), LedgerError> {
    let stored = transaction.query_row("SELECT id FROM store", [], |row| row.get(0)).optional()?;
    let store: [u8; 16] = if let Some(id) = stored {
        id
    } else {
        let id: [u8; 16] = random_bytes()?;
        transaction
            .execute("INSERT INTO store (only, tenant, id, epoch) VALUES (1, '', ?1, 0)", params![id])?;
        id
    };
    let instance: [u8; 16] = random_bytes()?;
    transaction.execute(
        "INSERT INTO writers (tenant, instance, started_at) VALUES ('', ?1, ?2)",
        params![instance, now],
    )?;
    let writer = transaction.last_insert_rowid();
    Ok((Head { writer, seq: 0, hash: genesis(&store, &instance, now) }, store))
}

/// Chains the start. It vouches for the last record of the writer before, which vouched for the one before that: so
/// cutting the tail of an ended chain is found even without a checkpoint.
pub(super) fn started(batch: &mut Batch<'_>) -> rusqlite::Result<()> {
    let writer = batch.head().writer;
    let follows = batch
        .sql(
            "SELECT writer, seq, hash FROM audit
             WHERE writer = (SELECT max(id) FROM writers WHERE id < ?1) ORDER BY seq DESC LIMIT 1",
        )?
        .query_map([writer], |row| {
            let hash = Fingerprint::from_bytes(row.get(2)?).to_string();
            Ok(HeadText { writer: row.get(0)?, seq: row.get(1)?, hash })
        })?
        .collect::<Result<_, _>>()?;
    let body = Started { tollgate: env!("CARGO_PKG_VERSION").to_owned(), follows };
    batch.append_body(Kind::Started, "", &[], &body, |data| About::Server { data })
}

impl Apply for Revise {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        let body =
            RevisionChange { configuration: self.configuration.to_string(), policy: self.policy.to_string() };
        batch.append_body(Kind::Revision, "", &[], &body, |data| About::Server { data })
    }
}
