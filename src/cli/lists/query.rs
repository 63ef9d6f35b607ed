//! What narrows a list, as arguments, as a query of the API, and as a search of the store.

use std::str::FromStr;

use clap::Args;
use jiff::{SignedDuration, Timestamp};
use url::form_urlencoded::Serializer;

use crate::clock::Clock;
use crate::domain::{Operation, OutcomeName, PrincipalKey, RoleName, TenantName, Tenants};
use crate::ledger::{LeaseState, Search};

/// How long the broker waits with a page for what is not recorded yet; it gives less if its settings say so.
const WAIT_SECONDS: u32 = 20;

/// Arguments that narrow every list.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Filters {
    /// Only of this principal, such as `github:repository:1234`.
    #[arg(long, value_name = "KEY")]
    pub(in crate::cli) principal: Option<PrincipalKey>,
    /// Only of this role.
    #[arg(long, value_name = "ROLE")]
    pub(in crate::cli) role: Option<RoleName>,
    #[command(flatten)]
    pub(in crate::cli) within: Within,
}

/// Arguments that say whose, and when.
#[derive(Debug, Clone, Default, Args)]
pub(in crate::cli) struct Within {
    /// Only of this tenant.
    #[arg(long, value_name = "TENANT")]
    pub(in crate::cli) tenant: Option<TenantName>,
    /// From this time on: RFC 3339, or a while ago such as 2h or 30m.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) since: Option<When>,
    /// Before this time.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<When>,
}

/// A time, or a while ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) struct When(pub(in crate::cli) Timestamp);

impl FromStr for When {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self(at));
        }
        let ago: SignedDuration =
            text.parse().map_err(|_| "write 2026-03-02T10:00:00Z, or a while ago such as 2h".to_owned())?;
        let at = Clock::system().now().checked_sub(ago.abs()).map_err(|error| error.to_string())?;
        // Whole seconds: the same moment on each page of a list.
        Ok(Self(Timestamp::from_second(at.as_second()).unwrap_or(at)))
    }
}

/// What a list is asked for.
#[derive(Debug, Clone, Default)]
pub(in crate::cli) struct Query {
    pub(in crate::cli) filters: Filters,
    pub(in crate::cli) state: Option<LeaseState>,
    pub(in crate::cli) operation: Option<Operation>,
    pub(in crate::cli) outcome: Option<OutcomeName>,
    /// Records of the audit chain from now on.
    pub(in crate::cli) from_now: bool,
    /// Pages after the first one wait a while for what is not recorded yet.
    pub(in crate::cli) waits: bool,
}

impl Query {
    /// The query of the API, with `limit` and `cursor`.
    pub(super) fn encoded(&self, limit: usize, cursor: Option<&str>) -> String {
        let Filters { principal, role, within } = &self.filters;
        let when = |when: Option<When>| when.map(|When(at)| at.to_string());
        let pairs = [
            ("principal", principal.as_ref().map(ToString::to_string)),
            ("role", role.as_ref().map(ToString::to_string)),
            ("tenant", within.tenant.as_ref().map(ToString::to_string)),
            ("since", when(within.since)),
            ("until", when(within.until)),
            ("state", self.state.map(|state| state.to_string())),
            ("operation", self.operation.map(|operation| operation.to_string())),
            ("outcome", self.outcome.as_ref().map(ToString::to_string)),
            ("from", self.from_now.then(|| "now".to_owned())),
            ("limit", Some(limit.to_string())),
            ("cursor", cursor.map(ToOwned::to_owned)),
            ("wait", (self.waits && cursor.is_some()).then(|| WAIT_SECONDS.to_string())),
        ];
        let pairs = pairs.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?)));
        Serializer::new(String::new()).extend_pairs(pairs).finish()
    }

    /// The search of the store.
    pub(super) fn search(&self) -> Search {
        let Filters { principal, role, within } = self.filters.clone();
        Search {
            principal,
            role,
            state: self.state,
            operation: self.operation,
            outcome: self.outcome.as_ref().map(ToString::to_string),
            since: within.since.map(|When(at)| at),
            until: within.until.map(|When(at)| at),
        }
    }

    /// Whose things are meant, for one who may read the store.
    pub(super) fn tenants(&self) -> Tenants {
        self.filters.within.tenant.clone().map_or(Tenants::All, Tenants::One)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_absolute_or_a_while_ago() {
        let at: When = "2026-03-02T10:00:00Z".parse().unwrap();
        assert_eq!(at.0.to_string(), "2026-03-02T10:00:00Z");
        let now = Clock::system().now();
        let ago: When = "2h".parse().unwrap();
        let hours = now.duration_since(ago.0).as_secs_f64() / 3600.0;
        assert!((1.99..2.01).contains(&hours), "{hours}");
        assert!("yesterday".parse::<When>().is_err());
    }

    #[test]
    fn the_query_names_what_was_asked_for_and_nothing_else() {
        let role = "deploy/production".parse().ok();
        let query = Query {
            filters: Filters { role, ..Filters::default() },
            state: Some(LeaseState::Live),
            ..Query::default()
        };
        assert_eq!(query.encoded(7, Some("c")), "role=deploy%2Fproduction&state=live&limit=7&cursor=c");
        assert_eq!(Query::default().encoded(1, None), "limit=1");
    }
}
