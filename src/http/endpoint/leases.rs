//! `GET` and `DELETE /v1/leases/{id}`: by the lease secret (`Authorization: Bearer tgl_…`), or by an identity that policy
//! lets read or end leases of its tenant.
//!
//! An unknown id, another tenant's id and a wrong secret are answered alike, so that ids cannot be probed.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use super::id;
use crate::domain::{Code, LeaseId};
use crate::http::Context;
use crate::http::answer::{LastKnown, json};
use crate::http::bearer::{self, LeaseProof};
use crate::http::failure::Failure;
use crate::http::observe::Noted;
use crate::ledger::{LeaseEntry, LeaseStatus};

/// A lease, and what is known of its credential.
#[derive(Serialize)]
struct StatusAnswer<'a> {
    #[serde(flatten)]
    status: &'a LeaseStatus,
    last_known: LastKnown,
}

pub(super) async fn get(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let (id, proof) = named(path, &parts.headers)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    match proof {
        LeaseProof::Holder(secret) => {
            let status = context.broker.lease_status(id, &secret).await.map_err(refused)?;
            answer(&status, context.clock.now())
        }
        LeaseProof::Operator(token) => {
            let source_ip = context.source_ip(&parts)?;
            entry(&context.broker.read_lease(&token, id, source_ip).await.map_err(refused)?)
        }
    }
}

/// Ends the lease; ending it again answers the same.
pub(super) async fn delete(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let (id, proof) = named(path, &parts.headers)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    match proof {
        LeaseProof::Holder(secret) => {
            let status = context.broker.end_lease(id, secret).await.map_err(refused)?;
            answer(&status, context.clock.now())
        }
        LeaseProof::Operator(token) => {
            let source_ip = context.source_ip(&parts)?;
            entry(&context.broker.end_lease_of_other(token, id, source_ip).await.map_err(refused)?)
        }
    }
}

fn named(
    path: Result<Path<String>, PathRejection>,
    headers: &HeaderMap,
) -> Result<(LeaseId, LeaseProof), Failure> {
    let proof = bearer::lease_proof(headers).map_err(Failure::request)?;
    let id = id(path, Code::LeaseUnknown).map_err(Failure::request)?;
    Ok((id, proof))
}

fn entry(entry: &LeaseEntry) -> Result<Response, Failure> {
    let mut response = json(entry)?;
    response.extensions_mut().insert(Noted { decision: Some(entry.decision), principal: None });
    Ok(response)
}

fn answer(status: &LeaseStatus, now: Timestamp) -> Result<Response, Failure> {
    let mut response = json(&StatusAnswer { status, last_known: LastKnown::of(status, now) })?;
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
            ended_at: ended_at.map(at),
            revocable,
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
        let response = answer(&status(None, Revocability::Now), Timestamp::UNIX_EPOCH).unwrap();
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        insta::assert_snapshot!(String::from_utf8(body.to_vec()).unwrap());
    }

    #[test]
    fn c_16_asks_for_the_lease_secret_before_anything_else() {
        let id = || Ok(Path(LeaseId::from_bytes([1; 16]).to_string()));
        let refused = named(id(), &HeaderMap::new()).err().unwrap();
        assert_eq!(refused.code(), Code::TokenMissing);
        let mut headers = HeaderMap::new();
        headers.insert("authorization", "Bearer tgl_guess".parse().unwrap());
        assert_eq!(named(id(), &headers).err().unwrap().code(), Code::LeaseUnknown);
        headers.insert("authorization", "Bearer eyJ.an.oidc-token".parse().unwrap());
        assert!(matches!(named(id(), &headers), Ok((_, LeaseProof::Operator(_)))));
    }
}
