//! `POST /v1/events`: an issuer pushes a security event token (RFC 8935), and what it revokes is blocked.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::domain::{Code, Refusal};
use crate::http::Context;
use crate::http::body::{self, MediaType};
use crate::http::failure::Failure;

/// Answers 202 with nothing in it once the block is recorded, also if the event is not news (RFC 8935, section 2.2).
pub(super) async fn post(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, MediaType::SecurityEvent, context.limits.body_bytes).await;
    let body = body.map_err(Failure::request)?;
    let token = std::str::from_utf8(&body)
        .map_err(|_| Failure::request(Refusal::new(Code::TokenMalformed, "the event is not text")))?;
    context.broker.security_event(token.trim_ascii()).await.map_err(Failure::request)?;
    Ok(StatusCode::ACCEPTED.into_response())
}
