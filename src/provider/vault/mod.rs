//! Vault and `OpenBao`: a child token of a login that only one Tollgate role can make.
//!
//! *Plan* logs in with a federation token: its accessor is the handle. The login role gives at most two minutes, so that
//! a login nobody recorded dies by itself. *Mint* extends the login to the granted lifetime and creates the child, which
//! dies with it: revoking the login by its accessor ends both, and all that the child made.
//!
//! If the role's leases can be renewed, the child is made to last for the whole session, and the login alone, which dies
//! with the granted lifetime and takes the child with it, is extended by its accessor at each renewal.
//!
//! The login role is bound to `sub = role:<tenant>:<role>` (C-13) and holds the policies of that role's scopes, for a
//! child's are a subset of its parent's, and one that lets it use `auth/token/create`, `renew-self`, `revoke-self`,
//! `revoke-accessor` and, for roles with `max_session`, `renew-accessor`, and for roles with `cidrs`, `create/<login_role>` and `lookup-accessor`.
//!
//! Vault's token creation takes no networks, and ignores them silently if asked. A role with `cidrs` therefore creates its child
//! by the *token role* of the same name as the login role, which carries `token_bound_cidrs`; that the child is bound to
//! exactly these is looked up before it is handed out.

mod check;
mod client;
mod logins;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use secrecy::SecretString;

use self::check::{Asked, as_networks};
use self::client::{CallError, Client, Meta};
use self::logins::{Full, Logins};
use self::wire::{Auth, Create};
use super::federation::{Cause, Federation};
use super::upstream::{internal, refused, throttled, unexpected};
use super::{Ended, SetupError};
use crate::clock::Clock;
use crate::config::{Role, VaultRole, VaultTarget};
use crate::domain::{Credential, Handle, Minted, Prolonged, Refusal, Revocability, TargetName};
use crate::ledger::Authorised;
use crate::net::{self, NetError, Rules, ServerProof, WorkloadApi};
use crate::policy::Grant;

/// Longest time for one call.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer, in bytes; a real one has about 1 KiB.
const MAX_ANSWER: usize = 64 * 1024;

/// One Vault or `OpenBao` server.
pub(super) struct Vault {
    target: VaultTarget,
    client: Client,
    logins: Logins,
    federation: Arc<Federation>,
    clock: Clock,
}

impl Vault {
    /// Sets up a client; contacts nobody.
    ///
    /// # Errors
    /// [`SetupError`].
    pub(super) fn new(
        name: &TargetName,
        target: &VaultTarget,
        federation: Arc<Federation>,
        clock: Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, SetupError> {
        let failed = |source| SetupError::Client { target: name.clone(), source };
        let rules = Rules {
            allow_networks: target.allow_networks.clone(),
            insecure_loopback: target.insecure_loopback,
            extra_roots: net::read_ca_file(target.ca_file.as_deref()).map_err(failed)?,
            timeout: CALL_TIMEOUT,
            max_bytes: MAX_ANSWER,
        };
        let net = connect(target, rules, workload, &clock).map_err(failed)?;
        let setting = |setting, grammar| SetupError::Setting { target: name.clone(), setting, grammar };
        let printable = |text: &String| text.bytes().all(|byte| byte.is_ascii_graphic());
        if !target.namespace.as_ref().is_none_or(printable) {
            return Err(setting("namespace", "printable ASCII"));
        }
        let mount = mount(&target.mount)
            .ok_or_else(|| setting("mount", "names of [A-Za-z0-9_.-], joined by /, without . and .."))?;
        let client = Client::new(net, target.address.clone(), target.namespace.clone(), mount);
        Ok(Self { target: target.clone(), client, logins: Logins::default(), federation, clock })
    }

    /// Checks the policies, logs in, and names the login.
    ///
    /// # Errors
    /// `target_value_refused`, or one of the `provider_*` codes.
    pub(super) async fn plan(&self, grant: &Grant, settings: &VaultRole) -> Result<Handle, Refusal> {
        check::policies(grant)?;
        let role = grant.facts().role();
        let login = self.login(role, settings, Cause::Mint(grant)).await?;
        let now = self.clock.now();
        let until = now + SignedDuration::from_secs(login.lease_duration.cast_signed());
        let accessor = login.accessor;
        match self.logins.keep(accessor.clone(), login.client_token, now, until) {
            Ok(()) => Ok(Handle::Vault { accessor }),
            Err(Full(token)) => {
                self.revoke_self(&token).await;
                Err(throttled("too many logins wait for their authorisation", None))
            }
        }
    }

    /// Extends the login to the granted lifetime, creates the child, and compares it with the grant.
    ///
    /// # Errors
    /// One of the `provider_*` codes.
    pub(super) async fn mint(&self, auth: &Authorised, settings: &VaultRole) -> Result<Minted, Refusal> {
        let Handle::Vault { accessor } = auth.handle() else {
            return Err(internal("the handle is not one of Vault"));
        };
        let login = self.logins.take(accessor).ok_or_else(|| internal("the login is gone"))?;
        let asked = Asked::new(auth.grant(), settings)?;
        let ttl = format!("{}s", asked.ttl);
        let renewed = self.client.renew_self(&login, ttl).await.map_err(|e| e.refusal("renew-self"))?;
        if renewed.lease_duration < asked.ttl {
            return Err(refused(format!(
                "the login was extended to {} s, {} s are granted: raise token_max_ttl of login role {}",
                renewed.lease_duration, asked.ttl, settings.login_role
            )));
        }
        if asked.life > asked.ttl && renewed.lease_duration > asked.ttl {
            return Err(unexpected(format!(
                "the login was extended to {} s, {} s are granted, and its child lives as long",
                renewed.lease_duration, asked.ttl
            )));
        }
        let child = self.create(auth.grant(), settings, &asked, &login).await?;
        let lives = child.lease_duration.min(renewed.lease_duration);
        let dies_at = self.clock.now() + SignedDuration::from_secs(lives.cast_signed());
        Ok(Minted {
            credential: Credential::Vault {
                address: self.target.address.as_str().trim_end_matches('/').to_owned(),
                namespace: self.target.namespace.clone(),
                token: child.client_token,
            },
            dies_at,
            revocability: Revocability::Now,
            window: None,
        })
    }

    async fn create(
        &self,
        grant: &Grant,
        settings: &VaultRole,
        asked: &Asked<'_>,
        login: &SecretString,
    ) -> Result<Auth, Refusal> {
        let life = format!("{}s", asked.life);
        let facts = grant.facts();
        let (decision, role) = (facts.decision().to_string(), facts.role());
        let display_name = format!("tollgate-{decision}");
        let principal = facts.caller().principal().to_string();
        let form = Create {
            policies: &asked.policies,
            ttl: &life,
            explicit_max_ttl: &life,
            renewable: false,
            no_default_policy: true,
            num_uses: asked.uses,
            kind: "service",
            meta: Meta::from([
                ("decision", decision.as_str()),
                ("role", role.name.as_str()),
                ("tenant", role.tenant.as_str()),
                ("principal", principal.as_str()),
            ]),
            display_name: &display_name,
        };
        let token_role = (!settings.cidrs.is_empty()).then_some(settings.login_role.as_str());
        let child = self.client.create(login, token_role, &form).await;
        let child = child.map_err(|error| error.refusal("token create"))?;
        asked.check(&child).map_err(unexpected)?;
        if token_role.is_some() {
            let bound = self.client.bound_cidrs(login, &child.accessor).await;
            let bound = bound.map_err(|error| error.refusal("lookup-accessor"))?;
            if as_networks(&bound).as_ref() != Some(&settings.cidrs.iter().map(ToString::to_string).collect())
            {
                return Err(unexpected(format!(
                    "the child is bound to {bound:?}: set token_bound_cidrs of token role {} to the role's cidrs",
                    settings.login_role
                )));
            }
        }
        Ok(child)
    }

    /// Lets the login live for the granted lifetime from now, and with it the child, by a login of the same role.
    ///
    /// # Errors
    /// One of the `provider_*` codes.
    pub(super) async fn extend(&self, auth: &Authorised, settings: &VaultRole) -> Result<Prolonged, Refusal> {
        let Handle::Vault { accessor } = auth.handle() else {
            return Err(internal("the handle is not one of Vault"));
        };
        let grant = auth.grant();
        let ttl = u64::from(grant.ttl().as_secs());
        let login = self.login(grant.facts().role(), settings, Cause::Mint(grant)).await?;
        let extended = self.client.renew_accessor(&login.client_token, accessor, format!("{ttl}s")).await;
        self.revoke_self(&login.client_token).await;
        let lives = extended.map_err(|error| error.refusal("renew-accessor"))?.lease_duration;
        if lives > ttl {
            return Err(unexpected(format!("the login was extended to {lives} s, {ttl} s are granted")));
        }
        // Less than granted is what token_max_ttl of the login role leaves.
        Ok(Prolonged::Extended { dies_at: self.clock.now() + SignedDuration::from_secs(lives.cast_signed()) })
    }

    /// Ends the login and its child, recorded or not. True if neither lives any more.
    pub(super) async fn discard(&self, role: &Role, settings: &VaultRole, handle: &Handle) -> bool {
        let Handle::Vault { accessor } = handle else { return false };
        // A login that was not used yet can end itself: one call instead of three.
        if let Some(token) = self.logins.take(accessor)
            && self.revoke_self(&token).await
        {
            return true;
        }
        self.end(role, settings, accessor).await.is_ok()
    }

    /// Ends the login with this accessor, and with it the child, by a login of the same role.
    ///
    /// # Errors
    /// One of the `provider_*` codes: not confirmed, try again.
    pub(super) async fn end(
        &self,
        role: &Role,
        settings: &VaultRole,
        accessor: &str,
    ) -> Result<Ended, Refusal> {
        let login = self.login(role, settings, Cause::End).await?;
        let ended = self.client.revoke_accessor(&login.client_token, accessor).await;
        self.revoke_self(&login.client_token).await;
        ended.map(|()| Ended::Now).map_err(|error| error.refusal("revoke-accessor"))
    }

    /// Logs in and makes sure that the login is one that Tollgate can extend, find again, and forget without harm.
    async fn login(&self, role: &Role, settings: &VaultRole, cause: Cause<'_>) -> Result<Auth, Refusal> {
        let jwt = self.federation.token(role, &self.target.audience, cause, None).await?;
        let login = self.client.login(&settings.login_role, &jwt).await;
        let login = login.map_err(|error: CallError| error.refusal("login"))?;
        if let Err(fault) = check::login(&login) {
            self.revoke_self(&login.client_token).await;
            return Err(refused(format!("login role {}: {fault}", settings.login_role)));
        }
        Ok(login)
    }

    /// Best effort: what stays alive dies within two minutes, or is revoked by its accessor.
    async fn revoke_self(&self, token: &SecretString) -> bool {
        match self.client.revoke_self(token).await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "a Vault login could not be revoked and will expire");
                false
            }
        }
    }
}

/// The one client of `target`, which shows the SVID and knows the server by its own, as far as the target says so.
fn connect(
    target: &VaultTarget,
    rules: Rules,
    workload: Option<&WorkloadApi>,
    clock: &Clock,
) -> Result<net::Client, NetError> {
    let id = target.spiffe_id.as_deref();
    if !target.shows_svid && id.is_none() {
        return net::Client::new(rules);
    }
    let workload = workload.ok_or_else(|| NetError::Setup("there is no [workload_api]".to_owned()))?;
    let server = id.map_or(ServerProof::Web, |id| ServerProof::StreamedSvid { id, workload });
    if target.shows_svid {
        net::Client::with_svid(rules, workload, &server, clock)
    } else {
        net::Client::of(rules, &server, clock)
    }
}

/// A mount path as segments of a URL.
fn mount(path: &str) -> Option<Vec<String>> {
    let fits = |part: &str| {
        !matches!(part, "" | "." | "..")
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    };
    let parts: Vec<String> = path.trim_end_matches('/').split('/').map(str::to_owned).collect();
    parts.iter().all(|part| fits(part)).then_some(parts)
}
