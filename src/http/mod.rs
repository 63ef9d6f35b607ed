//! The HTTP surface: reads requests strictly, asks the broker, and says what came of it.
//!
//! It decides nothing: who asks, what is allowed and what is minted happen behind [`Broker`]. It must never log a
//! token, a credential or a query string, and can hand out a credential only from a recorded
//! [`Leased`](crate::ledger::Leased).
//!
//! From the outside in, a request passes: caps of the connection, the log line, security headers, the rendering of
//! failures, the count of what is turned away, the concurrency gate with its time limit, for look-ups the address's
//! budget, and one endpoint.

mod answer;
mod arriving;
mod bearer;
mod body;
mod connection;
mod endpoint;
mod error;
mod failure;
mod fields;
mod form;
mod forwarded;
mod headers;
mod json;
mod limits;
mod observe;
mod peer;
mod server;
mod tls;
mod turned_away;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use ipnet::IpNet;

pub use connection::Caps;
pub use endpoint::JWKS_MAX_AGE;
pub use peer::Peer;
pub use server::{BindError, Server};
pub use tls::{Tls, TlsError};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{DenialDetail, Limits};
use crate::domain::IssuerUrl;
use crate::signing::SharedKeyring;
use failure::Failure;

/// Renders the metrics in the Prometheus text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the endpoints need. Limits and proxies are those of the start; what a reload changes is read from the broker.
pub struct Context {
    /// Turns requests into leases or refusals.
    pub broker: Arc<Broker>,
    /// The public keys to publish.
    pub keyring: SharedKeyring,
    /// What `/metrics` answers.
    pub metrics: RenderMetrics,
    /// The public URL.
    pub url: IssuerUrl,
    /// Caps on requests.
    pub limits: Limits,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// What remaining lifetimes are counted from.
    pub clock: Clock,
}

impl Context {
    /// How much of a denial the caller sees, by the configuration in force.
    fn denials(&self) -> DenialDetail {
        self.broker.loaded().config.settings.denials
    }

    /// Where the request comes from; none without a connection, as in tests of the bare router.
    fn source_ip(&self, parts: &Parts) -> Result<Option<IpAddr>, Failure> {
        let Some(peer) = parts.extensions.get::<Peer>() else { return Ok(None) };
        forwarded::source_ip(peer.address.ip(), &parts.headers, &self.trusted_proxies)
            .map(Some)
            .map_err(|refused| Failure::request(refused.into()))
    }
}

/// Every endpoint, behind its limits.
pub fn router(context: Arc<Context>) -> Router {
    let gate = limits::Gate::new(&context.limits);
    let budgeted = from_fn_with_state(Arc::clone(&context), turned_away::admit_peer);
    let api = endpoint::exchanges()
        .merge(endpoint::lookups().layer(budgeted))
        .layer(from_fn_with_state(gate.clone(), limits::admit))
        .layer(from_fn_with_state(Arc::clone(&context), turned_away::count));
    let probes = endpoint::probes().layer(from_fn_with_state(gate, limits::contain));
    shell(api.merge(probes)).with_state(context)
}

/// What every answer passes, whatever the path: fallbacks, rendered failures, security headers, the log line.
fn shell<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(endpoint::not_found)
        .method_not_allowed_fallback(endpoint::method_not_allowed)
        .layer(from_fn(failure::render))
        .layer(from_fn(headers::harden))
        .layer(from_fn(observe::observe))
}

/// Serves until `stop` resolves; then finishes requests in flight, and then mints whose clients are gone.
pub async fn serve(server: Server, context: Arc<Context>, stop: impl Future<Output = ()>) {
    let broker = Arc::clone(&context.broker);
    server.serve(router(context), stop).await;
    broker.drain().await;
}

#[cfg(test)]
mod tests;
