//! A refusal on its way to the caller, and the one place that writes it down.
//!
//! [`Refusal::detail`] is never serialised here: it belongs to the record.

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::error::{oauth_error, oauth_status, status};
use super::event_error::{event_error, event_status};
use super::observe::RequestId;
use crate::broker::Denied;
use crate::config::DenialDetail;
use crate::domain::{Code, DecisionId, PackageName, Refusal};
use crate::identity::ALGORITHMS;

/// Seconds after which to retry, where a status asks for it and the refusal does not say.
const DEFAULT_RETRY_AFTER: u32 = 5;

/// A request that ends without what it asked for.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    refusal: Refusal,
    decision: Option<DecisionId>,
    shown: DenialDetail,
}

impl Failure {
    /// The request itself cannot be served. All that is said about it is the caller's own, so all of it is shown.
    pub(super) const fn request(refusal: Refusal) -> Self {
        Self { refusal, decision: None, shown: DenialDetail::Reasons }
    }

    /// Tollgate itself failed; `detail` goes to the log alone.
    pub(super) fn internal(detail: &'static str) -> Self {
        tracing::error!(detail, "the request failed inside");
        Self::request(Refusal::new(Code::Internal, "Tollgate failed"))
    }

    /// The broker refused without a decision, as for a look-up.
    pub(super) const fn refused(refusal: Refusal, shown: DenialDetail) -> Self {
        Self { refusal, decision: None, shown }
    }

    /// The broker refused an exchange.
    pub(super) fn denied(denied: Denied, shown: DenialDetail) -> Self {
        Self { refusal: denied.refusal, decision: Some(denied.decision), shown }
    }

    /// The code.
    pub(super) const fn code(&self) -> Code {
        self.refusal.code
    }

    /// The refusal; its detail is not for the caller.
    pub(super) const fn refusal(&self) -> &Refusal {
        &self.refusal
    }

    /// The decision, if there was one.
    pub(super) const fn decision(&self) -> Option<DecisionId> {
        self.decision
    }

    fn retry_after(&self, status: StatusCode) -> Option<u32> {
        let wait = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        self.refusal.retry_after.or(wait.then_some(DEFAULT_RETRY_AFTER))
    }

    /// What the configuration lets the caller see of the refusal.
    fn told(&self) -> Told<'_> {
        let explained = self.refusal.code.explain();
        let next = match self.decision {
            Some(id) => explained.next.replace("DECISION", &id.to_string()),
            None => explained.next.replace("explain DECISION", "--help"),
        };
        let (message, fix) = match self.shown {
            DenialDetail::None => (None, explained.fix.to_owned()),
            DenialDetail::Reasons | DenialDetail::Full => {
                (Some(self.refusal.message.as_str()), self.refusal.fix())
            }
        };
        Told { message, fix, next, reasons: told_reasons(&self.refusal, self.shown) }
    }
}

/// The filtered text of a refusal.
struct Told<'a> {
    message: Option<&'a str>,
    fix: String,
    next: String,
    reasons: Vec<ToldReason<'a>>,
}

/// A policy's reason, as far as the caller may see it.
#[derive(Debug, Serialize)]
pub(super) struct ToldReason<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a PackageName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fix: Option<&'a str>,
}

/// The reasons of `refusal` that `shown` allows.
pub(super) fn told_reasons(refusal: &Refusal, shown: DenialDetail) -> Vec<ToldReason<'_>> {
    let full = match shown {
        DenialDetail::None => return Vec::new(),
        DenialDetail::Reasons => false,
        DenialDetail::Full => true,
    };
    refusal
        .reasons
        .iter()
        .map(|reason| ToldReason {
            package: full.then_some(&reason.package),
            id: reason.id.as_deref().filter(|_| full),
            message: &reason.message,
            fix: reason.fix.as_deref(),
        })
        .collect()
}

/// Problem details (RFC 9457, section 3.1) with our members (section 3.2).
#[derive(Serialize)]
struct Problem<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    instance: String,
    #[serde(flatten)]
    members: Members<'a>,
}

/// An error of the token endpoint (RFC 6749, section 5.2) with our members.
#[derive(Serialize)]
struct TokenError<'a> {
    error: &'static str,
    error_description: String,
    #[serde(flatten)]
    members: Members<'a>,
}

/// An error of the endpoint for security events (RFC 8935, section 2.3) with our members.
#[derive(Serialize)]
struct EventError<'a> {
    err: &'static str,
    description: String,
    #[serde(flatten)]
    members: Members<'a>,
}

/// What all surfaces say beyond their standards.
#[derive(Serialize)]
struct Members<'a> {
    code: Code,
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<DecisionId>,
    fix: String,
    next: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ToldReason<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u32>,
}

/// Who reads the failure, by the path that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surface {
    /// Problem details.
    Problem,
    /// The OAuth token endpoint.
    Token,
    /// The endpoint for security events.
    Event,
}

impl Surface {
    pub(super) fn of(path: &str) -> Self {
        match path {
            "/token" => Self::Token,
            "/v1/events" => Self::Event,
            _ => Self::Problem,
        }
    }
}

/// Gives a [`Failure`] its status, headers and body.
pub(super) fn render(mut response: Response, surface: Surface, id: &RequestId) -> Response {
    let Some(failure) = response.extensions().get::<Failure>().cloned() else { return response };
    let (status, kind, body) = written(&failure, surface, id);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    advise(&failure, status, response.headers_mut());
    *response.body_mut() = body.into();
    response
}

fn written(failure: &Failure, surface: Surface, id: &RequestId) -> (StatusCode, &'static str, Vec<u8>) {
    let code = failure.code();
    let Told { message, fix, next, reasons } = failure.told();
    let status = match surface {
        Surface::Problem => status(code),
        Surface::Token => oauth_status(code),
        Surface::Event => event_status(code),
    };
    let retry_after = failure.retry_after(status);
    let members = Members { code, decision: failure.decision, fix, next, reasons, retry_after };
    let title = code.explain().cause;
    let (kind, body) = match surface {
        Surface::Problem => {
            let kind = format!("urn:tollgate:problem:{code}");
            let instance = format!("urn:tollgate:request:{id}");
            let status = status.as_u16();
            let problem = Problem { kind, title, status, detail: message, instance, members };
            ("application/problem+json", serde_json::to_vec(&problem))
        }
        Surface::Token => {
            let error_description = plain(message.unwrap_or(title));
            let error = TokenError { error: oauth_error(code).as_str(), error_description, members };
            ("application/json", serde_json::to_vec(&error))
        }
        Surface::Event => {
            let description = plain(message.unwrap_or(title));
            let error = EventError { err: event_error(code), description, members };
            ("application/json", serde_json::to_vec(&error))
        }
    };
    (status, kind, body.unwrap_or_default())
}

/// Headers that the status calls for.
fn advise(failure: &Failure, status: StatusCode, headers: &mut HeaderMap) {
    if let Some(seconds) = failure.retry_after(status) {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    if status == StatusCode::UNAUTHORIZED {
        // RFC 6750, section 3: no error code if the request carried no token.
        let challenge = match failure.code() {
            Code::TokenMissing => r#"Bearer realm="tollgate""#.to_owned(),
            // RFC 9449, section 7.1: which algorithms a proof may have.
            Code::ProofMissing => dpop("invalid_token"),
            Code::ProofInvalid | Code::ProofReplayed => dpop("invalid_dpop_proof"),
            _ => r#"Bearer realm="tollgate", error="invalid_token""#.to_owned(),
        };
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
    }
}

fn dpop(error: &str) -> String {
    format!(r#"DPoP realm="tollgate", error="{error}", algs="{}""#, ALGORITHMS.join(" "))
}

/// `text` within the characters of `error_description` (RFC 6749, section 5.2); `reasons` keep the exact text.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '"' => '\'',
            '\\' => '/',
            ' '..='~' => c,
            _ => '?',
        })
        .collect()
}

impl IntoResponse for Failure {
    /// Only marks the answer; [`render`] writes it. Unrendered, it is a bare 500 and tells nothing.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
