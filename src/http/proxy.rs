//! The listener for proxies that end TLS: the certificate of a client behind one takes the place of the proxy's own.
//!
//! Nothing of a header is read before the proxy has proved who it is, and no other listener reads it at all: there, whoever
//! sends one says nothing by it. What the proxy passes on is verified like what a client shows itself, by whoever is asked
//! to believe it; that the client has its key is the proxy's word, so that a key which nothing vouches for counts for nothing.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use super::failure::Failure;
use super::{Context, Peer, client_certificate};
use crate::domain::{Code, Refusal};

/// Lets a proxy's request in, as one of the client behind it. Without a certificate of a client's it has none.
pub(super) async fn admit(
    State(context): State<Arc<Context>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let peer = request.extensions_mut().remove::<Peer>();
    let Some((address, proxy)) = peer.and_then(|peer| Some((peer.address, peer.certificate?))) else {
        let message =
            "this listener is for proxies that prove who they are by a certificate, and none was shown";
        return Err(Failure::request(Refusal::new(Code::ProxyRefused, message)));
    };
    let admitted = context.broker.admit_proxy(&proxy).await;
    let header = admitted.map_err(|refusal| Failure::refused(refusal, context.denials()))?;
    let certificate = client_certificate::read(header, request.headers(), proxy.protocol());
    let certificate = certificate.map_err(|error| Failure::request(error.into()))?;
    request.extensions_mut().insert(Peer { address, certificate });
    Ok(next.run(request).await)
}
