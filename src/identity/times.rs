//! The one place that judges a token's times, on the injected clock.
//!
//! Every time is a JSON integer or the token is refused: a library that reads `"1"` or `1.5` as absent skips the check
//! (CVE-2026-25537).

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::config::Issuer;
use crate::domain::{Code, Refusal};

/// Largest clock skew, whatever the configuration says.
const MAX_SKEW: Duration = Duration::from_mins(1);
/// Longest life that an identity token may claim. GitLab's tokens live as long as the job may run, at most a month.
const MAX_LIFE: i64 = 31 * 24 * 60 * 60;
/// 2000 to 2100, in seconds: milliseconds, fractions of an epoch and overflows are not times.
pub(super) const SANE: RangeInclusive<i64> = 946_684_800..=4_102_444_800;

/// When a token was issued and when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    /// `iat`.
    pub issued_at: Timestamp,
    /// `exp`.
    pub expires_at: Timestamp,
}

/// Why a token's times refuse it. Numbers are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TimeError {
    /// Missing, not an integer, or not a time of this century.
    #[error("the token's claim `{0}` must be a time in whole seconds since 1970")]
    Claim(&'static str),
    /// `exp` is not after `iat`, or much later.
    #[error("the token's lifetime is not between one second and 31 days")]
    Lifetime,
    /// `exp` has passed.
    #[error("the token expired {0} seconds ago")]
    Expired(i64),
    /// `iat` or `nbf` lies ahead.
    #[error("the token's `{0}` is {1} seconds ahead of this server's clock")]
    Ahead(&'static str, i64),
    /// Older than the issuer's maximum age.
    #[error("the token was issued {age} seconds ago; {max} are accepted")]
    TooOld {
        /// Seconds since `iat`.
        age: i64,
        /// The issuer entry's `max_age`.
        max: i64,
    },
}

/// Checks `exp`, `nbf` and `iat` (RFC 7519, section 4.1) and the age that the issuer entry allows.
pub(super) fn check(
    claims: &Map<String, Value>,
    limits: &Issuer,
    now: Timestamp,
) -> Result<Times, TimeError> {
    let expires = time(claims, "exp")?.ok_or(TimeError::Claim("exp"))?;
    let issued = issued(claims, limits)?;
    let not_before = time(claims, "nbf")?;

    let now = now.as_second();
    let skew = seconds(limits.skew.min(MAX_SKEW));
    let max_age = seconds(limits.max_age);
    if !(1..=MAX_LIFE).contains(&(expires - issued)) {
        return Err(TimeError::Lifetime);
    }
    // Not accepted on or after `exp`.
    if now >= expires + skew {
        return Err(TimeError::Expired(now - expires));
    }
    for (claim, start) in [("nbf", not_before.unwrap_or(issued)), ("iat", issued)] {
        if start > now + skew {
            return Err(TimeError::Ahead(claim, start - now));
        }
    }
    if now - issued > max_age.saturating_add(skew) {
        return Err(TimeError::TooOld { age: now - issued, max: max_age });
    }
    let at = |second, claim| Timestamp::from_second(second).map_err(|_| TimeError::Claim(claim));
    Ok(Times { issued_at: at(issued, "iat")?, expires_at: at(expires, "exp")? })
}

/// The times of a certificate's claims, whose chain was verified at the same time.
pub(super) fn of_certificate(
    claims: &Map<String, Value>,
    issuer: &Issuer,
    now: Timestamp,
) -> Result<Times, TimeError> {
    let times = recall(claims, issuer)?;
    let seconds = |from: Timestamp, to: Timestamp| to.as_second() - from.as_second();
    if now >= times.expires_at {
        return Err(TimeError::Expired(seconds(times.expires_at, now)));
    }
    if now < times.issued_at {
        return Err(TimeError::Ahead("nbf", seconds(now, times.issued_at)));
    }
    Ok(times)
}

/// The times of claims that were checked when they were first seen.
pub(super) fn recall(claims: &Map<String, Value>, issuer: &Issuer) -> Result<Times, TimeError> {
    let at = |second, claim| Timestamp::from_second(second).map_err(|_| TimeError::Claim(claim));
    let expires = time(claims, "exp")?.ok_or(TimeError::Claim("exp"))?;
    Ok(Times { issued_at: at(issued(claims, issuer)?, "iat")?, expires_at: at(expires, "exp")? })
}

/// When a token was issued: `iat`, which an SVID need not have; then `nbf`, as a certificate has it. A token whose age
/// nobody can tell is refused.
fn issued(claims: &Map<String, Value>, issuer: &Issuer) -> Result<i64, TimeError> {
    match time(claims, "iat")? {
        None if issuer.url.trust_domain().is_some() => time(claims, "nbf")?.ok_or(TimeError::Claim("iat")),
        at => at.ok_or(TimeError::Claim("iat")),
    }
}

/// Checks `iat`, and `exp` if there is one, of a security event token (RFC 8417, section 2.2), and returns until when it
/// would be accepted again.
pub(super) fn check_event(
    claims: &Map<String, Value>,
    limits: &Issuer,
    max_age: Duration,
    now: Timestamp,
) -> Result<Timestamp, TimeError> {
    let issued = time(claims, "iat")?.ok_or(TimeError::Claim("iat"))?;
    let expires = time(claims, "exp")?;
    let now = now.as_second();
    let (skew, max) = (seconds(limits.skew.min(MAX_SKEW)), seconds(max_age));
    if let Some(expires) = expires.filter(|expires| now >= expires + skew) {
        return Err(TimeError::Expired(now - expires));
    }
    if issued > now + skew {
        return Err(TimeError::Ahead("iat", issued - now));
    }
    if now - issued > max + skew {
        return Err(TimeError::TooOld { age: now - issued, max });
    }
    Timestamp::from_second(issued + max + skew + 1).map_err(|_| TimeError::Claim("iat"))
}

/// A time claim, or none. `1.0` is no integer here, whatever its value.
pub(super) fn time(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<i64>, TimeError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    let second = value.as_i64().filter(|second| SANE.contains(second));
    second.map(Some).ok_or(TimeError::Claim(claim))
}

fn seconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

impl From<TimeError> for Refusal {
    fn from(error: TimeError) -> Self {
        let code = match error {
            TimeError::Claim(_) | TimeError::Lifetime => Code::TokenClaimInvalid,
            TimeError::Expired(_) => Code::TokenExpired,
            TimeError::Ahead(..) => Code::TokenNotYetValid,
            TimeError::TooOld { .. } => Code::TokenTooOld,
        };
        Self::new(code, error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::harness::entry;
    use proptest::prelude::*;
    use serde_json::json;

    const NOW: i64 = 1_800_000_000;

    /// The outcome for `claims` laid over a good token, skew 30 s, greatest age 600 s.
    fn outcome(claims: Value) -> Result<Times, TimeError> {
        let mut all = json!({"iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300});
        let Value::Object(claims) = claims else { panic!("an object") };
        all.as_object_mut().unwrap().extend(claims);
        all.as_object_mut().unwrap().retain(|_, value| value != "absent");
        check(all.as_object().unwrap(), &entry("acme"), Timestamp::from_second(NOW).unwrap())
    }

    #[test]
    fn accepts_a_fresh_token_with_or_without_nbf() {
        assert_eq!(outcome(json!({})).unwrap().expires_at.as_second(), NOW + 300);
        assert_eq!(outcome(json!({"nbf": "absent"})).unwrap().issued_at.as_second(), NOW - 10);
    }

    #[test]
    fn i_07_refuses_times_that_are_no_integers_of_this_century() {
        let wrong = [
            json!("1"),
            json!(1.5),
            json!(1e23),
            json!(null),
            json!(true),
            json!([NOW]),
            json!(0),
            json!(-1),
        ];
        let milliseconds = json!(NOW * 1000);
        let float = json!(1_800_000_300.0);
        for value in wrong.into_iter().chain([milliseconds, float, json!(u64::MAX), json!(i64::MIN)]) {
            for claim in ["exp", "iat", "nbf"] {
                let refused = outcome(json!({ claim: value }));
                assert!(matches!(refused, Err(TimeError::Claim(named)) if named == claim), "{claim} {value}");
            }
        }
        for claim in ["exp", "iat"] {
            assert!(matches!(outcome(json!({ claim: "absent" })), Err(TimeError::Claim(_))), "{claim}");
        }
    }

    #[test]
    fn i_11_caps_age_and_lifetime() {
        let aged = |age: i64| outcome(json!({"iat": NOW - age, "nbf": NOW - age}));
        assert!(aged(630).is_ok());
        assert_eq!(aged(631), Err(TimeError::TooOld { age: 631, max: 600 }));
        assert_eq!(outcome(json!({"exp": NOW - 10 + MAX_LIFE + 1})), Err(TimeError::Lifetime));
        assert_eq!(outcome(json!({"exp": NOW - 10})), Err(TimeError::Lifetime));
    }

    #[test]
    fn i_18_allows_the_configured_skew_and_never_more_than_a_minute() {
        let start = |claim: &str, ahead: i64| outcome(json!({ claim: NOW + ahead }));
        assert!(outcome(json!({"exp": NOW - 29, "iat": NOW - 200})).is_ok());
        assert_eq!(outcome(json!({"exp": NOW - 30, "iat": NOW - 200})), Err(TimeError::Expired(30)));
        for claim in ["nbf", "iat"] {
            assert!(start(claim, 30).is_ok());
            assert_eq!(start(claim, 31), Err(TimeError::Ahead(claim, 31)));
        }
        let mut lax = entry("acme");
        lax.skew = Duration::from_hours(24);
        let claims = json!({"iat": NOW - 200, "exp": NOW - 60});
        let refused = check(claims.as_object().unwrap(), &lax, Timestamp::from_second(NOW).unwrap());
        assert_eq!(refused, Err(TimeError::Expired(60)));
    }

    #[test]
    fn i_18_a_clock_an_hour_off_refuses_and_says_by_how_much() {
        let code = |claims| Refusal::from(outcome(claims).unwrap_err());
        let behind = code(json!({"iat": NOW + 3600, "nbf": NOW + 3600, "exp": NOW + 3900}));
        assert_eq!(behind.code, Code::TokenNotYetValid);
        assert!(behind.message.contains("3600 seconds ahead"), "{}", behind.message);
        let ahead = code(json!({"iat": NOW - 3600, "nbf": NOW - 3600, "exp": NOW - 3300}));
        assert_eq!(ahead.code, Code::TokenExpired);
    }

    proptest! {
        #[test]
        fn never_ok_and_outside_its_window(iat in any::<i64>(), exp in any::<i64>(), nbf in any::<i64>()) {
            if outcome(json!({"iat": iat, "exp": exp, "nbf": nbf})).is_ok() {
                prop_assert!(exp > NOW - 30 && iat <= NOW + 30 && nbf <= NOW + 30 && iat >= NOW - 630);
            }
        }
    }
}
