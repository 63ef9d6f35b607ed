//! Records of the server itself: starts and configuration changes.

use sqlx::{Connection, PgConnection, Row};

use super::Apply;
use super::batch::Batch;
use super::flush::{self, Frames};
use super::held::Held;
use super::needs::Needs;
use super::{lock, queries, sinks};
use crate::clock::random_bytes;
use crate::ledger::chain::{Head, genesis};
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::event::{About, Line};
use crate::ledger::intent::Revise;
use crate::ledger::kind::{Kind, RevisionChange, Started};
use crate::secret::Fingerprint;

/// A start that is registered.
pub(super) struct Registered {
    pub(super) head: Head,
    pub(super) store: [u8; 16],
    pub(super) lines: Vec<Line>,
}

/// Where a run stands when it goes on over a new session.
#[derive(Clone, Copy)]
pub(super) struct Start {
    /// The chain's newest record that is known to be durable.
    pub(super) head: Head,
    /// Unix milliseconds.
    pub(super) now: i64,
    pub(super) with_lines: bool,
}

/// Adds this start to the writers, takes its lock, and chains it. It vouches for the heads of all chains that no earlier
/// start has vouched for: so cutting the tail of an ended chain is found even without a checkpoint.
pub(super) async fn register(
    connection: &mut PgConnection,
    now: i64,
    with_lines: bool,
) -> Result<Registered, LedgerError> {
    let mut transaction = connection.begin_with(lock::BEGIN).await?;
    lock::until_commit(&mut transaction, lock::START).await?;
    let store = store_id(&mut transaction).await?;
    let instance: [u8; 16] = random_bytes()?;
    let writer: i64 = sqlx::query_scalar(
        "INSERT INTO writers (id, tenant, instance, started_at)
         SELECT coalesce(max(id), 0) + 1, '', $1, $2 FROM writers RETURNING id",
    )
    .bind(instance)
    .bind(now)
    .fetch_one(&mut *transaction)
    .await?;
    // Held before anybody can see the writer: whoever does not find the lock takes the writer for dead.
    lock::writer(&mut transaction, writer).await?;
    let follows = queries::open_heads(&mut transaction, writer, 0).await?.open;
    let head = Head { writer, seq: 0, hash: genesis(&store, &instance, now) };
    let mut batch = Batch::new(Held::default(), head, now, with_lines);
    let body = Started { tollgate: env!("CARGO_PKG_VERSION").to_owned(), follows };
    batch.append_body(Kind::Started, "", &[], &body, |data| About::Server { data })?;
    flush::flush(&mut transaction, &batch, &Frames::new()).await?;
    transaction.commit().await?;
    Ok(Registered { head: batch.head(), store, lines: batch.into_lines() })
}

/// The store's id, made by the first start of all.
async fn store_id(connection: &mut PgConnection) -> Result<[u8; 16], LedgerError> {
    let stored = sqlx::query_scalar("SELECT id FROM store").fetch_optional(&mut *connection).await?;
    if let Some(id) = stored {
        return Ok(id);
    }
    let id: [u8; 16] = random_bytes()?;
    sqlx::query("INSERT INTO store (\"only\", tenant, id, epoch) VALUES (1, '', $1, 0)")
        .bind(id)
        .execute(connection)
        .await?;
    Ok(id)
}

/// Goes on with a chain over a new session: takes the writer's lock, and finds the newest record. It is `head` or, if the
/// connection broke while a commit was under way, a later one. A chain that a sink of events has behind it is over, and
/// another one begins; so is one that a later start vouches for: whoever signs checkpoints holds it for ended.
pub(super) async fn resume(
    connection: &mut PgConnection,
    store: &[u8; 16],
    start: Start,
) -> Result<Registered, LedgerError> {
    let Start { head, now, with_lines } = start;
    lock::writer(connection, head.writer).await?;
    let same: Option<[u8; 16]> =
        sqlx::query_scalar("SELECT id FROM store").fetch_optional(&mut *connection).await?;
    let stored = sqlx::query("SELECT seq, hash FROM audit WHERE writer = $1 AND seq >= $2 ORDER BY seq")
        .bind(head.writer)
        .bind(head.seq)
        .fetch_all(&mut *connection)
        .await?;
    let heads: Vec<Head> = stored
        .into_iter()
        .map(|row| {
            let hash = Fingerprint::from_bytes(row.try_get(1)?);
            Ok(Head { writer: head.writer, seq: row.try_get(0)?, hash })
        })
        .collect::<sqlx::Result<_>>()?;
    let last = match (heads.first(), heads.last()) {
        (Some(first), Some(last)) if *first == head && same.as_ref() == Some(store) => *last,
        (_, _) => return Err(Unavailable::RolledBack.into()),
    };
    if !sinks::is_over(connection, head.writer).await? && !queries::is_vouched(connection, last).await? {
        return Ok(Registered { head: last, store: *store, lines: Vec::new() });
    }
    lock::leave(connection, head.writer).await?;
    let registered = register(connection, now, with_lines).await?;
    let (former, writer) = (head.writer, registered.head.writer);
    tracing::info!(former, writer, "the former chain is over for others: another one begins");
    Ok(registered)
}

impl Apply for Revise {
    fn needs(&self, _needs: &mut Needs) {}

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<()> {
        let body =
            RevisionChange { configuration: self.configuration.to_string(), policy: self.policy.to_string() };
        batch.append_body(Kind::Revision, "", &[], &body, |data| About::Server { data })
    }
}
