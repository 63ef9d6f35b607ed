//! `GET /v1/decisions/{id}`: one's own decision, told as far as the denial was; or by the policy of `decision.read` any
//! of the tenant, whole.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;

use super::id;
use crate::broker::{Read, Recorded, RecordedOutcome};
use crate::config::DenialDetail;
use crate::domain::{Code, DecisionId, ScopeName, Ttl};
use crate::http::Context;
use crate::http::answer::json;
use crate::http::evidence;
use crate::http::failure::{Failure, ToldReason, told_reasons};
use crate::http::observe::Noted;

/// A recorded decision.
#[derive(Serialize)]
struct DecisionAnswer<'a> {
    decision: DecisionId,
    at: Timestamp,
    #[serde(skip_serializing_if = "str::is_empty")]
    role: &'a str,
    #[serde(flatten)]
    outcome: OutcomeAnswer<'a>,
}

/// How it ended.
#[derive(Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
enum OutcomeAnswer<'a> {
    Allowed {
        scopes: &'a [ScopeName],
        ttl: Ttl,
        #[serde(skip_serializing_if = "Option::is_none")]
        dies_by: Option<Timestamp>,
    },
    WouldAllow {
        scopes: &'a [ScopeName],
        ttl: Ttl,
    },
    Permitted,
    Refused {
        code: Code,
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<&'a str>,
        fix: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        reasons: Vec<ToldReason<'a>>,
    },
}

pub(super) async fn get(
    State(context): State<Arc<Context>>,
    path: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let evidence = evidence::of(&context.url, &parts).map_err(Failure::request)?;
    let id = id(path, Code::DecisionUnknown).map_err(Failure::request)?;
    let shown = context.denials();
    let refused = |refusal| Failure::refused(refusal, shown);
    let source_ip = context.source_ip(&parts)?;
    let mut response = match context.broker.decision(&evidence, id, source_ip).await.map_err(refused)? {
        Read::Own(recorded) => json(&answer(&recorded, shown))?,
        Read::Whole(record) => json(&record)?,
    };
    response.extensions_mut().insert(Noted { decision: Some(id), principal: None });
    Ok(response)
}

fn answer(recorded: &Recorded, shown: DenialDetail) -> DecisionAnswer<'_> {
    let outcome = match &recorded.outcome {
        RecordedOutcome::Allowed { scopes, ttl, dies_by } => {
            OutcomeAnswer::Allowed { scopes, ttl: *ttl, dies_by: *dies_by }
        }
        RecordedOutcome::WouldAllow { scopes, ttl } => OutcomeAnswer::WouldAllow { scopes, ttl: *ttl },
        RecordedOutcome::Permitted => OutcomeAnswer::Permitted,
        RecordedOutcome::Refused(refusal) => {
            let (message, fix) = match shown {
                DenialDetail::None => (None, refusal.code.explain().fix.to_owned()),
                DenialDetail::Reasons | DenialDetail::Full => (Some(refusal.message.as_str()), refusal.fix()),
            };
            OutcomeAnswer::Refused { code: refusal.code, message, fix, reasons: told_reasons(refusal, shown) }
        }
    };
    DecisionAnswer { decision: recorded.decision, at: recorded.at, role: &recorded.role, outcome }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Reason, Refusal};

    #[test]
    fn p_08_a_decision_read_later_tells_no_more_than_its_denial_did() {
        let mut refusal =
            Refusal::new(Code::PolicyDenied, "branch is not protected").with_detail("rule text");
        refusal.reasons.push(Reason {
            package: "ci.deploy".parse().unwrap(),
            id: Some("DP-03".into()),
            message: "branch is not protected".into(),
            fix: Some("use main".into()),
        });
        let decision = DecisionId::from_bytes([1; 16]);
        let outcome = RecordedOutcome::Refused(refusal);
        let recorded = Recorded { decision, at: Timestamp::UNIX_EPOCH, role: "deploy".into(), outcome };
        let told = |shown| serde_json::to_string(&answer(&recorded, shown)).unwrap();
        let (none, reasons, full) =
            (told(DenialDetail::None), told(DenialDetail::Reasons), told(DenialDetail::Full));
        assert!(!none.contains("protected") && !none.contains("use main"), "{none}");
        assert!(reasons.contains("use main") && !reasons.contains("ci.deploy"), "{reasons}");
        assert!(!reasons.contains("DP-03"), "{reasons}");
        assert!(full.contains("ci.deploy") && full.contains("DP-03"), "{full}");
        assert!(!full.contains("rule text"), "{full}");
    }
}
