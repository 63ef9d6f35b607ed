//! Heartbeats, the intervals in which a server was ready to hear them, and who was silent too long.

use super::Apply;
use super::batch::Batch;
use super::held::Heartbeat;
use super::leases::ask_end;
use super::needs::Needs;
use crate::domain::LeaseId;
use crate::ledger::heartbeats::{GRACE_MILLIS, Interval, heard};
use crate::ledger::intent::Hear;

/// Shortest time to the next look at a lease, milliseconds.
const SOONEST_MILLIS: i64 = 1_000;

/// What is said of an end that nobody asked for.
const MISSED: &str = "heartbeat_missed";

impl Apply for Hear {
    fn needs(&self, needs: &mut Needs) {
        for (lease, _) in &self.beats {
            needs.heartbeat(*lease);
        }
        if let Some(ready) = self.ready {
            needs.silent(ready.until);
        }
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<Vec<LeaseId>> {
        for (lease, at) in &self.beats {
            if let Some(heartbeat) = batch.held.heartbeats.change(lease.as_bytes()) {
                heartbeat.beat_at = heartbeat.beat_at.max(*at);
                heartbeat.due_at = heartbeat.beat_at + heartbeat.every + GRACE_MILLIS;
            }
        }
        match self.ready {
            None => Ok(Vec::new()),
            Some(ready) => {
                note_ready(batch, ready);
                end_silent(batch, ready.until)
            }
        }
    }
}

/// Starts to listen for a lease that ends after `every` milliseconds of silence.
pub(super) fn listen(batch: &mut Batch, lease: LeaseId, tenant: &str, every: i64, from: i64) {
    let (tenant, due_at) = (tenant.to_owned(), from + every + GRACE_MILLIS);
    batch.held.heartbeats.put(*lease.as_bytes(), Heartbeat { tenant, every, beat_at: from, due_at });
}

fn note_ready(batch: &mut Batch, ready: Interval) {
    batch.added.ready.push(ready);
    batch.held.ready.push(ready);
    batch.held.ready.sort_by_key(|interval| interval.since);
}

/// Marks what was silent too long as to be ended, and settles when to look at the others again.
fn end_silent(batch: &mut Batch, now: i64) -> sqlx::Result<Vec<LeaseId>> {
    let mut ended = Vec::new();
    for lease in std::mem::take(&mut batch.held.silent) {
        let Some(heartbeat) = batch.held.heartbeats.get(&lease) else { continue };
        // It may have been heard of since it was looked for.
        if heartbeat.due_at > now {
            continue;
        }
        let left = heartbeat.every + GRACE_MILLIS - heard(&batch.held.ready, heartbeat.beat_at, now);
        if left > 0 {
            if let Some(heartbeat) = batch.held.heartbeats.change(&lease) {
                heartbeat.due_at = now + left.max(SOONEST_MILLIS);
            }
            continue;
        }
        batch.held.heartbeats.remove(&lease);
        // One that died by itself meanwhile is only forgotten.
        let lease = LeaseId::from_bytes(lease);
        if ask_end(batch, lease, Some(MISSED))? {
            ended.push(lease);
        }
    }
    Ok(ended)
}
