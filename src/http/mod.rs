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
mod client_certificate;
mod connection;
mod endpoint;
mod error;
mod event_error;
mod evidence;
mod failure;
mod fields;
mod follow;
mod form;
mod forwarded;
mod headers;
mod json;
mod limits;
mod observe;
mod peer;
mod proxy;
mod query;
mod server;
mod signature;
mod tls;
mod turned_away;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::HeaderName;
use axum::http::request::Parts;
use axum::middleware::{from_fn, from_fn_with_state};
use futures_util::future::OptionFuture;
use ipnet::IpNet;
use tokio_util::sync::CancellationToken;

pub use connection::Caps;
pub use endpoint::JWKS_MAX_AGE;
pub use follow::Followers;
pub use peer::Peer;
pub use server::{BindError, Server};
pub use tls::{Tls, TlsError};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{DenialDetail, Limits};
use crate::domain::{IssuerUrl, TraceParent};
use crate::signing::SharedKeyring;
use crate::telemetry::Exposition;
use failure::Failure;

/// Names the parent of a trace (W3C Trace Context, section 3.2).
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Renders the metrics for one who takes `OpenMetrics`, or does not.
pub type RenderMetrics = Arc<dyn Fn(bool) -> Exposition + Send + Sync>;

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
    /// A trusted proxy's `traceparent` is believed.
    pub trust_traceparent: bool,
    /// Room for those who follow the audit chain.
    pub followers: Followers,
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

    /// The trace that the request is part of. A caller could force traces, or write itself into those of others: only a
    /// proxy is believed, and only if the configuration says so.
    fn trace_parent(&self, parts: &Parts) -> Option<TraceParent> {
        let peer = parts.extensions.get::<Peer>().filter(|_| self.trust_traceparent)?;
        forwarded::is_proxy(peer.address.ip(), &self.trusted_proxies).then_some(())?;
        let mut lines = parts.headers.get_all(TRACE_PARENT).iter();
        let (line, None) = (lines.next()?, lines.next()) else { return None };
        line.to_str().ok()?.parse().ok()
    }
}

/// What is bound before anything is served.
pub struct Listeners {
    /// For callers.
    pub callers: Server,
    /// For proxies that pass on the certificates of callers.
    pub proxies: Option<Server>,
    /// For callers too, who want to see an SVID.
    pub spiffe: Option<Server>,
    /// For operators; without it, what they use is served by the first one too, and by no other.
    pub operators: Option<Server>,
}

/// Whom a listener lets through to what callers use.
#[derive(Debug, Clone, Copy)]
enum Door {
    /// Whoever connects.
    Everybody,
    /// Proxies that prove who they are.
    Proxies,
}

/// What callers use, behind its limits, beside `probes`, which answer under any load.
fn callers(context: Arc<Context>, gates: &Gates, probes: Router<Arc<Context>>, door: Door) -> Router {
    let Gates { api: gate, switch: of_switch } = gates.clone();
    let through = |routes: Router<Arc<Context>>| match door {
        Door::Everybody => routes,
        Door::Proxies => routes.layer(from_fn_with_state(Arc::clone(&context), proxy::admit)),
    };
    let behind = |routes: Router<Arc<Context>>, gate: limits::Gate| {
        through(routes).layer(from_fn_with_state((Arc::clone(&context), gate), turned_away::admit))
    };
    let budgeted = from_fn_with_state(Arc::clone(&context), turned_away::admit_peer);
    let api = behind(endpoint::exchanges().merge(endpoint::lookups().layer(budgeted)), gate.clone());
    let switch = behind(endpoint::switch(), of_switch);
    let probes = probes.layer(from_fn_with_state(gate, limits::contain));
    shell(api.merge(switch).merge(probes)).with_state(context)
}

/// The limits of what callers use, which all its listeners share.
#[derive(Clone)]
struct Gates {
    api: limits::Gate,
    switch: limits::Gate,
}

/// What operators use, on a listener of its own.
fn operators(context: Arc<Context>) -> Router {
    let gate = limits::Gate::new(&context.limits);
    let operations = endpoint::operations().layer(from_fn_with_state(gate, limits::contain));
    shell(operations).with_state(context)
}

/// What every answer passes, whatever the path: fallbacks, rendered failures, security headers, the log line. One layer
/// does the last three: each would copy the routes and box a future, for every request.
fn shell<S: Clone + Send + Sync + 'static>(routes: Router<S>) -> Router<S> {
    routes
        .fallback(endpoint::not_found)
        .method_not_allowed_fallback(endpoint::method_not_allowed)
        .layer(from_fn(observe::observe))
}

/// Serves until `stop` resolves; then finishes requests in flight, and then mints whose clients are gone. Operators can
/// watch that to its end.
pub async fn serve(listeners: Listeners, context: Arc<Context>, stop: impl Future<Output = ()>) {
    let drained = CancellationToken::new();
    let gates =
        Gates { api: limits::Gate::new(&context.limits), switch: limits::Gate::of_switch(&context.limits) };
    let probes = if listeners.operators.is_some() { endpoint::probes() } else { endpoint::operations() };
    let operating = listeners
        .operators
        .map(|server| server.serve(operators(Arc::clone(&context)), drained.clone().cancelled_owned()));
    let calling = async {
        let broker = Arc::clone(&context.broker);
        let waiting = Arc::clone(&context);
        let stopping = CancellationToken::new();
        let stop = async {
            stop.await;
            waiting.followers.end();
            stopping.cancel();
        };
        let router = |probes, door| callers(Arc::clone(&context), &gates, probes, door);
        let proxied = listeners
            .proxies
            .map(|server| server.serve(router(endpoint::probes(), Door::Proxies), stopping.cancelled()));
        let beside = listeners
            .spiffe
            .map(|server| server.serve(router(endpoint::probes(), Door::Everybody), stopping.cancelled()));
        let direct = listeners.callers.serve(router(probes, Door::Everybody), stop);
        tokio::join!(direct, OptionFuture::from(beside), OptionFuture::from(proxied));
        broker.drain().await;
        drained.cancel();
    };
    tokio::join!(calling, OptionFuture::from(operating));
}

#[cfg(test)]
mod tests;
