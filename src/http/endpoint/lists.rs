//! `GET /v1/leases`, `/v1/authorisations` and `/v1/decisions`: what policy lets the caller see, newest first, page by
//! page.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use serde::ser::SerializeMap;

use crate::broker::Denied;
use crate::domain::Operation;
use crate::http::Context;
use crate::http::answer::json;
use crate::http::failure::Failure;
use crate::http::observe::Noted;
use crate::http::query::{Asked, List};
use crate::ledger::{Listed, Reading};

const LEASES: List = List {
    name: "leases",
    operation: Operation::LeaseList,
    filters: &["principal", "role", "state"],
    waits: false,
};

const AUTHORISATIONS: List = List {
    name: "authorisations",
    operation: Operation::LeaseList,
    filters: &["principal", "role"],
    waits: false,
};

const DECISIONS: List = List {
    name: "decisions",
    operation: Operation::DecisionList,
    filters: &["principal", "role", "operation", "outcome"],
    waits: false,
};

pub(super) async fn leases(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, reading) = begin(&context, request, &LEASES).await?;
    let listed = context.broker.ledger().list_leases(&reading, &asked.search, asked.limit).await;
    answer(&context, &LEASES, &reading, listed)
}

pub(super) async fn authorisations(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, reading) = begin(&context, request, &AUTHORISATIONS).await?;
    let listed = context.broker.ledger().list_unleased(&reading, &asked.search, asked.limit).await;
    answer(&context, &AUTHORISATIONS, &reading, listed)
}

pub(super) async fn decisions(
    State(context): State<Arc<Context>>,
    request: Request,
) -> Result<Response, Failure> {
    let (asked, reading) = begin(&context, request, &DECISIONS).await?;
    let listed = context.broker.ledger().list_decisions(&reading, &asked.search, asked.limit).await;
    answer(&context, &DECISIONS, &reading, listed)
}

/// Reads the query and asks whether the caller may see what it asks for.
pub(super) async fn begin(
    context: &Context,
    request: Request,
    list: &List,
) -> Result<(Asked, Reading), Failure> {
    let (parts, _) = request.into_parts();
    let source_ip = context.source_ip(&parts)?;
    let asked = Asked::read(&context.url, &parts, source_ip, list)?;
    let reading = context.broker.read(&asked.evidence, &asked.ask, asked.cursor.as_deref()).await;
    let reading = reading.map_err(|denied| Failure::denied(denied, context.denials()))?;
    Ok((asked, reading))
}

/// A refusal of a reading that was permitted.
pub(super) fn failed(context: &Context, reading: &Reading, refusal: crate::domain::Refusal) -> Failure {
    Failure::denied(Denied { decision: reading.decision(), refusal }, context.denials())
}

/// Adds to the log line who read.
pub(super) fn note(mut response: Response, reading: &Reading) -> Response {
    let principal = Some(reading.permitted().caller().principal().clone());
    response.extensions_mut().insert(Noted { decision: Some(reading.decision()), principal });
    response
}

fn answer<T: Serialize>(
    context: &Context,
    list: &List,
    reading: &Reading,
    listed: Result<Listed<T>, crate::domain::Refusal>,
) -> Result<Response, Failure> {
    let listed = listed.map_err(|refusal| failed(context, reading, refusal))?;
    Ok(note(json(&ListAnswer { name: list.name, listed: &listed })?, reading))
}

/// `{"<name>": […], "next": "<cursor>"}`, without `next` at the end.
struct ListAnswer<'a, T> {
    name: &'static str,
    listed: &'a Listed<T>,
}

impl<T: Serialize> Serialize for ListAnswer<'_, T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.name, &self.listed.entries)?;
        if let Some(next) = &self.listed.next {
            map.serialize_entry("next", next)?;
        }
        map.end()
    }
}
