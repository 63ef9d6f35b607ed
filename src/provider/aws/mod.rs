//! AWS: a role session from STS, narrowed to the granted scopes.
//!
//! The role's trust policy must allow `sts:AssumeRoleWithWebIdentity` (or `sts:AssumeRole`), `sts:SetSourceIdentity`,
//! and, for roles with tags, `sts:TagSession`. Every tag is transitive: a session chained from this one can neither drop
//! nor change what it says about who asked. Nothing ends a session early: the right to do so (`iam:PutRolePolicy`) is a
//! right to grant, and is not taken (C-12).
//!
//! STS issues 15 minutes to 12 hours. Below 15 minutes the session policy closes a window (see `session_policy`). With
//! configured keys that are themselves temporary, STS calls it role chaining and gives at most one hour: the session is
//! then shorter than granted, and the answer says when it dies.

mod arn;
mod connector;
mod names;
mod refusal;
mod session_policy;
mod sts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use self::arn::RoleArn;
use self::session_policy::SessionPolicy;
use self::sts::{Session, Sts};
use super::federation::{AwsClaims, Cause, Federation};
use super::template::{Place, Values};
use super::upstream::{internal, unexpected, unfit};
use super::{SetupError, below_floor};
use crate::clock::Clock;
use crate::config::{AwsAccess, AwsRole, AwsScope, AwsTarget, ScopeSpec};
use crate::domain::{
    AwsKeys, Credential, Handle, Minted, Refusal, Revocability, ScopeName, TargetName, Window,
};
use crate::ledger::Authorised;
use crate::net::{self, Rules};
use crate::policy::Grant;

/// Shortest session, in seconds (STS API reference, parameter `DurationSeconds`).
const SHORTEST_SESSION: u32 = 900;
/// Longest session by role chaining, in seconds (IAM User Guide, "Role chaining").
const LONGEST_CHAINED: u32 = 3600;
/// Shortest window, in seconds: below it the clocks of AWS's services decide more than the policy does.
const SHORTEST_WINDOW: u32 = 60;
/// How far AWS's clock may be ahead of ours.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// Largest answer of STS, in bytes; a real one has about 2 KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// One AWS partition and region.
pub(super) struct Aws {
    target: AwsTarget,
    sts: Sts,
    federation: Arc<Federation>,
    clock: Clock,
}

/// Everything of one call that does not depend on how Tollgate proves itself.
struct SessionRequest {
    role_arn: RoleArn,
    /// `RoleSessionName`, and the source identity.
    session_name: String,
    tags: BTreeMap<String, String>,
    policy: SessionPolicy,
    /// `DurationSeconds`.
    duration: i32,
    /// When the policy's Deny closes the session, if before its end.
    window_ends: Option<Timestamp>,
}

impl Aws {
    /// Sets up a client; contacts nobody.
    ///
    /// # Errors
    /// [`SetupError::Client`].
    pub(super) fn new(
        name: &TargetName,
        target: &AwsTarget,
        federation: Arc<Federation>,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        let failed = |source| SetupError::Client { target: name.clone(), source };
        let rules = Rules {
            allow_networks: target.allow_networks.clone(),
            insecure_loopback: target.insecure_loopback,
            extra_roots: net::read_ca_file(target.ca_file.as_deref()).map_err(failed)?,
            timeout: sts::OPERATION_TIMEOUT,
            max_bytes: MAX_ANSWER,
        };
        let client = net::Client::new(rules).map_err(failed)?;
        Ok(Self { target: target.clone(), sts: Sts::new(target, client), federation, clock })
    }

    /// Checks every value that the call will carry, and names the session. Contacts nobody.
    ///
    /// # Errors
    /// `target_value_refused`, `tag_conflict`, `session_policy_too_large`, `ttl_below_floor`.
    pub(super) fn plan(&self, grant: &Grant, role: &AwsRole) -> Result<Handle, Refusal> {
        let request = self.request(grant, role, grant.facts().now())?;
        Ok(Handle::Aws { role_arn: request.role_arn.to_string(), session_name: request.session_name })
    }

    /// Assumes the role and compares the answer with the grant.
    ///
    /// # Errors
    /// One of the `provider_*` codes, or `session_policy_too_large`.
    pub(super) async fn mint(&self, auth: &Authorised, role: &AwsRole) -> Result<Minted, Refusal> {
        let grant = auth.grant();
        let request = self.request(grant, role, auth.at())?;
        let session = match &self.target.access {
            AwsAccess::Federation { audience } => {
                let claims = AwsClaims { tags: &request.tags, source_identity: &request.session_name };
                let cause = Cause::Mint(grant);
                let token =
                    self.federation.token(grant.facts().role(), audience, cause, Some(claims)).await?;
                self.sts.with_web_identity(&request, &token).await?
            }
            AwsAccess::Ambient { .. } => {
                self.sts.with_own_keys(&request, role.external_id.as_deref()).await?
            }
        };
        check(&session, &request, self.clock.now()).map_err(unexpected)?;
        Ok(self.minted(session, &request))
    }

    fn request(&self, grant: &Grant, role: &AwsRole, from: Timestamp) -> Result<SessionRequest, Refusal> {
        let ttl = grant.ttl().as_secs();
        if ttl < SHORTEST_WINDOW {
            return Err(below_floor(grant, SHORTEST_WINDOW));
        }
        let facts = grant.facts();
        let values = Values::of(facts);
        let arn =
            values.fill(&role.role_arn, Place::RoleArn).map_err(|why| unfit(format!("role_arn: {why}")))?;
        let role_arn = RoleArn::parse(&arn, &self.target.partition)
            .map_err(|why| unfit(format!("role_arn {arn:?}: {why}")))?;
        let window_ends = (ttl < SHORTEST_SESSION).then(|| whole_second(from, ttl)).transpose()?;
        let scopes = granted_scopes(grant)?;
        let policy = session_policy::build(scopes, &values, &self.target.partition, window_ends)?;
        Ok(SessionRequest {
            role_arn,
            session_name: names::session_name(facts.decision()),
            tags: names::tags(&role.tags, &values, grant.tags())?,
            policy,
            duration: self.duration(ttl)?,
            window_ends,
        })
    }

    fn duration(&self, ttl: u32) -> Result<i32, Refusal> {
        let chained = matches!(&self.target.access, AwsAccess::Ambient { session_token: Some(_), .. });
        let longest = if chained { LONGEST_CHAINED } else { u32::MAX };
        i32::try_from(ttl.max(SHORTEST_SESSION).min(longest)).map_err(|error| internal(error.to_string()))
    }

    fn minted(&self, session: Session, request: &SessionRequest) -> Minted {
        let session_ends = session.expires_at;
        let endpoint = self.target.client_endpoint.as_ref().or(self.target.endpoint.as_ref());
        Minted {
            credential: Credential::Aws(AwsKeys {
                access_key_id: session.access_key_id,
                secret_access_key: session.secret_access_key,
                session_token: session.token,
                region: self.target.region.clone(),
                endpoint: endpoint.map(|url| url.as_str().trim_end_matches('/').to_owned()),
            }),
            dies_at: request.window_ends.map_or(session_ends, |window| window.min(session_ends)),
            revocability: Revocability::DiesAtExpiry,
            window: request.window_ends.map(|window_ends| Window { window_ends, session_ends }),
        }
    }
}

/// The settings of the granted scopes.
fn granted_scopes(grant: &Grant) -> Result<Vec<(&ScopeName, &AwsScope)>, Refusal> {
    let of = |name| match grant.facts().role().scopes.get(name) {
        Some(ScopeSpec::Aws(scope)) => Ok((name, scope)),
        Some(ScopeSpec::Vault(_) | ScopeSpec::Jwt) | None => {
            Err(internal(format!("scope {name} is not one of AWS")))
        }
    };
    grant.scopes().iter().map(of).collect()
}

/// The end of a window, cut to the whole seconds that `aws:CurrentTime` has.
fn whole_second(from: Timestamp, ttl: u32) -> Result<Timestamp, Refusal> {
    Timestamp::from_second(from.as_second() + i64::from(ttl)).map_err(|error| internal(error.to_string()))
}

/// Compares what STS answered with what was asked: the right role, the right session, no longer than asked.
fn check(session: &Session, request: &SessionRequest, now: Timestamp) -> Result<(), String> {
    use secrecy::ExposeSecret;
    let expected = request.role_arn.session(&request.session_name);
    if session.arn != expected {
        return Err(format!(
            "the session is {:?}, not {expected}",
            super::upstream::quote(&session.arn, &[])
        ));
    }
    let latest = now + SignedDuration::from_secs(i64::from(request.duration)) + SKEW;
    if session.expires_at <= now || session.expires_at > latest {
        return Err(format!(
            "the session expires at {}; {} s were asked for",
            session.expires_at, request.duration
        ));
    }
    let empty = session.access_key_id.is_empty()
        || session.secret_access_key.expose_secret().is_empty()
        || session.token.expose_secret().is_empty();
    if empty { Err("a key of the session is empty".to_owned()) } else { Ok(()) }
}
