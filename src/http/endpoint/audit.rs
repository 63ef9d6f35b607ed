//! `GET /v1/audit`: records of the audit chain as JSON lines, oldest first. The header `tollgate-cursor` says where to go
//! on, also when there is nothing more yet, which `tollgate-more` tells: to follow the chain is to ask again, and to `wait` a while for what comes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponse, Response};

use super::lists::{begin, failed, note};
use crate::domain::Operation;
use crate::http::Context;
use crate::http::failure::Failure;
use crate::http::query::List;

/// Where to go on.
const CURSOR: HeaderName = HeaderName::from_static("tollgate-cursor");
/// `true` if there are more records now.
const MORE: HeaderName = HeaderName::from_static("tollgate-more");

const AUDIT: List = List { name: "audit", operation: Operation::AuditRead, filters: &["from"], waits: true };

pub(super) async fn get(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (asked, reading) = begin(&context, request, &AUDIT).await?;
    let ledger = context.broker.ledger();
    let listed = match asked.wait {
        // Only a reading that goes on knows after which record it waits.
        Some(wait) if asked.cursor.is_some() => {
            context.followers.follow(ledger, &reading, asked.limit, wait).await
        }
        Some(_) | None => ledger.list_audit(&reading, asked.from, asked.limit).await,
    };
    let listed = listed.map_err(|refusal| failed(&context, &reading, refusal))?;
    let mut body = Vec::new();
    for entry in &listed.entries {
        if serde_json::to_writer(&mut body, entry).is_err() {
            return Err(Failure::internal("a record could not be serialised"));
        }
        body.push(b'\n');
    }
    let Ok(cursor) = HeaderValue::try_from(listed.next) else {
        return Err(Failure::internal("a cursor is no header value"));
    };
    let more = HeaderValue::from_static(if listed.more { "true" } else { "false" });
    let kind = HeaderValue::from_static("application/jsonl");
    let response = ([(CONTENT_TYPE, kind), (CURSOR, cursor), (MORE, more)], body).into_response();
    Ok(note(response, &reading))
}
