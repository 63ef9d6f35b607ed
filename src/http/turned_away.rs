//! Requests that end without a decision are counted in the ledger: bad requests, look-ups with a bad token or lease
//! secret, and what was shed. Whoever floods or probes leaves a trace there, and never a record each (S-09).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Context;
use super::failure::Failure;
use super::limits::Gate;
use super::peer::Peer;

/// Admits a request by `gate`, and counts its failure if it has no decision of its own.
pub(super) async fn admit(
    State((context, gate)): State<(Arc<Context>, Gate)>,
    request: Request,
    next: Next,
) -> Response {
    let (parts, body) = request.into_parts();
    // Forwarding headers that cannot be read are refused below; then the connection itself is the source.
    let peer = || parts.extensions.get::<Peer>().map(|peer| peer.address.ip());
    let source_ip = context.source_ip(&parts).unwrap_or_else(|_| peer());
    let response = gate.admit(Request::from_parts(parts, body), next).await.into_response();
    if let Some(failure) = response.extensions().get::<Failure>()
        && failure.decision().is_none()
    {
        context.broker.turned_away(source_ip, failure.refusal()).await;
    }
    response
}

/// Lets an address look things up as often as its budget allows.
pub(super) async fn admit_peer(
    State(context): State<Arc<Context>>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    if let Some(address) = context.source_ip(&parts)? {
        context.broker.admit_peer(address).map_err(Failure::request)?;
    }
    Ok(next.run(Request::from_parts(parts, body)).await)
}
