//! How long a sink waits after failures: twice as long each time, up to a cap, and never in step with others.

use std::time::Duration;

use crate::clock::random_bytes;

/// The wait after the first failure, and the longest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    pub(super) first: Duration,
    pub(super) longest: Duration,
}

impl Pace {
    /// For receivers: a restart of one is over in seconds, an outage is asked once a minute.
    pub(super) const RECEIVER: Self = Self { first: Duration::from_secs(1), longest: Duration::from_mins(1) };

    /// The wait after so many failures in a row: a random part of the second half of the full wait. If the receiver asks
    /// for a longer one, that.
    pub(super) fn wait(self, failures: u32, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let full = doubled.min(self.longest);
        // Without randomness the wait is the full one.
        let part = random_bytes::<1>().map_or(u8::MAX, |[byte]| byte);
        let wait = full / 2 + (full / 2).mul_f64(f64::from(part) / f64::from(u8::MAX));
        wait.max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_within_their_second_half() {
        for (failures, full) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let full = Duration::from_secs(full);
            for _ in 0..50 {
                let wait = Pace::RECEIVER.wait(failures, None);
                assert!(full / 2 <= wait && wait <= full, "{failures}: {wait:?}");
            }
        }
    }

    #[test]
    fn a_receiver_can_ask_for_more_and_not_for_less() {
        let wait = |asked| Pace::RECEIVER.wait(7, Some(Duration::from_secs(asked)));
        assert_eq!(wait(90), Duration::from_secs(90));
        assert!(wait(1) >= Duration::from_secs(30));
    }
}
