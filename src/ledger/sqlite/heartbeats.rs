//! Heartbeats, the intervals in which a server was ready to hear them, and who was silent too long.

use rusqlite::params;

use super::Apply;
use super::batch::Batch;
use super::leases::ask_end;
use crate::domain::LeaseId;
use crate::ledger::heartbeats::{GRACE_MILLIS, Interval, heard};
use crate::ledger::intent::Hear;

/// Leases looked at per call; the next call finds the others.
const LOOK: i64 = 512;

/// Intervals are kept this long, milliseconds: longer than any lease lives between two looks.
const KEPT_MILLIS: i64 = 24 * 3_600_000;

/// Shortest time to the next look at a lease, milliseconds.
const SOONEST_MILLIS: i64 = 1_000;

/// What is said of an end that nobody asked for.
const MISSED: &str = "heartbeat_missed";

impl Apply for Hear {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<Vec<LeaseId>> {
        for (lease, at) in &self.beats {
            batch
                .sql(
                    "UPDATE heartbeats SET beat_at = max(beat_at, ?2), due_at = max(beat_at, ?2) + every + ?3
                     WHERE lease = ?1",
                )?
                .execute(params![lease.as_bytes(), at, GRACE_MILLIS])?;
        }
        match self.ready {
            None => Ok(Vec::new()),
            Some(ready) => {
                note_ready(batch, ready)?;
                end_silent(batch, ready.until)
            }
        }
    }
}

/// Starts to listen for a lease that ends after `every` milliseconds of silence.
pub(super) fn listen(
    batch: &Batch<'_>,
    lease: LeaseId,
    tenant: &str,
    every: i64,
    from: i64,
) -> rusqlite::Result<()> {
    batch
        .sql("INSERT INTO heartbeats (lease, tenant, every, beat_at, due_at) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![lease.as_bytes(), tenant, every, from, from + every + GRACE_MILLIS])
        .map(drop)
}

fn note_ready(batch: &Batch<'_>, ready: Interval) -> rusqlite::Result<()> {
    let writer = batch.head().writer;
    batch
        .sql("INSERT OR REPLACE INTO ready (writer, tenant, since, until) VALUES (?1, '', ?2, ?3)")?
        .execute([writer, ready.since, ready.until])?;
    batch.sql("DELETE FROM ready WHERE until < ?1")?.execute([ready.until - KEPT_MILLIS]).map(drop)
}

/// Marks what was silent too long as to be ended, and settles when to look at the others again.
fn end_silent(batch: &mut Batch<'_>, now: i64) -> rusqlite::Result<Vec<LeaseId>> {
    let due: Vec<([u8; 16], i64, i64)> = batch
        .sql("SELECT lease, every, beat_at FROM heartbeats WHERE due_at <= ?1 ORDER BY due_at LIMIT ?2")?
        .query_map([now, LOOK], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<Result<_, _>>()?;
    let Some(oldest) = due.iter().map(|(_, _, beat_at)| *beat_at).min() else { return Ok(Vec::new()) };
    let ready = intervals(batch, oldest)?;
    let mut ended = Vec::new();
    for (lease, every, beat_at) in due {
        let lease = LeaseId::from_bytes(lease);
        let left = every + GRACE_MILLIS - heard(&ready, beat_at, now);
        if left > 0 {
            batch
                .sql("UPDATE heartbeats SET due_at = ?2 WHERE lease = ?1")?
                .execute(params![lease.as_bytes(), now + left.max(SOONEST_MILLIS)])?;
            continue;
        }
        batch.sql("DELETE FROM heartbeats WHERE lease = ?1")?.execute([lease.as_bytes()])?;
        // One that died by itself meanwhile is only forgotten.
        if ask_end(batch, lease, Some(MISSED))? {
            ended.push(lease);
        }
    }
    Ok(ended)
}

fn intervals(batch: &Batch<'_>, from: i64) -> rusqlite::Result<Vec<Interval>> {
    batch
        .sql("SELECT since, until FROM ready WHERE until > ?1 ORDER BY since")?
        .query_map([from], |row| Ok(Interval { since: row.get(0)?, until: row.get(1)? }))?
        .collect()
}
