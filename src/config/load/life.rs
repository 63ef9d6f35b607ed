//! How long a role's leases may go on: `heartbeat` and `max_session`.

use std::time::Duration;

use crate::config::reader::Reader;
use crate::config::{LeaseTerms, TtlLimits};
use crate::domain::Ttl;

/// Below, a slow network would look like silence; above, `ttl` bounds a lost holder better.
const HEARTBEAT: std::ops::RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_hours(1);

/// Reads both; `ttl` is the role's.
pub(super) fn terms(r: &mut Reader<'_>, ttl: Option<&TtlLimits>) -> LeaseTerms {
    let heartbeat = r.get("heartbeat", "the longest silence of its holder, such as \"2m\"");
    let heartbeat = heartbeat.and_then(|field| field.duration(&HEARTBEAT));
    let max_session: Option<Ttl> =
        r.optional("max_session", "the longest life over all renewals, such as \"4h\", at most \"12h\"");
    if let (Some(session), Some(ttl)) = (max_session, ttl)
        && session < ttl.max
    {
        let message = format!("a lease of ttl.max = {} would outlive its session of {session}", ttl.max);
        let fix = format!("write at least \"{}\", or lower ttl.max", ttl.max);
        r.refuse("max_session", "session_order", &message, &fix);
    }
    LeaseTerms { heartbeat, max_session }
}
