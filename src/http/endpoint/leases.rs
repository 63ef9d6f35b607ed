//! `GET` and `DELETE /v1/leases/{id}`: by the lease secret (`Authorization: Bearer tgl_…`), or by an identity that policy
//! lets read or end leases of its tenant. `POST …/heartbeat` and `POST …/renew`: by the lease secret alone.
//!
//! An unknown id, another tenant's id and a wrong secret are answered alike, so that ids cannot be probed.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use super::id;
use crate::broker::{LeaseView, NotRenewed, RenewalTerms, Wish};
use crate::domain::{Code, IssuerUrl, LeaseId, Prolonged, Refusal, Ttl};
use crate::http::Context;
use crate::http::answer::{CredentialAnswer, GrantAnswer, LastKnown, LeaseAnswer, json, note};
use crate::http::body::{self, MediaType};
use crate::http::evidence::{self, LeaseProof};
use crate::http::failure::Failure;
use crate::http::fields::Fields;
use crate::http::json::object;
use crate::http::observe::Noted;
use crate::identity::Held;
use crate::ledger::{LeaseEntry, LeaseStatus};

/// A lease, and what is known of its credential.
#[derive(Serialize)]
struct StatusAnswer<'a> {
    #[serde(flatten)]
    status: &'a LeaseStatus,
    last_known: LastKnown,
    #[serde(flatten)]
    renewal: Option<RenewalTerms>,
}

/// A lease that lives longer, with the credential that takes the place of the former one, if one does.
#[derive(Serialize)]
struct RenewedAnswer<'a> {
    #[serde(flatten)]
    grant: GrantAnswer<'a>,
    lease: LeaseAnswer<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential: Option<CredentialAnswer<'a>>,
}

pub(super) async fn get(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let (id, proof) = named(path, &context.url, &parts)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    match proof {
        LeaseProof::Holder(held) => {
            let view = context.broker.lease_status(id, &held).await.map_err(refused)?;
            answer(&view, context.clock.now())
        }
        LeaseProof::Operator(evidence) => {
            let source_ip = context.source_ip(&parts)?;
            entry(&context.broker.read_lease(&evidence, id, source_ip).await.map_err(refused)?)
        }
    }
}

/// Says that its holder is there. Cheap: it is written with others, within seconds.
pub(super) async fn heartbeat(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (id, held) = held(path, &context.url, &request.into_parts().0)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    let view = context.broker.beat_lease(id, &held).await.map_err(refused)?;
    answer(&view, context.clock.now())
}

/// Lets the lease live longer, if policy still allows it.
pub(super) async fn renew(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, body) = request.into_parts();
    let (id, held) = held(path, &context.url, &parts)?;
    let source_ip = context.source_ip(&parts)?;
    let ttl = if parts.headers.contains_key(CONTENT_TYPE) {
        let body = body::read(&parts.headers, body, MediaType::Json, context.limits.body_bytes).await;
        wished(&body.map_err(Failure::request)?).map_err(Failure::request)?
    } else {
        None
    };
    let actor = evidence::actor(&parts.headers).map_err(Failure::request)?;
    let certificate = held.certificate.clone();
    let wish = Wish { ttl, actor, certificate, source_ip, trace_parent: context.trace_parent(&parts) };
    let renewed = context.broker.renew_lease(id, &held, wish).await;
    let renewed = renewed.map_err(|refused| match refused {
        NotRenewed::Refused(refusal) => Failure::refused(refusal, context.denials()),
        NotRenewed::Denied(denied) => Failure::denied(denied, context.denials()),
    })?;
    let (window, credential) = match renewed.prolonged() {
        Prolonged::Extended { .. } => (None, None),
        Prolonged::Replaced(minted) => (minted.window, Some(CredentialAnswer::of(&minted.credential))),
    };
    let grant = GrantAnswer::of(renewed.grant(), window);
    let answer = RenewedAnswer { grant, lease: LeaseAnswer::renewed(&renewed), credential };
    Ok(note(json(&answer)?, renewed.grant()))
}

/// The lifetime that the body of a renewal wishes for.
fn wished(body: &[u8]) -> Result<Option<Ttl>, Refusal> {
    Fields::new(object(body)?, &["ttl"])?.ttl("ttl")
}

/// Ends the lease; ending it again answers the same.
pub(super) async fn delete(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let (id, proof) = named(path, &context.url, &parts)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    match proof {
        LeaseProof::Holder(held) => {
            let view = context.broker.end_lease(id, held).await.map_err(refused)?;
            answer(&view, context.clock.now())
        }
        LeaseProof::Operator(evidence) => {
            let source_ip = context.source_ip(&parts)?;
            entry(&context.broker.end_lease_of_other(evidence, id, source_ip).await.map_err(refused)?)
        }
    }
}

/// The lease that the path names, and its secret: no identity holds a lease.
fn held(
    path: Result<Path<String>, PathRejection>,
    url: &IssuerUrl,
    parts: &Parts,
) -> Result<(LeaseId, Held), Failure> {
    let held = evidence::held(url, parts).map_err(Failure::request)?;
    let id = id(path, Code::LeaseUnknown).map_err(Failure::request)?;
    Ok((id, held))
}

fn named(
    path: Result<Path<String>, PathRejection>,
    url: &IssuerUrl,
    parts: &Parts,
) -> Result<(LeaseId, LeaseProof), Failure> {
    let proof = evidence::of_lease(url, parts).map_err(Failure::request)?;
    let id = id(path, Code::LeaseUnknown).map_err(Failure::request)?;
    Ok((id, proof))
}

fn entry(entry: &LeaseEntry) -> Result<Response, Failure> {
    let mut response = json(entry)?;
    response.extensions_mut().insert(Noted { decision: Some(entry.decision), principal: None });
    Ok(response)
}

fn answer(view: &LeaseView, now: Timestamp) -> Result<Response, Failure> {
    let LeaseView { status, renewal } = view;
    let mut response =
        json(&StatusAnswer { status, last_known: LastKnown::of(status, now), renewal: *renewal })?;
    response.extensions_mut().insert(Noted { decision: Some(status.decision), principal: None });
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DecisionId, Revocability};

    fn status(ended_at: Option<i64>, revocable: Revocability) -> LeaseStatus {
        let at = |second| Timestamp::from_second(second).unwrap();
        LeaseStatus {
            id: LeaseId::from_bytes([1; 16]),
            decision: DecisionId::from_bytes([2; 16]),
            role: "deploy".into(),
            issued_at: at(0),
            dies_at: at(900),
            end_asked_at: ended_at.map(at),
            ended_at: ended_at.map(at),
            revocable,
            heartbeat_seconds: None,
            last_beat_at: None,
        }
    }

    #[test]
    fn c_06_says_ended_only_where_the_target_really_ends_it() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let known = |ended, revocable, now| LastKnown::of(&status(ended, revocable), at(now));
        assert_eq!(known(None, Revocability::Now, 10), LastKnown::Alive);
        assert_eq!(known(Some(5), Revocability::Now, 10), LastKnown::Ended);
        assert_eq!(known(Some(5), Revocability::DiesAtExpiry, 10), LastKnown::Alive);
        assert_eq!(known(Some(5), Revocability::DiesAtExpiry, 900), LastKnown::Expired);
    }

    #[tokio::test]
    async fn the_answer_says_when_it_dies_and_what_is_known() {
        let view = LeaseView { status: status(None, Revocability::Now), renewal: None };
        let response = answer(&view, Timestamp::UNIX_EPOCH).unwrap();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        insta::assert_snapshot!(String::from_utf8(body.to_vec()).unwrap());
    }

    #[test]
    fn c_16_asks_for_the_lease_secret_before_anything_else() {
        let id = || Ok(Path(LeaseId::from_bytes([1; 16]).to_string()));
        let url = "https://tollgate.example".parse().unwrap();
        let parts =
            |token: &str| Request::get("/").header("authorization", token).body(()).unwrap().into_parts().0;
        let none = Request::get("/").body(()).unwrap().into_parts().0;
        assert_eq!(named(id(), &url, &none).err().unwrap().code(), Code::TokenMissing);
        assert_eq!(named(id(), &url, &parts("Bearer tgl_guess")).err().unwrap().code(), Code::LeaseUnknown);
        let identity = parts("Bearer eyJ.an.oidc-token");
        assert!(matches!(named(id(), &url, &identity), Ok((_, LeaseProof::Operator(_)))));
        let refused = held(id(), &url, &identity).unwrap_err();
        assert_eq!(refused.code(), Code::LeaseUnknown, "no identity holds a lease");
    }
}
