//! What is not there.

use axum::http::Method;

use crate::domain::{Code, Refusal};
use crate::http::failure::Failure;

/// Any path that no endpoint has.
pub(in crate::http) async fn not_found() -> Failure {
    Failure::request(Refusal::new(Code::NotFound, "there is nothing at this path"))
}

/// A method that the path does not take; the router adds `Allow` (RFC 9110, section 15.5.6).
pub(in crate::http) async fn method_not_allowed(method: Method) -> Failure {
    let shown: String = method.as_str().chars().take(16).collect();
    Failure::request(Refusal::new(Code::MethodNotAllowed, format!("this path does not take {shown}")))
}
