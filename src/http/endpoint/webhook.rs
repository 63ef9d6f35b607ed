//! `POST /v1/blocks/webhook/{name}`: an alert sets blocks, as far as the webhook's settings let it.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use serde::Serialize;
use serde_json::Value;

use crate::domain::BlockId;
use crate::http::answer::json;
use crate::http::body::{self, MediaType};
use crate::http::failure::Failure;
use crate::http::json::alert;
use crate::http::signature;
use crate::http::{Context, Peer};
use crate::ledger::BlocksSet;

/// What the alert did.
#[derive(Serialize)]
struct AlertAnswer {
    /// In force now; empty if the same alert was taken before.
    blocks: Vec<BlockId>,
    seen_before: bool,
}

pub(super) async fn post(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, MediaType::Json, context.limits.body_bytes).await;
    let body = body.map_err(Failure::request)?;
    let loaded = context.broker.loaded();
    let webhook = path.ok().and_then(|Path(name)| loaded.config.settings.webhooks.get(&name));
    let webhook = webhook.ok_or_else(|| Failure::request(signature::refused("no such webhook")))?;
    let peer = parts.extensions.get::<Peer>().and_then(|peer| peer.certificate.as_ref());
    let once = signature::verify(webhook, &parts.headers, peer, &body, context.clock.now());
    let once = once.map_err(Failure::request)?;
    let alert = Value::Object(alert(&body).map_err(Failure::request)?);
    let set = context.broker.alert(webhook, &alert, once).await.map_err(Failure::request)?;
    json(&match set {
        BlocksSet::InForce(blocks) => AlertAnswer { blocks, seen_before: false },
        BlocksSet::SeenBefore => AlertAnswer { blocks: Vec::new(), seen_before: true },
    })
}
