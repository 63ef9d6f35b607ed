//! The endpoints, one file each.

mod audit;
mod blocks;
mod credentials;
mod decisions;
mod events;
mod fallback;
mod health;
mod leases;
mod lists;
mod metadata;
mod metrics;
mod token;
mod unreadable;
mod webhook;
mod whoami;

use std::str::FromStr;
use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::routing::{any, get, post};

pub(super) use fallback::{method_not_allowed, not_found};
pub use metadata::JWKS_MAX_AGE;
pub(super) use unreadable::{PATH as UNREADABLE, Unreadable};

use super::Context;
use crate::domain::{Code, Refusal};

/// What looks something up or looks after it, with a budget per address; exchanges have theirs further in.
pub(super) fn lookups() -> Router<Arc<Context>> {
    Router::new()
        .route("/v1/whoami", get(whoami::get))
        .route("/v1/leases", get(lists::leases))
        .route("/v1/leases/{id}", get(leases::get).delete(leases::delete))
        .route("/v1/authorisations", get(lists::authorisations))
        .route("/v1/decisions", get(lists::decisions))
        .route("/v1/leases/{id}/renew", post(leases::renew))
        .route("/v1/decisions/{id}", get(decisions::get))
        .route("/v1/audit", get(audit::get))
}

/// What asks for a credential, and what anybody may read. Like look-ups, under the concurrency gate. A heartbeat is among
/// them: one that is refused for what its neighbours behind one address did would end a lease.
pub(super) fn exchanges() -> Router<Arc<Context>> {
    Router::new()
        .route("/token", post(token::post))
        .route("/v1/credentials", post(credentials::post))
        .route("/v1/leases/{id}/heartbeat", post(leases::heartbeat))
        .route("/.well-known/openid-configuration", get(metadata::openid))
        .route("/.well-known/oauth-authorization-server", get(metadata::oauth))
        .route("/jwks", get(metadata::jwks))
        .route("/federation/.well-known/openid-configuration", get(metadata::federation_openid))
        .route("/federation/jwks", get(metadata::federation_jwks))
        .route(UNREADABLE, any(unreadable::any))
}

/// The kill switch; under a gate of its own.
pub(super) fn switch() -> Router<Arc<Context>> {
    Router::new()
        .route("/v1/blocks", post(blocks::post).get(blocks::list))
        .route("/v1/blocks/{id}", get(blocks::get).delete(blocks::delete))
        .route("/v1/blocks/webhook/{name}", post(webhook::post))
        .route("/v1/events", post(events::post))
}

/// What a load balancer asks; tells nobody anything else.
pub(super) fn probes() -> Router<Arc<Context>> {
    Router::new().route("/livez", get(health::live)).route("/readyz", get(health::ready_or_not))
}

/// What operators use.
pub(super) fn operations() -> Router<Arc<Context>> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::get))
}

/// The id in the path. One that is no id is unknown like any other (C-07).
fn id<T: FromStr>(path: Result<Path<String>, PathRejection>, unknown: Code) -> Result<T, Refusal> {
    let refusal = || Refusal::new(unknown, unknown.explain().cause);
    let Path(text) = path.map_err(|_| refusal())?;
    text.parse().map_err(|_| refusal())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::LeaseId;

    #[test]
    fn paths_do_not_collide() {
        // A collision panics while the router is built.
        let callers = || exchanges().merge(lookups()).merge(switch());
        let _ = (callers().merge(probes()), callers().merge(operations()));
    }

    #[test]
    fn c_07_an_id_that_is_none_is_answered_like_an_unknown_one() {
        let refused = id::<LeaseId>(Ok(Path("../../x".to_owned())), Code::LeaseUnknown).unwrap_err();
        assert_eq!(refused.code, Code::LeaseUnknown);
    }
}
