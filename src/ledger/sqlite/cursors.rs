//! The places of sinks in the stream.

use rusqlite::params;

use super::Apply;
use super::batch::Batch;
use crate::ledger::intent::KeepCursor;

impl Apply for KeepCursor {
    type Output = ();

    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<()> {
        for place in self.cursor.places() {
            batch
                .sql(
                    "INSERT INTO sink_cursors (sink, writer, tenant, seq) VALUES (?1, ?2, '', ?3)
                     ON CONFLICT (sink, writer) DO UPDATE SET seq = max(seq, excluded.seq)",
                )?
                .execute(params![self.sink, place.writer, place.seq])?;
        }
        batch
            .sql("DELETE FROM sink_cursors WHERE sink = ?1 AND writer > 0 AND writer < ?2")?
            .execute(params![self.sink, self.cursor.first_writer()])?;
        Ok(())
    }
}
