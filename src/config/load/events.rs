//! `security_events` of an issuer's file.

use std::time::Duration;

use crate::config::SecurityEvents;
use crate::config::reader::Reader;

/// How to write it.
pub(super) const EXPECTED: &str = "{ audience = \"https://tollgate.example/v1/events\" }";

/// Reads it; `oldest` is how long after its issue an identity token of the issuer may be used.
pub(super) fn events(r: &mut Reader<'_>, oldest: Duration) -> Option<SecurityEvents> {
    let audience: Option<String> =
        r.required("audience", "the audience of its events, such as \"https://tollgate.example/v1/events\"");
    let range = Duration::from_mins(1)..=Duration::from_hours(24 * 31);
    let block_for = r.duration("block_for", "\"1h\"", oldest.max(*range.start()), &range);
    if block_for < oldest {
        let message = "tokens that were issued before an event could be used again after its block";
        r.warn("block_for", "block_too_short", message, "leave it out, or write at least max_age and skew");
    }
    let audience = audience.filter(|audience| {
        let fits =
            (1..=512).contains(&audience.len()) && audience.bytes().all(|byte| byte.is_ascii_graphic());
        if !fits {
            let message = "an audience is 1 to 512 printable ASCII characters";
            r.refuse("audience", "bad_value", message, "write the URL that the issuer sends its events to");
        }
        fits
    });
    Some(SecurityEvents { audience: audience?, block_for })
}

/// The audience keeps events and identity tokens apart.
pub(super) fn check_audience(r: &Reader<'_>, events: &str, identities: &str) {
    if events == identities {
        let message = "events have the audience of identity tokens";
        let fix = "give events one of their own, such as the URL of /v1/events";
        r.refuse("security_events", "events_audience", message, fix);
    }
}
