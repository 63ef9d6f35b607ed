//! `POST /v1/credentials`: a bearer token and a JSON body in, a leased credential out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::broker::Outcome;
use crate::domain::{Ask, FactKey, IdempotencyKey, Refusal, Scalar};
use crate::http::answer::{CredentialAnswer, GrantAnswer, LeaseAnswer, json, note};
use crate::http::body::{self, MediaType};
use crate::http::failure::Failure;
use crate::http::fields::{self, Fields, MAX_DECLARED, invalid_name, malformed, shown};
use crate::http::json::object;
use crate::http::{Context, evidence};
use crate::ledger::Leased;

/// Makes a retry safe: draft-ietf-httpapi-idempotency-key-header.
const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The members of the body.
const MEMBERS: [&str; 5] = ["role", "scopes", "ttl", "declared", "dry_run"];

/// A leased credential.
#[derive(Serialize)]
struct CredentialsAnswer<'a> {
    #[serde(flatten)]
    grant: GrantAnswer<'a>,
    lease: LeaseAnswer<'a>,
    credential: CredentialAnswer<'a>,
}

/// A dry run that would have been granted.
#[derive(Serialize)]
struct DryRunAnswer<'a> {
    #[serde(flatten)]
    grant: GrantAnswer<'a>,
    dry_run: bool,
}

pub(super) async fn post(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let source_ip = context.source_ip(&parts)?;
    let evidence = evidence::of(&context.url, &parts).map_err(Failure::request)?;
    let body = body::read(&parts.headers, body, MediaType::Json, context.limits.body_bytes);
    let body = body.await.map_err(Failure::request)?;
    let mut ask = ask(&parts.headers, &body, source_ip).map_err(Failure::request)?;
    ask.trace_parent = context.trace_parent(&parts);
    let denied = |denied| Failure::denied(denied, context.denials());
    match context.broker.exchange(evidence, ask).await.map_err(denied)? {
        Outcome::Leased(leased) => Ok(note(json(&answer(&leased))?, leased.grant())),
        Outcome::WouldAllow(grant) => {
            let would = DryRunAnswer { grant: GrantAnswer::of(&grant, None), dry_run: true };
            Ok(note(json(&would)?, &grant))
        }
    }
}

fn answer(leased: &Leased) -> CredentialsAnswer<'_> {
    CredentialsAnswer {
        grant: GrantAnswer::of(leased.grant(), leased.minted().window),
        lease: LeaseAnswer::of(leased),
        credential: CredentialAnswer::of(leased.credential()),
    }
}

fn ask(headers: &HeaderMap, body: &[u8], source_ip: Option<IpAddr>) -> Result<Ask, Refusal> {
    let mut fields = Fields::new(object(body)?, &MEMBERS)?;
    let role = fields.text("role")?.ok_or_else(|| malformed("name the role that you ask for in `role`"))?;
    let scopes = fields.texts("scopes")?;
    Ok(Ask {
        role: fields::role(&role)?,
        scopes: scopes.map(|names| fields::scopes(names.iter().map(String::as_str))).transpose()?,
        ttl: fields.ttl("ttl")?,
        declared: declared(fields.object("declared")?)?,
        idempotency_key: idempotency_key(headers)?,
        dry_run: fields.flag("dry_run")?,
        renews: None,
        source_ip,
        trace_parent: None,
    })
}

/// Flat values only, so that policy sees one of three types.
fn declared(map: Map<String, Value>) -> Result<BTreeMap<FactKey, Scalar>, Refusal> {
    if map.len() > MAX_DECLARED {
        return Err(malformed(format!("declare at most {MAX_DECLARED} keys")));
    }
    let entry = |(name, value): (String, Value)| {
        let key = name.parse().map_err(|error| invalid_name("declared key", &name, &error))?;
        let value = match value {
            Value::Bool(flag) => Some(Scalar::Bool(flag)),
            Value::Number(number) => number.as_i64().map(Scalar::Integer),
            Value::String(text) => Some(Scalar::Text(text)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let expected = || malformed(format!("declared {}: text, a whole number or a boolean", shown(&name)));
        Ok((key, value.ok_or_else(expected)?))
    };
    map.into_iter().map(entry).collect()
}

/// The idempotency key, if one was sent.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Refusal> {
    let mut lines = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(malformed("send one Idempotency-Key"));
    }
    let key = line.to_str().unwrap_or_default().parse().map_err(|error| malformed(format!("{error}")))?;
    Ok(Some(key))
}

#[cfg(test)]
pub(super) mod tests;
