//! Refusals that are counted rather than recorded one by one: a flood of bad requests must not fill the store.
//!
//! Nobody's requests (no verified identity) are counted per minute, code and source. A caller's refusals are recorded
//! up to a rate, and counted beyond it. All maps are bounded; what no longer fits is counted under one name.

use std::collections::HashMap;
use std::net::IpAddr;

use jiff::Timestamp;
use serde::Serialize;

use super::chain::Canon;
use crate::domain::Code;
use crate::secret::Fingerprint;

/// Different (code, source) pairs per minute; more are counted as [`OTHERS`].
const SOURCES: usize = 256;

/// Callers whose rate is followed per minute; refusals of more are counted.
const CALLERS: usize = 10_000;

/// The source of what no longer fits.
const OTHERS: &str = "others";

/// A row of `refusal_counts`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Counted {
    /// Unix minutes.
    pub(super) minute: i64,
    /// The tenant; empty if nobody was identified.
    pub(super) tenant: String,
    /// The refusal code.
    pub(super) code: String,
    /// An address or network, a principal key, or `others`.
    pub(super) source: String,
    /// How many.
    pub(super) count: i64,
}

impl AsRef<Self> for Counted {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The payload of the audit record that covers `rows`, which come in key order.
pub(super) fn payload<'a>(rows: impl Iterator<Item = &'a Counted>) -> Fingerprint {
    let start = Canon::new("tollgate/counts/1");
    rows.fold(start, |canon, row| {
        canon.int(row.minute).text(&row.tenant).text(&row.code).text(&row.source).int(row.count)
    })
    .finish()
}

/// Counts in memory, until they are flushed.
pub(super) struct Counts {
    per_minute: u32,
    rows: HashMap<(i64, String, Code, String), i64>,
    callers: (i64, HashMap<String, u32>),
}

impl Counts {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, rows: HashMap::new(), callers: (0, HashMap::new()) }
    }

    /// True if this caller's refusal is recorded; otherwise it is to be counted.
    pub(super) fn admits(&mut self, principal: &str, now: Timestamp) -> bool {
        let minute = minute_of(now);
        let (current, callers) = &mut self.callers;
        if *current != minute {
            *current = minute;
            callers.clear();
        }
        if callers.len() >= CALLERS && !callers.contains_key(principal) {
            return false;
        }
        let seen = callers.entry(principal.to_owned()).or_default();
        *seen = seen.saturating_add(1);
        *seen <= self.per_minute
    }

    /// Counts a refusal of nobody in particular.
    pub(super) fn count_unidentified(&mut self, source: Option<IpAddr>, code: Code, now: Timestamp) {
        self.add(now, "", code, &source.map_or_else(|| "unknown".to_owned(), network));
    }

    /// Counts a refusal of a caller above its rate.
    pub(super) fn count_caller(&mut self, tenant: &str, principal: &str, code: Code, now: Timestamp) {
        self.add(now, tenant, code, principal);
    }

    fn add(&mut self, now: Timestamp, tenant: &str, code: Code, source: &str) {
        let minute = minute_of(now);
        let mut key = (minute, tenant.to_owned(), code, source.to_owned());
        let fits = self.rows.len() < SOURCES || self.rows.contains_key(&key);
        if !fits {
            // Without the tenant too, so that not even tenants multiply the rows: at most one per code and minute.
            key = (minute, String::new(), code, OTHERS.to_owned());
        }
        let count = self.rows.entry(key).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes the counts of all minutes that are over, or of the current one too, in key order.
    pub(super) fn take(&mut self, now: Timestamp, all: bool) -> Vec<Counted> {
        let current = minute_of(now);
        let taken = self.rows.extract_if(|(minute, ..), _| all || *minute != current);
        let mut rows: Vec<_> = taken
            .map(|((minute, tenant, code, source), count)| Counted {
                minute,
                tenant,
                code: code.to_string(),
                source,
                count,
            })
            .collect();
        rows.sort();
        rows
    }
}

fn minute_of(now: Timestamp) -> i64 {
    now.as_second().div_euclid(60)
}

/// The address, or the /64 network of an IPv6 address: one household has 2^64 of those.
fn network(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minute(n: i64) -> Timestamp {
        Timestamp::from_second(n * 60).unwrap()
    }

    #[test]
    fn s_09_rows_per_minute_are_bounded_whatever_comes() {
        let mut counts = Counts::new(1);
        for n in 0..100_000u32 {
            counts.count_unidentified(Some(IpAddr::from(n.to_be_bytes())), Code::TokenExpired, minute(1));
        }
        let rows = counts.take(minute(2), false);
        assert_eq!(rows.len(), SOURCES + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<i64>(), 100_000);
    }

    #[test]
    fn s_09_one_ipv6_network_is_one_source() {
        let mut counts = Counts::new(1);
        for host in ["2001:db8::1", "2001:db8::2", "2001:db8::ffff:1"] {
            counts.count_unidentified(Some(host.parse().unwrap()), Code::TokenExpired, minute(1));
        }
        let rows = counts.take(minute(2), false);
        assert_eq!((rows.len(), rows[0].count, rows[0].source.as_str()), (1, 3, "2001:db8:0:0::/64"));
    }

    #[test]
    fn s_09_a_caller_is_admitted_up_to_the_rate_and_again_the_next_minute() {
        let mut counts = Counts::new(2);
        let admitted: Vec<_> = (0..4).map(|_| counts.admits("a", minute(1))).collect();
        assert_eq!(admitted, [true, true, false, false]);
        assert!(counts.admits("b", minute(1)));
        assert!(counts.admits("a", minute(2)));
    }

    #[test]
    fn s_09_callers_that_are_followed_are_bounded() {
        let mut counts = Counts::new(1);
        let admitted = (0..CALLERS + 10).filter(|n| counts.admits(&n.to_string(), minute(1))).count();
        assert_eq!(admitted, CALLERS);
    }

    #[test]
    fn the_current_minute_stays_until_it_is_over() {
        let mut counts = Counts::new(1);
        counts.count_unidentified(None, Code::TokenExpired, minute(1));
        assert!(counts.take(minute(1), false).is_empty());
        assert_eq!(counts.take(minute(2), false).len(), 1);
        assert!(counts.take(minute(2), true).is_empty());
    }
}
