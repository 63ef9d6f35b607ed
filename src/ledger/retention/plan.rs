//! What can go of one chain, and why no more: read, and checked against the chain itself, without changing anything.

use super::BITE;
use super::held::Held;
use super::rows::{Candidate, ChainEnds};
use super::scene::Scene;
use super::segment::{Segment, renewal};
use crate::ledger::chain::{Link, genesis};
use crate::ledger::{LedgerError, Reader};
use crate::secret::Fingerprint;

/// How much longer than it has to a record may stay, so that few records do not get a seal each: a day, milliseconds.
const SLACK: i64 = 24 * 60 * 60 * 1000;

/// The beginning of one chain.
pub(super) struct Plan<'a> {
    /// All that can go.
    pub(super) segment: Segment<'a>,
    /// What of it goes now.
    pub(super) due: Due,
    /// What holds the first record that does not go; empty if reading stopped at the limit.
    pub(super) held: Vec<Held>,
    /// When the first record was made that fills no bite yet, Unix milliseconds.
    rest: Option<i64>,
}

/// A number of records, the last of them, and when that was made, Unix milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Due {
    pub(super) count: usize,
    pub(super) last: i64,
    pub(super) until: i64,
}

/// Plans at most `most` records of `chain`.
///
/// # Errors
/// The store cannot be read, or the chain is not whole.
pub(super) async fn plan<'a>(
    reader: &Reader,
    scene: &'a Scene,
    chain: &ChainEnds,
    most: usize,
) -> Result<Plan<'a>, LedgerError> {
    let ChainEnds { writer, instance, started_at, first, newest, .. } = *chain;
    let genesis = genesis(&scene.chains.store, &instance, started_at);
    let segment = Segment::new(scene.rules(), writer, scene.seals.of(writer), genesis)
        .ok_or(LedgerError::Damaged { what: "seal" })?;
    if first != segment.last + 1 {
        return Err(LedgerError::Cut { writer });
    }
    let mut plan = Plan { segment, due: Due::default(), held: Vec::new(), rest: None };
    while plan.held.is_empty() && plan.segment.count < most {
        let next = plan.segment.last + 1;
        let rows = reader.candidates(writer, next, newest, BITE).await?;
        // Another server was faster.
        if rows.first().is_none_or(|row| row.seq > next) {
            plan.held.push(Held::Moved);
        }
        for row in rows {
            if plan.held.is_empty() {
                plan.add(reader, scene, chain, &row).await?;
            }
        }
    }
    plan.settle(scene);
    Ok(plan)
}

impl Plan<'_> {
    async fn add(
        &mut self,
        reader: &Reader,
        scene: &Scene,
        chain: &ChainEnds,
        row: &Candidate,
    ) -> Result<(), LedgerError> {
        let writer = chain.writer;
        if row.seq != self.segment.last + 1 || computed(writer, row, &self.segment.after) != row.hash {
            return Err(LedgerError::Cut { writer });
        }
        self.held = scene.holds(chain, row);
        if !self.held.is_empty() {
            return Ok(());
        }
        let rests = match renewal(row) {
            Some(decision) => reader.stored(decision).await?.is_some(),
            None => false,
        };
        if let Err(held) = self.segment.take(row, rests) {
            self.held.push(held);
            return Ok(());
        }
        self.rest = self.rest.or(Some(row.at));
        if self.segment.count.is_multiple_of(BITE) {
            self.all_is_due();
        }
        Ok(())
    }

    /// What fills no bite goes if it has waited long enough for more.
    fn settle(&mut self, scene: &Scene) {
        let Some(at) = self.rest.map(|at| at.saturating_add(SLACK)) else { return };
        if at <= scene.cutoff {
            self.all_is_due();
        } else {
            self.held.insert(0, Held::Few { until: scene.rules().past(at) });
        }
    }

    const fn all_is_due(&mut self) {
        let Segment { count, last, until, .. } = self.segment;
        self.due = Due { count, last, until };
        self.rest = None;
    }
}

fn computed(writer: i64, row: &Candidate, previous: &Fingerprint) -> [u8; 32] {
    let Candidate { seq, at, kind, tenant, subject, payload, .. } = row;
    let payload = Fingerprint::from_bytes(*payload);
    *Link { writer, seq: *seq, at: *at, kind, tenant, subject, payload: &payload }.hash(previous).as_bytes()
}
