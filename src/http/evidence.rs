//! What a request shows of who asks: read from its head and its connection, verified by the broker.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;

use super::{Peer, bearer};
use crate::domain::Refusal;
use crate::identity::Evidence;
use crate::net::PeerCertificate;

/// The evidence in the request's head and of its connection. A header that is there and broken is refused, whatever the
/// connection shows.
///
/// # Errors
/// `token_missing`, `token_malformed`, `token_too_large`.
pub(super) fn of(parts: &Parts) -> Result<Evidence, Refusal> {
    let certificate = certificate(parts);
    if certificate.is_some() && !parts.headers.contains_key(AUTHORIZATION) {
        return Ok(Evidence { token: None, certificate });
    }
    Ok(Evidence { token: Some(bearer::token(&parts.headers)?), certificate })
}

/// What the other end of the connection proved possession of.
pub(super) fn certificate(parts: &Parts) -> Option<PeerCertificate> {
    parts.extensions.get::<Peer>().and_then(|peer| peer.certificate.clone())
}
