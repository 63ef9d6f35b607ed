//! What a request shows of who asks: read from its head, verified by the broker.

use axum::http::request::Parts;

use super::bearer;
use crate::domain::Refusal;
use crate::identity::Evidence;

/// The evidence in the request's head.
///
/// # Errors
/// `token_missing`, `token_malformed`, `token_too_large`.
pub(super) fn of(parts: &Parts) -> Result<Evidence, Refusal> {
    bearer::token(&parts.headers).map(Evidence::from)
}
