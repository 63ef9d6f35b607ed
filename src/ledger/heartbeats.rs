//! Heartbeats: leases that end when nobody hears of their holders for too long.
//!
//! A heartbeat costs no write of its own: the newest one per lease waits in memory and is written with the others every
//! few seconds. Silence counts only while a server was ready to hear: the ledger keeps those intervals, and what lies
//! between them, such as a restart or an outage of all replicas, ends nobody's lease. No lease has a timer: one index
//! says whose turn to be looked at has come.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::explained::time;
use super::intent::Hear;
use super::leases::status;
use super::{LeaseStatus, Ledger, Unavailable};
use crate::domain::{Code, LeaseId, Refusal};
use crate::identity::Holder;

/// Pause between two writes of what was heard.
pub const HEAR_EVERY: Duration = Duration::from_secs(3);

/// Silence that is granted beyond what the role allows: what was heard waits in memory, here and at other replicas.
pub(super) const GRACE_MILLIS: i64 = 10_000;

/// A pause between two writes above which the server counts as not having been ready.
const HELD_UP_MILLIS: i64 = 15_000;

/// Most heartbeats that wait to be written: a few megabytes. Beyond, each is written at once.
const MAX_WAITING: usize = 65_536;

/// What was heard and not yet written, and since when this process hears without a gap.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    beats: HashMap<LeaseId, i64>,
    ready: Option<Interval>,
}

/// A time in which a server was ready, Unix milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) since: i64,
    pub(super) until: i64,
}

impl Hearing {
    /// Keeps the newest heartbeat of a lease; false if there is no room.
    fn keep(&mut self, lease: LeaseId, at: i64) -> bool {
        if self.beats.len() >= MAX_WAITING && !self.beats.contains_key(&lease) {
            return false;
        }
        let newest = self.beats.entry(lease).or_insert(at);
        *newest = at.max(*newest);
        true
    }

    /// The interval that reaches to `now`: a new one if this process was held up.
    fn extend(&mut self, now: i64) -> Interval {
        let continued = self.ready.filter(|ready| (0..=HELD_UP_MILLIS).contains(&(now - ready.until)));
        let since = continued.map_or(now, |ready| ready.since);
        *self.ready.insert(Interval { since, until: now })
    }
}

impl Ledger {
    /// Hears of a lease, by its secret. The heartbeat is written within a few seconds.
    ///
    /// # Errors
    /// `lease_unknown`, `proof_*`; `lease_ended` if its holder need not go on; `store_unavailable`.
    pub async fn beat(&self, id: LeaseId, holder: impl Into<Holder<'_>>) -> Result<LeaseStatus, Refusal> {
        let (row, _) = self.lease_of(id, holder.into()).await?;
        let mut status = status(&row);
        let now = self.clock.now();
        if row.is_over(now.as_millisecond()) {
            return Err(Refusal::new(Code::LeaseEnded, "the lease is over: stop, or ask for another one"));
        }
        if row.heartbeat.is_none() {
            return Ok(status);
        }
        let at = now.as_millisecond();
        if !lock(&self.hearing).keep(id, at) {
            let one = Hear { beats: vec![(id, at)], ready: None };
            self.store.run(one).await.map_err(|why| why.refusal())?;
        }
        status.last_beat_at = Some(time(at));
        Ok(status)
    }

    /// Writes what was heard and that this server was ready, and marks leases that were silent too long as to be ended;
    /// returns those. Call it every [`HEAR_EVERY`]. While no lease has a heartbeat, it writes nothing.
    ///
    /// # Errors
    /// [`Unavailable`]: what was heard waits for the next call.
    pub async fn hear(&self) -> Result<Vec<LeaseId>, Unavailable> {
        let ready = lock(&self.hearing).extend(self.clock.now().as_millisecond());
        if matches!(self.store.reader().any_heartbeat().await, Ok(false)) {
            lock(&self.hearing).beats.clear();
            return Ok(Vec::new());
        }
        let beats: Vec<_> = lock(&self.hearing).beats.drain().collect();
        match self.store.run(Hear { beats: beats.clone(), ready: Some(ready) }).await {
            Ok(silent) => Ok(silent),
            Err(why) => {
                let mut hearing = lock(&self.hearing);
                // Nobody's silence counts while the store takes nothing.
                hearing.ready = None;
                for (lease, at) in beats {
                    hearing.keep(lease, at);
                }
                Err(why)
            }
        }
    }
}

/// Milliseconds between `from` and `to` in which some server was ready; `intervals` come by their beginning.
pub(super) fn heard(intervals: &[Interval], from: i64, to: i64) -> i64 {
    let (mut heard, mut reached) = (0, from);
    for interval in intervals {
        let (since, until) = (interval.since.max(reached), interval.until.min(to));
        if since < until {
            heard += until - since;
            reached = until;
        }
    }
    heard
}

/// Nothing that holds this lock can panic half way through a change.
fn lock(hearing: &Mutex<Hearing>) -> MutexGuard<'_, Hearing> {
    hearing.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn intervals(of: &[(i64, i64)]) -> Vec<Interval> {
        of.iter().map(|&(since, until)| Interval { since, until }).collect()
    }

    #[test]
    fn time_counts_once_and_only_where_a_server_was_ready() {
        let ready = intervals(&[(0, 10), (5, 8), (5, 20), (30, 40), (40, 45)]);
        assert_eq!(heard(&ready, 0, 100), 35);
        assert_eq!(heard(&ready, 18, 32), 4);
        assert_eq!(heard(&ready, 20, 30), 0, "an outage");
        assert_eq!(heard(&[], 0, 100), 0);
    }

    #[test]
    fn a_process_that_was_held_up_begins_a_new_interval() {
        let mut hearing = Hearing::default();
        assert_eq!(hearing.extend(1_000), Interval { since: 1_000, until: 1_000 });
        assert_eq!(hearing.extend(4_000), Interval { since: 1_000, until: 4_000 });
        let late = 4_000 + HELD_UP_MILLIS + 1;
        assert_eq!(hearing.extend(late), Interval { since: late, until: late });
        assert_eq!(hearing.extend(5_000), Interval { since: 5_000, until: 5_000 }, "the clock was set back");
    }

    #[test]
    fn what_waits_in_memory_is_bounded() {
        let mut hearing = Hearing::default();
        for n in 0..MAX_WAITING as u128 {
            assert!(hearing.keep(LeaseId::from_bytes(n.to_be_bytes()), 1));
        }
        assert!(!hearing.keep(LeaseId::from_bytes([255; 16]), 1));
        assert!(hearing.keep(LeaseId::from_bytes([0; 16]), 2), "a known one is only newer");
    }

    proptest! {
        #[test]
        fn silence_is_never_longer_than_the_time(
            mut of in prop::collection::vec((0i64..100, 0i64..100), 0..8), from in 0i64..100, length in 0i64..100,
        ) {
            of.sort_unstable();
            let counted = heard(&intervals(&of), from, from + length);
            prop_assert!((0..=length).contains(&counted));
            let ready = |at: i64| of.iter().any(|(since, until)| (*since..*until).contains(&at));
            let expected = (from..from + length).filter(|at| ready(*at)).count();
            prop_assert_eq!(counted, i64::try_from(expected).unwrap());
        }
    }
}
