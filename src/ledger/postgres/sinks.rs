//! Sinks of events: which server runs one, and how far it has come.
//!
//! A writer whose session ended may come back and go on with its chain. Once a sink has put the chain behind it, nothing
//! of that chain would be sent any more, and a writer that comes back begins another one. The lock
//! [`SINKS`](lock::SINKS) keeps the two apart: whoever looks second sees what the first one did.

use std::collections::BTreeMap;

use sqlx::{Connection, PgConnection};

use super::Apply;
use super::batch::Batch;
use super::needs::Needs;
use super::queries::live_writers;
use super::{lock, stream};
use crate::ledger::intent::{HoldSink, KeepCursor};
use crate::ledger::sinks::Cursor;

/// The sinks that a batch is about: of each that this server runs, the first writer that may still have something to send.
pub(super) type Running = BTreeMap<String, Option<i64>>;

impl Apply for HoldSink {
    fn needs(&self, needs: &mut Needs) {
        needs.sink(&self.sink, &Cursor::default());
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        Ok(batch.held.sinks.get(&self.sink).copied().flatten().is_some())
    }
}

impl Apply for KeepCursor {
    fn needs(&self, needs: &mut Needs) {
        needs.sink(&self.sink, &self.cursor);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Option<i64>> {
        let Some(first) = batch.held.sinks.get(&self.sink).copied().flatten() else { return Ok(None) };
        let mut cursor = self.cursor.clone();
        cursor.settle(first);
        batch.added.cursors.push((self.sink.clone(), cursor));
        Ok(Some(first))
    }
}

/// Takes the right to run each of `sinks` or confirms it, and looks which writers are over.
pub(super) async fn load(
    connection: &mut PgConnection,
    sinks: &BTreeMap<String, Cursor>,
) -> sqlx::Result<Running> {
    let mut running = Running::new();
    if sinks.is_empty() {
        return Ok(running);
    }
    lock::until_commit(connection, lock::SINKS).await?;
    for (sink, cursor) in sinks {
        let first = if lock::sink(connection, sink).await? {
            // Whoever lives is looked up first: what the others wrote is then complete, and seen.
            let live = live_writers(connection).await?;
            let heads = stream::heads(connection, cursor).await?;
            Some(cursor.first_open(heads, |writer| live.contains(&writer)))
        } else {
            None
        };
        running.insert(sink.clone(), first);
    }
    Ok(running)
}

/// Writes how far sinks have come.
pub(super) async fn flush(connection: &mut PgConnection, cursors: &[(String, Cursor)]) -> sqlx::Result<()> {
    for (sink, cursor) in cursors {
        let (writers, seqs): (Vec<i64>, Vec<i64>) =
            cursor.places().into_iter().map(|place| (place.writer, place.seq)).unzip();
        sqlx::query(
            "INSERT INTO sink_cursors (sink, writer, tenant, seq)
             SELECT $1, t.writer, '', t.seq FROM unnest($2::bigint[], $3::bigint[]) AS t (writer, seq)
             ON CONFLICT (sink, writer) DO UPDATE SET seq = greatest(sink_cursors.seq, excluded.seq)",
        )
        .bind(sink)
        .bind(writers)
        .bind(seqs)
        .execute(&mut *connection)
        .await?;
        sqlx::query("DELETE FROM sink_cursors WHERE sink = $1 AND writer > 0 AND writer < $2")
            .bind(sink)
            .bind(cursor.first_writer())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// True if a sink has put the chain of `writer` behind it. If not, none does as long as the writer's lock is held, which it
/// is already.
pub(super) async fn is_over(connection: &mut PgConnection, writer: i64) -> sqlx::Result<bool> {
    let mut transaction = connection.begin().await?;
    lock::until_commit(&mut transaction, lock::SINKS).await?;
    let over = sqlx::query_scalar("SELECT EXISTS (SELECT FROM sink_cursors WHERE writer = -1 AND seq > $1)");
    let over = over.bind(writer).fetch_one(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(over)
}
