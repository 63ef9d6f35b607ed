//! `GET /livez` and `GET /readyz`.
//!
//! An issuer that is down does not make Tollgate unready: the others still work, and restarting would not help.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use crate::broker::{IssuerKeys, Readiness};
use crate::http::Context;
use crate::http::answer::json;
use crate::http::failure::Failure;

/// The body of `/readyz`; operators see the rest of it too.
#[derive(Serialize)]
struct ReadyAnswer<'a> {
    ready: bool,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    detail: Option<Detail<'a>>,
}

/// What only operators need to know.
#[derive(Serialize)]
struct Detail<'a> {
    store: &'static str,
    issuers: &'a [IssuerKeys],
}

pub(super) async fn live() -> &'static str {
    "ok\n"
}

/// For operators.
pub(super) async fn ready(State(context): State<Arc<Context>>) -> Result<Response, Failure> {
    answer(&context.broker.readiness(), true)
}

/// For everybody.
pub(super) async fn ready_or_not(State(context): State<Arc<Context>>) -> Result<Response, Failure> {
    answer(&context.broker.readiness(), false)
}

fn answer(readiness: &Readiness, detailed: bool) -> Result<Response, Failure> {
    let ready = readiness.store_writable;
    let store = if ready { "ok" } else { "unavailable" };
    let detail = detailed.then_some(Detail { store, issuers: &readiness.issuers });
    let mut response = json(&ReadyAnswer { ready, detail })?;
    if !ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_store_makes_it_unready() {
        let issuer = "github".parse().unwrap();
        let issuers = vec![IssuerKeys { issuer, keys_age_seconds: None }];
        let down = Readiness { store_writable: true, issuers };
        let response = answer(&down, true).unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = axum::body::to_bytes(response.into_body(), 1024).await.unwrap();
        let expected =
            r#"{"ready":true,"store":"ok","issuers":[{"issuer":"github","keys_age_seconds":null}]}"#;
        assert_eq!(body, expected);
        let full = Readiness { store_writable: false, issuers: Vec::new() };
        for detailed in [true, false] {
            assert_eq!(answer(&full, detailed).unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        }
    }
}
