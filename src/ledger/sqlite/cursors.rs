//! The places of sinks in the stream.

use rusqlite::params;

use super::Apply;
use super::batch::Batch;
use crate::ledger::intent::KeepCursor;
use crate::ledger::sinks::Cursor;

impl Apply for KeepCursor {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Option<i64>> {
        let (mut cursor, first) = (self.cursor.clone(), first_open(&self.cursor, batch)?);
        cursor.settle(first);
        for place in cursor.places() {
            batch
                .sql(
                    "INSERT INTO sink_cursors (sink, writer, tenant, seq) VALUES (?1, ?2, '', ?3)
                     ON CONFLICT (sink, writer) DO UPDATE SET seq = max(seq, excluded.seq)",
                )?
                .execute(params![self.sink, place.writer, place.seq])?;
        }
        batch
            .sql("DELETE FROM sink_cursors WHERE sink = ?1 AND writer > 0 AND writer < ?2")?
            .execute(params![self.sink, first])?;
        Ok(Some(first))
    }
}

/// The first writer that may still have something to send. Of all writers only this run's own lives.
fn first_open(cursor: &Cursor, batch: &Batch<'_>) -> rusqlite::Result<i64> {
    let own = batch.head().writer;
    let heads = batch
        .sql(
            "SELECT id, coalesce((SELECT max(seq) FROM audit WHERE writer = id), 0) FROM writers
             WHERE id >= ?1 ORDER BY id",
        )?
        .query_map([cursor.first_writer()], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    Ok(cursor.first_open(heads, |writer| writer == own))
}
