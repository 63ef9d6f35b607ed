//! `[retention]`: how long the audit chain and what it is about are kept.

use std::str::FromStr;
use std::time::Duration;

/// Fewest days that records are kept: longer than anything that they tell of may live or be asked about again.
const LEAST_DAYS: u16 = 7;

/// How long records are kept. Never less than a week.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    days: u16,
}

/// A text that is no time for which records can be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number of days, at least 7d, such as 400d")]
pub struct InvalidRetention;

impl Retention {
    /// Records are kept at least so long.
    pub const fn records(self) -> Duration {
        // At most 65,535 days: it fits.
        Duration::from_hours(24 * self.days as u64)
    }
}

impl FromStr for Retention {
    type Err = InvalidRetention;
    fn from_str(text: &str) -> Result<Self, InvalidRetention> {
        let digits = text.strip_suffix('d').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let days = digits.and_then(|digits| digits.parse().ok()).filter(|days| *days >= LEAST_DAYS);
        days.map(|days| Self { days }).ok_or(InvalidRetention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_kept_for_whole_days_and_never_less_than_a_week() {
        assert_eq!("7d".parse::<Retention>().unwrap().records(), Duration::from_hours(168));
        assert_eq!("400d".parse::<Retention>().unwrap().records(), Duration::from_hours(9600));
        for bad in ["", "d", "6d", "0d", "400", "400h", "+9d", "99999d", "4.5d"] {
            assert_eq!(bad.parse::<Retention>(), Err(InvalidRetention), "{bad:?}");
        }
    }
}
