//! Refusals that wait for the store to recover. Bounded; and each was written to the log when it came here.

use std::collections::VecDeque;
use std::sync::Arc;

use super::counts::Counted;
use super::record::DecisionRow;

/// Records that wait; a few megabytes.
const RECORDS: usize = 1024;

/// Flushes of counts that wait: an hour of outage.
const FLUSHES: usize = 60;

/// What the store refused to record.
#[derive(Default)]
pub(super) struct Spool {
    records: VecDeque<Arc<DecisionRow>>,
    counts: VecDeque<Arc<Vec<Counted>>>,
}

impl Spool {
    /// Keeps a record, and logs it: if this process ends before the store recovers, the log line is what remains.
    /// False if there is no room.
    pub(super) fn keep(&mut self, row: Arc<DecisionRow>, why: &str) -> bool {
        let fits = self.records.len() < RECORDS;
        tracing::error!(
            decision = %row.id, tenant = %row.tenant, principal = %row.principal, role = %row.role,
            at = row.at, outcome = row.outcome, body = %row.body, why, spooled = fits,
            "a refusal could not be recorded"
        );
        if fits {
            self.records.push_back(row);
        }
        fits
    }

    /// Keeps a flush of counts; the oldest goes if there is no room.
    pub(super) fn keep_counts(&mut self, rows: Arc<Vec<Counted>>) {
        if self.counts.len() >= FLUSHES
            && let Some(lost) = self.counts.pop_front()
        {
            tracing::error!(counts = ?lost, "counts of refusals could not be recorded");
        }
        self.counts.push_back(rows);
    }

    /// The next record.
    pub(super) fn pop(&mut self) -> Option<Arc<DecisionRow>> {
        self.records.pop_front()
    }

    /// The next flush of counts.
    pub(super) fn pop_counts(&mut self) -> Option<Arc<Vec<Counted>>> {
        self.counts.pop_front()
    }

    /// Puts a record back at the front.
    pub(super) fn unpop(&mut self, row: Arc<DecisionRow>) {
        self.records.push_front(row);
    }

    /// How many records wait.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }
}
