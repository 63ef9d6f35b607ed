//! Refusals: recorded, counted or spooled, never in the way of a grant and never silently lost.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::intent::{Count, Decide, Operate};
use super::issue::{proof_replayed, used_proof};
use super::record::DecisionRow;
use super::states::{Permitted, Refused};
use super::{Ledger, Unavailable};
use crate::domain::{DecisionId, Refusal};
use crate::identity::Caller;
use crate::policy::{Grant, Permit};

impl Ledger {
    /// Records that a dry run was allowed.
    ///
    /// # Errors
    /// `store_unavailable`.
    pub async fn note_dry_run(&self, grant: &Grant) -> Result<(), Refusal> {
        let row = Arc::new(DecisionRow::of_grant(grant, None));
        self.store.run(Decide { row }).await.map_err(|why| why.refusal())
    }

    /// Records that an operation is permitted, and that the proof which came with it is used; nothing is shown or done before.
    ///
    /// # Errors
    /// With the permit: `proof_replayed`, `store_unavailable`.
    pub async fn note_permit(&self, permit: Permit) -> Result<Permitted, (Permit, Refusal)> {
        self.operate(permit, false).await
    }

    /// Takes the permit of a reading's next page: the reading is on record, and the page's proof serves once like any other.
    pub(super) async fn go_on(&self, permit: Permit) -> Result<Permitted, (Permit, Refusal)> {
        if permit.caller().proof().is_none() {
            return Ok(Permitted { permit });
        }
        self.operate(permit, true).await
    }

    async fn operate(&self, permit: Permit, goes_on: bool) -> Result<Permitted, (Permit, Refusal)> {
        let row = Arc::new(DecisionRow::of_permit(&permit));
        let proof = permit.caller().proof().map(used_proof);
        match self.store.run(Operate { row, goes_on, proof }).await {
            Ok(true) => Ok(Permitted { permit }),
            Ok(false) => Err((permit, proof_replayed())),
            Err(why) => Err((permit, why.refusal())),
        }
    }

    /// Records a refusal under its decision id. A record that cannot be written is spooled and logged, not lost.
    pub async fn refuse(&self, who: Refused<'_>, decision: DecisionId, refusal: &Refusal) {
        let now = self.clock.now();
        match who {
            Refused::Unidentified { source_ip } => {
                lock(&self.counts).count_unidentified(source_ip, refusal.code, now);
            }
            Refused::Identified { caller, asked, configuration } => {
                if self.admits(caller, refusal) {
                    let at = now.as_millisecond();
                    let row = DecisionRow::of_unjudged(caller, asked, decision, at, refusal, configuration);
                    self.record_refusal(row).await;
                }
            }
            Refused::Judged(judged) => {
                if self.admits(judged.facts().caller(), refusal) {
                    let row = DecisionRow::of_refusal(judged, refusal);
                    self.record_refusal(row).await;
                }
            }
            Refused::Operation(judged) => {
                if self.admits(judged.facts().caller(), refusal) {
                    let row = DecisionRow::of_refused_operation(judged, refusal);
                    self.record_refusal(row).await;
                }
            }
        }
    }

    /// True if this refusal gets a record of its own; otherwise it has been counted.
    fn admits(&self, caller: &Caller, refusal: &Refusal) -> bool {
        let (principal, now) = (caller.principal().as_str(), self.clock.now());
        let mut counts = lock(&self.counts);
        let admits = counts.admits(principal, now);
        if !admits {
            counts.count_caller(caller.tenant().as_str(), principal, refusal.code, now);
        }
        admits
    }

    async fn record_refusal(&self, row: DecisionRow) {
        let row = Arc::new(row);
        if let Err(why) = self.store.run(Decide { row: Arc::clone(&row) }).await {
            lock(&self.spool).keep(row, &why.to_string());
        }
    }

    /// Writes what waits in memory: spooled refusals, then counts of past minutes, or of this one too.
    pub(super) async fn flush(&self, all: bool) {
        self.flush_spool().await;
        let fresh = lock(&self.counts).take(self.clock.now(), all);
        if !fresh.is_empty() {
            lock(&self.spool).keep_counts(Arc::new(fresh));
        }
        loop {
            let Some(rows) = lock(&self.spool).pop_counts() else { return };
            if self.store.run(Count { rows: Arc::clone(&rows) }).await.is_err() {
                return lock(&self.spool).keep_counts(rows);
            }
        }
    }

    async fn flush_spool(&self) {
        loop {
            let Some(row) = lock(&self.spool).pop() else { return };
            match self.store.run(Decide { row: Arc::clone(&row) }).await {
                Ok(()) => tracing::info!(decision = %row.id, "a spooled refusal is recorded"),
                // It will never be taken, and must not hold up the others; the log has it.
                Err(Unavailable::Rejected(why)) => {
                    tracing::error!(decision = %row.id, why, "a spooled refusal cannot be recorded");
                }
                Err(_) => return lock(&self.spool).unpop(row),
            }
        }
    }

    /// How many refusals wait for the store: for metrics.
    pub fn spooled(&self) -> usize {
        lock(&self.spool).len()
    }
}

/// Nothing that holds these locks can panic half way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
