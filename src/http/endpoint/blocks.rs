//! `/v1/blocks`: set, list, look at and lift blocks, by the policy of the operation `block`.
//!
//! A caller reaches its own tenant; one of the server's own reaches every tenant where the settings say so.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::id;
use crate::domain::{
    BlockId, BlockReason, BlockSubject, BlockTime, Code, DecisionId, Operation, OperationAsk, Refusal,
    TenantName,
};
use crate::http::Context;
use crate::http::answer::json;
use crate::http::body::{self, MediaType};
use crate::http::evidence;
use crate::http::failure::Failure;
use crate::http::fields::{Fields, malformed};
use crate::http::json::object;
use crate::http::observe::Noted;
use crate::ledger::{Block, BlocksSet, NewBlock, Permitted, Toll};

/// The members of the body of `POST`.
const MEMBERS: [&str; 5] = ["subject", "reason", "for", "tenant", "dry_run"];

/// A block and its account, or the account of one that would be.
#[derive(Serialize)]
struct BlockAnswer<'a> {
    decision: DecisionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    block: Option<&'a Block>,
    #[serde(flatten)]
    toll: &'a Toll,
}

/// The blocks in force.
#[derive(Serialize)]
struct ListAnswer<'a> {
    decision: DecisionId,
    blocks: &'a [Block],
}

/// What is asked of policy: the operation is one, what is done with it is in the filter.
async fn permitted(
    context: &Context,
    parts: &Parts,
    tenant: Option<TenantName>,
    filter: BTreeMap<&'static str, String>,
) -> Result<Permitted, Failure> {
    let evidence = evidence::of(&context.url, parts).map_err(Failure::request)?;
    let source_ip = context.source_ip(parts)?;
    let ask = OperationAsk { operation: Operation::Block, tenant, filter, source_ip };
    let denied = |denied| Failure::denied(denied, context.denials());
    context.broker.operate(&evidence, &ask).await.map_err(denied)
}

fn noted(mut response: Response, permitted: &Permitted) -> Response {
    let principal = Some(permitted.caller().principal().clone());
    response.extensions_mut().insert(Noted { decision: Some(permitted.decision()), principal });
    response
}

/// What a body asks for.
struct Asked {
    subject: BlockSubject,
    reason: BlockReason,
    lasts: Option<BlockTime>,
    tenant: Option<TenantName>,
    dry_run: bool,
}

fn asked(body: &[u8]) -> Result<Asked, Refusal> {
    let mut fields = Fields::new(object(body)?, &MEMBERS)?;
    let mut text = |name: &'static str| fields.text(name);
    let (subject, reason) = (text("subject")?, text("reason")?);
    let (lasts, tenant) = (text("for")?, text("tenant")?);
    let subject = subject.ok_or_else(|| malformed("name what to block in `subject`"))?;
    let reason = reason.ok_or_else(|| malformed("say why in `reason`"))?;
    let wrong = |name: &str, error: &dyn std::fmt::Display| malformed(format!("{name}: {error}"));
    Ok(Asked {
        subject: subject.parse().map_err(|error| wrong("subject", &error))?,
        reason: reason.parse().map_err(|error| wrong("reason", &error))?,
        lasts: lasts.map(|text| text.parse().map_err(|error| wrong("for", &error))).transpose()?,
        tenant: tenant.map(|text| text.parse().map_err(|error| wrong("tenant", &error))).transpose()?,
        dry_run: fields.flag("dry_run")?,
    })
}

/// Sets a block, or says what it would be about.
pub(super) async fn post(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let body = body::read(&parts.headers, body, MediaType::Json, context.limits.body_bytes).await;
    let Asked { subject, reason, lasts, tenant, dry_run } =
        asked(&body.map_err(Failure::request)?).map_err(Failure::request)?;
    let action = if dry_run { "preview" } else { "set" };
    let filter = [("action", action.to_owned()), ("subject", subject.to_string())];
    let permitted = permitted(&context, &parts, tenant, filter.into()).await?;
    let tenant = permitted.tenants().one();
    let refused = |refusal| Failure::refused(refusal, context.denials());
    let (block, toll) = if dry_run {
        let toll = context.broker.toll_of_subject(&subject, tenant).await.map_err(refused)?;
        (None, toll)
    } else {
        let by = format!("{} of {}", permitted.caller().principal(), permitted.caller().tenant());
        let lasts = lasts.map(BlockTime::as_duration);
        let new = NewBlock { tenant: tenant.cloned(), subject, reason, by, lasts };
        let set = context.broker.block(vec![new], None).await.map_err(refused)?;
        let id = match set {
            BlocksSet::InForce(ids) => ids.first().copied(),
            BlocksSet::SeenBefore => None,
        };
        let id = id.ok_or_else(|| Failure::internal("no block was set"))?;
        let (block, toll) = context.broker.toll_of_block(id, tenant).await.map_err(refused)?;
        (Some(block), toll)
    };
    let answer = BlockAnswer { decision: permitted.decision(), block: block.as_ref(), toll: &toll };
    Ok(noted(json(&answer)?, &permitted))
}

/// The blocks in force that the caller may see.
pub(super) async fn list(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let permitted = permitted(&context, &parts, None, [("action", "list".to_owned())].into()).await?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    let blocks = context.broker.blocks(permitted.tenants().one(), false).await.map_err(refused)?;
    let answer = ListAnswer { decision: permitted.decision(), blocks: &blocks };
    Ok(noted(json(&answer)?, &permitted))
}

/// One block, and what became of what it was about.
pub(super) async fn get(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let block: BlockId = id(path, Code::BlockUnknown).map_err(Failure::request)?;
    let filter = [("action", "status".to_owned()), ("block", block.to_string())];
    let permitted = permitted(&context, &parts, None, filter.into()).await?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    let found = context.broker.toll_of_block(block, permitted.tenants().one()).await;
    let (block, toll) = found.map_err(refused)?;
    let answer = BlockAnswer { decision: permitted.decision(), block: Some(&block), toll: &toll };
    Ok(noted(json(&answer)?, &permitted))
}

/// Lifts a block; what it ended stays ended.
pub(super) async fn delete(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let block: BlockId = id(path, Code::BlockUnknown).map_err(Failure::request)?;
    let filter = [("action", "lift".to_owned()), ("block", block.to_string())];
    let permitted = permitted(&context, &parts, None, filter.into()).await?;
    let by = format!("{} of {}", permitted.caller().principal(), permitted.caller().tenant());
    let refused = |refusal| Failure::refused(refusal, context.denials());
    context.broker.lift(block, permitted.tenants().one(), by).await.map_err(refused)?;
    Ok(noted(StatusCode::NO_CONTENT.into_response(), &permitted))
}
