//! What an exchange gave, as the wire shows it. A credential enters only inside a recorded [`Leased`].

use std::collections::BTreeSet;

use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::failure::Failure;
use super::observe::Noted;
use crate::broker::RenewalTerms;
use crate::config::Role;
use crate::domain::{
    Credential, DecisionId, LeaseId, Minted, Prolonged, Revocability, ScopeName, Ttl, Window,
};
use crate::ledger::{LeaseStatus, Leased, Renewed};
use crate::policy::Grant;

/// `body` as JSON.
pub(super) fn json(body: &impl Serialize) -> Result<Response, Failure> {
    let Ok(bytes) = serde_json::to_vec(body) else {
        return Err(Failure::internal("an answer could not be serialised"));
    };
    Ok((StatusCode::OK, [(CONTENT_TYPE, "application/json")], bytes).into_response())
}

/// Adds to the log line what `grant` says about its request.
pub(super) fn note(mut response: Response, grant: &Grant) -> Response {
    let facts = grant.facts();
    let principal = Some(facts.caller().principal().clone());
    response.extensions_mut().insert(Noted { decision: Some(facts.decision()), principal });
    response
}

/// What is known of a credential at the moment of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum LastKnown {
    /// It works.
    Alive,
    /// Its target confirmed the end.
    Ended,
    /// Its time is over.
    Expired,
}

impl LastKnown {
    /// What `status` says at `now`. A lease that was ended, but whose credential nothing can revoke, is alive: to
    /// say anything else would be a promise that the target does not keep.
    pub(super) fn of(status: &LeaseStatus, now: Timestamp) -> Self {
        match (status.ended_at, status.revocable) {
            _ if now >= status.dies_at => Self::Expired,
            (Some(_), Revocability::Now) => Self::Ended,
            (Some(_), Revocability::DiesAtExpiry) | (None, _) => Self::Alive,
        }
    }
}

/// When `minted` stops to be of use: its own end, or that of its window.
pub(super) fn ends_at(minted: &Minted) -> Timestamp {
    minted.window.map_or(minted.dies_at, |window| window.window_ends.min(minted.dies_at))
}

/// A lease, with the secret that is told this once.
#[derive(Serialize)]
pub(super) struct LeaseAnswer<'a> {
    id: LeaseId,
    /// Not told again by a renewal: who asks for it has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<&'a str>,
    dies_at: Timestamp,
    revocable: Revocability,
    last_known: LastKnown,
    #[serde(skip_serializing_if = "Option::is_none")]
    heartbeat_seconds: Option<u64>,
    #[serde(flatten)]
    renewal: Option<RenewalTerms>,
}

impl<'a> LeaseAnswer<'a> {
    pub(super) fn of(leased: &'a Leased) -> Self {
        let facts = leased.grant().facts();
        Self {
            secret: Some(leased.secret().expose()),
            revocable: leased.minted().revocability,
            ..Self::going_on(leased.id(), leased.minted().dies_at, facts.role(), facts.decision())
        }
    }

    /// A lease that lives until `dies_at`, of `role`, by the first decision `decision`.
    fn going_on(id: LeaseId, dies_at: Timestamp, role: &Role, decision: DecisionId) -> Self {
        Self {
            id,
            secret: None,
            dies_at,
            revocable: Revocability::DiesAtExpiry,
            last_known: LastKnown::Alive,
            heartbeat_seconds: role.lease.heartbeat.map(|silence| silence.as_secs()),
            renewal: RenewalTerms::of(role, decision),
        }
    }

    /// A lease after its renewal.
    pub(super) fn renewed(renewed: &Renewed) -> Self {
        let role = renewed.grant().facts().role();
        let revocable = match renewed.prolonged() {
            Prolonged::Extended { .. } => Revocability::Now,
            Prolonged::Replaced(minted) => minted.revocability,
        };
        Self { revocable, ..Self::going_on(renewed.id(), renewed.dies_at(), role, renewed.first()) }
    }
}

/// The secret part of a credential.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum CredentialAnswer<'a> {
    Aws {
        access_key_id: &'a str,
        secret_access_key: &'a str,
        session_token: &'a str,
        region: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<&'a str>,
    },
    Vault {
        address: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
        token: &'a str,
    },
    Jwt {
        token: &'a str,
        token_type: &'static str,
    },
}

impl<'a> CredentialAnswer<'a> {
    pub(super) fn of(credential: &'a Credential) -> Self {
        match credential {
            Credential::Aws(keys) => Self::Aws {
                access_key_id: &keys.access_key_id,
                secret_access_key: keys.secret_access_key.expose_secret(),
                session_token: keys.session_token.expose_secret(),
                region: &keys.region,
                endpoint: keys.endpoint.as_deref(),
            },
            Credential::Vault { address, namespace, token } => {
                Self::Vault { address, namespace: namespace.as_deref(), token: token.expose_secret() }
            }
            Credential::Jwt { token } => Self::Jwt { token: token.expose_secret(), token_type: "Bearer" },
        }
    }
}

/// What was granted, and where that is less than what was asked for.
#[derive(Serialize)]
pub(super) struct GrantAnswer<'a> {
    pub(super) decision: DecisionId,
    pub(super) scopes: &'a BTreeSet<ScopeName>,
    pub(super) ttl: Ttl,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) window: Option<Window>,
    #[serde(skip_serializing_if = "Narrowed::is_empty")]
    pub(super) narrowed: Narrowed<'a>,
}

impl<'a> GrantAnswer<'a> {
    pub(super) fn of(grant: &'a Grant, window: Option<Window>) -> Self {
        let decision = grant.facts().decision();
        let narrowed = Narrowed::of(grant);
        Self { decision, scopes: grant.scopes(), ttl: grant.ttl(), window, narrowed }
    }
}

/// The limits that policy put on the request; absent where it got what it asked for.
#[derive(Serialize)]
pub(super) struct Narrowed<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    scopes: Option<Change<&'a BTreeSet<ScopeName>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<Change<Ttl>>,
}

/// Before and after.
#[derive(Serialize)]
struct Change<T> {
    requested: T,
    granted: T,
}

impl<T: PartialEq> Change<T> {
    fn of(requested: T, granted: T) -> Option<Self> {
        (requested != granted).then_some(Self { requested, granted })
    }
}

impl<'a> Narrowed<'a> {
    fn of(grant: &'a Grant) -> Self {
        let facts = grant.facts();
        Self::between((facts.scopes(), facts.ttl()), (grant.scopes(), grant.ttl()))
    }

    fn between(requested: (&'a BTreeSet<ScopeName>, Ttl), granted: (&'a BTreeSet<ScopeName>, Ttl)) -> Self {
        Self { scopes: Change::of(requested.0, granted.0), ttl: Change::of(requested.1, granted.1) }
    }

    const fn is_empty(&self) -> bool {
        self.scopes.is_none() && self.ttl.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tells_what_was_narrowed_and_only_that() {
        let scopes = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
        let (asked, got): (BTreeSet<ScopeName>, _) = (scopes(&["read", "write"]), scopes(&["read"]));
        let (hour, half) = (Ttl::from_secs(3600).unwrap(), Ttl::from_secs(1800).unwrap());
        let told = |narrowed: &Narrowed<'_>| serde_json::to_value(narrowed).unwrap();
        let ttl_only = Narrowed::between((&asked, hour), (&asked, half));
        assert_eq!(told(&ttl_only), json!({"ttl": {"requested": "1h", "granted": "30m"}}));
        let scopes_only = Narrowed::between((&asked, hour), (&got, hour));
        let expected = json!({"scopes": {"requested": ["read", "write"], "granted": ["read"]}});
        assert_eq!(told(&scopes_only), expected);
        assert!(Narrowed::between((&asked, hour), (&asked, hour)).is_empty());
    }
}
