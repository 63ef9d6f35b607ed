//! The queue of what has to be ended: one worker at a time for each, and no attempt lost over restarts.
//!
//! What is in it follows from leases and authorisations; this holds only who is at work on which, and when to try
//! again. Every claim has a number, its fence, that no other claim ever has: whoever was held up past the end of its
//! claim is refused, also after the attempts were forgotten and somebody began anew.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::intent::{self, Close, Closing, End, Postpone, Postponed, Settled};
use super::{EndHow, Ledger, LedgerError, Unavailable};
use crate::clock::random_bytes;
use crate::domain::{DecisionId, LeaseId};

/// How long a claim holds; far longer than a worker takes.
pub(super) const CLAIM: Duration = Duration::from_mins(1);

/// Claims that one process makes before its fences could meet those of the next one: a million a second for a fortnight.
const CLAIMS: i64 = 1 << 40;

/// Pause after the first failed attempt; each further one doubles it.
const FIRST_PAUSE: Duration = Duration::from_secs(5);

/// Longest pause between two attempts.
const LONGEST_PAUSE: Duration = Duration::from_mins(5);

/// Failed attempts after which somebody must look: about half an hour of them.
pub(super) const MAX_ATTEMPTS: i64 = 12;

/// Pause between attempts from then on: a target that comes back is still rid of what should not live there.
const DEAD_PAUSE: Duration = Duration::from_mins(15);

/// What can be ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Record {
    /// A lease that somebody wants ended.
    Lease(LeaseId),
    /// An authorisation that has no lease.
    Authorisation(DecisionId),
}

impl Record {
    /// Its id.
    pub(super) const fn as_bytes(&self) -> &[u8; 16] {
        match self {
            Self::Lease(id) => id.as_bytes(),
            Self::Authorisation(id) => id.as_bytes(),
        }
    }
}

/// The right to end one thing, until another worker claims it. Only the ledger can make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    pub(super) record: Record,
    pub(super) fence: i64,
}

impl Claim {
    /// What it is about.
    pub const fn record(&self) -> Record {
        self.record
    }
}

/// Whether what a worker did counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// It is recorded now, or was before.
    Yes,
    /// Another worker claimed it since: nothing was recorded.
    Stale,
}

/// What waits for its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    /// All that was tried, or is being tried.
    pub all: u32,
    /// Those of them that were tried so often that somebody must look.
    pub dead: u32,
}

impl Ledger {
    /// Claims those of `records` that still have to be ended, whose turn has come, and that no other worker has.
    ///
    /// # Errors
    /// [`Unavailable`]: none is claimed.
    pub async fn claim(&self, records: Vec<Record>) -> Result<Vec<Claim>, Unavailable> {
        let ticket = self.ticket();
        self.store.run(intent::Claim { records, urgent: false, ticket }).await
    }

    /// The same at once, whatever the pause after a failed attempt says: somebody has just asked for it.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn claim_now(&self, record: Record) -> Result<Option<Claim>, Unavailable> {
        let ticket = self.ticket();
        Ok(self.store.run(intent::Claim { records: vec![record], urgent: true, ticket }).await?.pop())
    }

    /// Records that a lease was ended, or that nothing can end it. Telling it twice changes nothing.
    ///
    /// # Errors
    /// [`Unavailable`]: it stays among [`Ledger::leases_to_end`].
    pub async fn ended(&self, id: LeaseId, how: EndHow, claim: Claim) -> Result<Counted, Unavailable> {
        self.store.run(End { lease: id, how, fence: claim.fence }).await.map(counted)
    }

    /// Marks an authorisation without a lease as looked after: `dead` says whether nothing lives any more.
    ///
    /// # Errors
    /// [`Unavailable`]: it is listed again.
    pub async fn resolve_unleased(
        &self,
        decision: DecisionId,
        dead: bool,
        claim: Claim,
    ) -> Result<Counted, Unavailable> {
        let close = Close { decision, why: Closing::Resolved, dead, fence: Some(claim.fence) };
        self.store.run(close).await.map(counted)
    }

    /// Gives claims back: those that were `tried` failed with `code`, the others had no turn. Returns what has now failed
    /// so often that somebody must look.
    ///
    /// # Errors
    /// [`Unavailable`]: they are free when their claims are over.
    pub async fn postpone(
        &self,
        claims: impl IntoIterator<Item = (Claim, bool)>,
        code: &'static str,
    ) -> Result<Vec<Record>, Unavailable> {
        // Without randomness the pauses are only less spread.
        let items = claims.into_iter().map(|(claim, tried)| {
            let [jitter] = random_bytes().unwrap_or([128]);
            Postponed { record: claim.record, fence: claim.fence, tried, jitter }
        });
        let items: Vec<_> = items.collect();
        if items.is_empty() { Ok(Vec::new()) } else { self.store.run(Postpone { items, code }).await }
    }

    /// What makes the fences of this process's next claims its own.
    pub(super) fn ticket(&self) -> i64 {
        self.claims.fetch_add(1, Ordering::Relaxed)
    }

    /// How much waits for its end after an attempt.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn endings(&self) -> Result<Waiting, LedgerError> {
        self.store.reader().endings().await
    }
}

/// The fence of a claim: the writers of a store are numbered, and no number comes again; nor does a ticket of one process.
pub(super) const fn fence(writer: i64, ticket: i64) -> i64 {
    writer.wrapping_mul(CLAIMS).wrapping_add(ticket)
}

pub(super) const fn counted(settled: Settled) -> Counted {
    match settled {
        Settled::Recorded | Settled::Before => Counted::Yes,
        Settled::Stale => Counted::Stale,
    }
}

/// The pause after attempt number `attempts`, from 1, milliseconds: doubling, bounded, and spread by half of it with
/// `jitter`, so that what failed together is not tried together.
pub(super) fn pause(attempts: i64, jitter: u8) -> i64 {
    let doublings = u32::try_from(attempts.clamp(1, MAX_ATTEMPTS) - 1).unwrap_or(0);
    let whole = if attempts >= MAX_ATTEMPTS {
        DEAD_PAUSE
    } else {
        FIRST_PAUSE.saturating_mul(1 << doublings).min(LONGEST_PAUSE)
    };
    let millis = i64::try_from(whole.as_millis()).unwrap_or(i64::MAX);
    millis / 2 + millis / 2 * i64::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_are_bounded_and_spread() {
        let seconds = |attempts| pause(attempts, 255) / 1000;
        assert_eq!([1, 2, 3, 4].map(seconds), [5, 10, 20, 40]);
        assert_eq!(seconds(MAX_ATTEMPTS - 1), 300);
        assert_eq!([MAX_ATTEMPTS, i64::MAX].map(seconds), [900, 900]);
        for attempts in 0..40 {
            assert!(pause(attempts, 0) >= 2_500 && pause(attempts, 0) * 2 <= pause(attempts, 255) + 1);
        }
    }
}
