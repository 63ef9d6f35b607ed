//! Security event tokens (RFC 8417) of a configured issuer, verified as its identity tokens are.
//!
//! An issuer speaks of its own identities only: whoever holds its keys can end what it vouches for, and nothing else.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::Identity;
use super::claim::ClaimError;
use super::entry::Entry;
use super::times;
use super::token::Unverified;
use crate::config::SecurityEvents;
use crate::domain::{BlockSubject, Code, IssuerName, PrincipalKey, Refusal, TenantName};
use crate::secret::Fingerprint;

/// `CAEP` 1.0, section 3.1.
const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
/// Shared Signals Framework 1.0, section 8.1.4: sent to see whether a stream works.
const VERIFICATION: &str = "https://schemas.openid.net/secevent/ssf/event-type/verification";

/// Oldest event that is accepted: a transmitter goes on trying while Tollgate is down.
const MAX_AGE: Duration = Duration::from_hours(24);
/// Longest `jti`, bytes.
const MAX_JTI: usize = 256;

/// What a verified event says.
#[derive(Debug)]
pub enum SecurityEvent {
    /// An identity's sessions are over.
    SessionRevoked(Box<Revoked>),
    /// The stream works.
    Verification,
}

/// Whose sessions are over.
#[derive(Debug)]
pub struct Revoked {
    /// The issuer entry.
    pub issuer: IssuerName,
    /// The tenant of all its identities; none if they have several.
    pub tenant: Option<TenantName>,
    /// Whom to block.
    pub subject: BlockSubject,
    /// For how long.
    pub lasts: Duration,
    /// What the issuer says for administrators.
    pub reason: Option<String>,
    /// Hash of issuer and `jti`: the same event is the same.
    pub key: Fingerprint,
    /// Until when it would be accepted again.
    pub until: Timestamp,
}

impl Identity {
    /// Verifies a security event token and reads the one event that it is about.
    ///
    /// # Errors
    /// One of the `token_*` and `issuer_*` codes; `request_malformed` for an event or a subject that is not understood.
    pub async fn security_event(&self, token: &str) -> Result<SecurityEvent, Refusal> {
        let unverified = Unverified::parse_event(token)?;
        let (entry, settings) = self.entries.select_event(&unverified)?;
        let key = entry.key(&unverified).await?;
        let claims = unverified.verify(&key)?;
        let now = self.clock.now();
        let until = times::check_event(&claims, &entry.issuer, MAX_AGE, now)?;
        read(entry, settings, &claims, until)
    }
}

fn read(
    entry: &Entry,
    settings: &SecurityEvents,
    claims: &Map<String, Value>,
    until: Timestamp,
) -> Result<SecurityEvent, Refusal> {
    let events = claims.get("events").and_then(Value::as_object);
    let events = events.ok_or_else(|| ClaimError::new("events", "must be an object"))?;
    let Some(revoked) = events.get(SESSION_REVOKED) else {
        if events.contains_key(VERIFICATION) {
            return Ok(SecurityEvent::Verification);
        }
        return Err(malformed("the event is none that Tollgate acts on: session-revoked of CAEP"));
    };
    let jti = match claims.get("jti") {
        Some(Value::String(jti)) if (1..=MAX_JTI).contains(&jti.len()) => jti,
        Some(_) | None => return Err(ClaimError::new("jti", "must be text of 1 to 256 bytes").into()),
    };
    // CAEP 1.0 names the subject beside the events, its drafts inside the event. Two could contradict each other.
    let subject = match (claims.get("sub_id"), revoked.get("subject")) {
        (Some(subject), None) | (None, Some(subject)) => subject,
        (Some(_), Some(_)) => return Err(malformed("the event names its subject twice")),
        (None, None) => return Err(malformed("the event names no subject in sub_id")),
    };
    Ok(SecurityEvent::SessionRevoked(Box::new(Revoked {
        issuer: entry.issuer.name.clone(),
        tenant: entry.issuer.constant_tenant(),
        subject: subject_of(entry, subject)?,
        lasts: settings.block_for,
        reason: reason(revoked),
        key: Fingerprint::of(format!("tollgate/event/1\n{}\n{jti}", entry.issuer.url).as_bytes()),
        until,
    })))
}

/// A subject identifier (RFC 9493, section 3) of an identity of this issuer.
fn subject_of(entry: &Entry, subject: &Value) -> Result<BlockSubject, Refusal> {
    let text = |name: &str| subject.get(name).and_then(Value::as_str);
    match text("format") {
        Some("iss_sub") => {
            let (Some(issuer), Some(sub)) = (text("iss"), text("sub")) else {
                return Err(malformed("the subject needs iss and sub as texts"));
            };
            if issuer != entry.issuer.url.as_str() {
                return Err(malformed("the issuer speaks of another issuer's identity"));
            }
            let subject = sub.parse().map_err(|error| malformed(&format!("sub: {error}")))?;
            Ok(BlockSubject::Identity { issuer: entry.issuer.url.clone(), subject })
        }
        Some("opaque") => {
            let id = text("id").ok_or_else(|| malformed("the subject needs id as a text"))?;
            let principal: PrincipalKey = id.parse().map_err(|error| malformed(&format!("id: {error}")))?;
            if !entry.profile.vouches_for(&principal) {
                return Err(malformed("the id is no principal key of this issuer's identities"));
            }
            Ok(BlockSubject::Principal(principal))
        }
        Some(_) | None => Err(malformed("the subject's format is neither iss_sub nor opaque")),
    }
}

/// `reason_admin`: a text per language (CAEP 1.0, section 2).
fn reason(event: &Value) -> Option<String> {
    let reasons = event.get("reason_admin")?;
    let text = match reasons {
        Value::String(text) => Some(text),
        Value::Object(languages) => match languages.get("en").or_else(|| languages.values().next()) {
            Some(Value::String(text)) => Some(text),
            Some(_) | None => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => None,
    };
    text.cloned()
}

fn malformed(message: &str) -> Refusal {
    Refusal::new(Code::RequestMalformed, message)
}
