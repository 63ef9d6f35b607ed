//! `GET /metrics`: the Prometheus text format.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};

use crate::http::Context;

/// Version 0.0.4 of the text format, as Prometheus' exposition format page names it.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

pub(super) async fn get(State(context): State<Arc<Context>>) -> Response {
    ([(CONTENT_TYPE, TEXT_FORMAT)], (context.metrics)()).into_response()
}
