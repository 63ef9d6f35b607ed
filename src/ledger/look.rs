//! What the stores' lists have in common: where a page begins and ends, and what the state of a lease comes to.

use jiff::Timestamp;

use super::search::{LeaseState, Look, Page};
use crate::domain::{DecisionId, Revocability};

/// Longest from a request's id to its decision, in milliseconds: what was decided after a time may have begun before it.
const LONGEST_REQUEST: i64 = 10 * 60 * 1000;

impl Look {
    /// What ids are below: the cursor, or the time until which is searched.
    pub(super) fn newest(&self) -> Option<DecisionId> {
        let until = self.search.until.map(|until| begun(until, 0));
        [self.before, until].into_iter().flatten().min()
    }

    /// The lowest id of what can have been decided in the time that is searched.
    pub(super) fn oldest(&self) -> Option<DecisionId> {
        self.search.since.map(|since| begun(since, LONGEST_REQUEST))
    }

    /// A page of `found`, which holds one entry more than asked for if there are more; `floor` is the oldest row looked at,
    /// if there are older ones.
    pub(super) fn page<T>(
        &self,
        mut found: Vec<T>,
        floor: Option<DecisionId>,
        decision: fn(&T) -> DecisionId,
    ) -> Page<T> {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().map(decision).filter(|_| more);
        Page { entries: found, before: last.or(floor) }
    }
}

/// The lowest id of what began `earlier` milliseconds before `time`.
fn begun(time: Timestamp, earlier: i64) -> DecisionId {
    let millis = u64::try_from(time.as_millisecond().saturating_sub(earlier)).unwrap_or(0);
    let mut bytes = [0; 16];
    // RFC 9562, section 5.7: the first 48 bits are the time.
    for (byte, of_time) in bytes.iter_mut().zip(millis.to_be_bytes().into_iter().skip(2)) {
        *byte = of_time;
    }
    DecisionId::from_bytes(bytes)
}

/// Whether a lease can still be used and ended at `now`, from its columns. What a target could not end is no longer called
/// revocable.
pub(super) fn life(
    end_how: Option<&str>,
    dies_at: i64,
    revocable: bool,
    now: i64,
) -> (LeaseState, Revocability) {
    let (state, outlives) = match end_how {
        Some("at_target") => (LeaseState::Ended, false),
        how if dies_at > now => (LeaseState::Live, how.is_some()),
        how => (LeaseState::Expired, how.is_some()),
    };
    let revocable = revocable && !outlives;
    (state, if revocable { Revocability::Now } else { Revocability::DiesAtExpiry })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_time_is_the_lowest_of_that_millisecond() {
        let at = Timestamp::from_millisecond(1_700_000_000_123).unwrap();
        let id = |millis, random| DecisionId::new(millis, &[random; 10]);
        assert!(begun(at, 0) < id(1_700_000_000_123, 0));
        assert!(begun(at, 0) > id(1_700_000_000_122, 255));
        assert!(begun(at, 1) < id(1_700_000_000_122, 0));
    }
}
