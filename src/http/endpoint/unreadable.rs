//! The answer to a head that nobody could read. The connection asks for it in the place of the request that never was, so
//! that it gets what every answer gets: a code, a log line, a count.

use axum::extract::Request;

use super::not_found;
use crate::domain::Refusal;
use crate::http::failure::Failure;

/// Where the connection finds this endpoint. Asked for from outside, there is nothing here.
pub(in crate::http) const PATH: &str = "/-/unreadable-head";

/// As an extension of the request that stands for an unreadable one: why it is refused.
#[derive(Debug, Clone)]
pub(in crate::http) struct Unreadable(pub(in crate::http) Refusal);

pub(super) async fn any(request: Request) -> Failure {
    match request.extensions().get() {
        Some(Unreadable(refusal)) => Failure::request(refusal.clone()),
        None => not_found().await,
    }
}
