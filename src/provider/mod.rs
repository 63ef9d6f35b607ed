//! Plans, mints and ends credentials: one file per kind, one arm of one exhaustive `match`.
//!
//! Every kind has two phases. *Plan* checks every value against the target's grammar and names the handle that will
//! find the credential again; the ledger records it; only then does *mint* make anything usable. A value that does not
//! fit is refused and never rewritten. Nothing here may log, answer or store a federation token, or contact a host that
//! no target names.

mod aws;
mod federation;
mod jwt;
mod renewal;
mod template;
mod upstream;
mod vault;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use self::aws::Aws;
use self::federation::Federation;
use self::jwt::Jwt;
use self::vault::Vault;
use crate::clock::Clock;
use crate::config::{AwsRole, Config, JwtRole, ProviderRole, Role, Target, TargetKind, VaultRole};
use crate::domain::{Code, Handle, IssuerUrl, Minted, Refusal, RoleName, TargetName};
use crate::ledger::{Authorised, Planned};
use crate::net::{NetError, WorkloadApi};
use crate::policy::Grant;
use crate::signing::SharedKeyring;
use crate::telemetry;

/// What became of an attempt to end a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Dead at the target now.
    Now,
    /// Lives until it expires; nothing can end it.
    DiesAtExpiry,
}

/// Why a target cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// No HTTP client for its rules.
    #[error("target {target}: the HTTP client cannot be built")]
    Client {
        /// The target.
        target: TargetName,
        /// What is wrong.
        #[source]
        source: NetError,
    },
    /// A setting that cannot become part of a request.
    #[error("target {target}: {setting} must be {grammar}")]
    Setting {
        /// The target.
        target: TargetName,
        /// The setting's key.
        setting: &'static str,
        /// What it must look like.
        grammar: &'static str,
    },
}

/// One configured target, ready to mint. Boxed where large: most processes have many targets of one kind.
enum Provider {
    Aws(Box<Aws>),
    Vault(Box<Vault>),
    Jwt(Jwt),
}

/// A target with the settings of a role of the same kind.
enum Pair<'a> {
    Aws(&'a Aws, &'a AwsRole),
    Vault(&'a Vault, &'a VaultRole),
    Jwt(&'a Jwt, &'a JwtRole),
}

/// What every target is set up with.
struct Setup {
    url: IssuerUrl,
    federation: Arc<Federation>,
    keyring: SharedKeyring,
    clock: Clock,
    workload: Option<WorkloadApi>,
}

impl Setup {
    fn provider(&self, name: &TargetName, kind: &TargetKind) -> Result<Provider, SetupError> {
        let (federation, clock) = (Arc::clone(&self.federation), self.clock.clone());
        Ok(match kind {
            TargetKind::Aws(aws) => Provider::Aws(Box::new(Aws::new(name, aws, federation, clock)?)),
            TargetKind::Vault(vault) => {
                Provider::Vault(Box::new(Vault::new(name, vault, federation, clock, self.workload.as_ref())?))
            }
            TargetKind::Jwt(jwt) => {
                Provider::Jwt(Jwt::new(&self.url, jwt.clone(), Arc::clone(&self.keyring), clock))
            }
        })
    }
}

/// The configured targets.
pub struct Providers {
    targets: BTreeMap<TargetName, Provider>,
    roles: BTreeMap<RoleName, Arc<Role>>,
}

impl Providers {
    /// Sets up a client per target; contacts none. `workload` gives the SVID to those that want to see one.
    ///
    /// # Errors
    /// The first target that cannot be set up.
    pub fn new(
        config: &Config,
        keyring: SharedKeyring,
        clock: Clock,
        workload: Option<WorkloadApi>,
    ) -> Result<Self, SetupError> {
        let url = config.settings.server.url.clone();
        let federation = Arc::new(Federation::new(&url, Arc::clone(&keyring), clock.clone()));
        let setup = Setup { url, federation, keyring, clock, workload };
        let named = |(name, target): (&TargetName, &Arc<Target>)| {
            setup.provider(name, &target.kind).map(|provider| (name.clone(), provider))
        };
        let targets = config.targets.iter().map(named).collect::<Result<_, _>>()?;
        Ok(Self { targets, roles: config.roles.clone() })
    }

    /// Plans the credential: checks every value against the target's grammar and names the handle.
    ///
    /// # Errors
    /// The grant back, with a refusal.
    pub async fn plan(&self, grant: Grant) -> Result<Planned, (Grant, Refusal)> {
        match self.handle(&grant).await {
            Ok(handle) => Ok(Planned::new(grant, handle)),
            Err(refusal) => Err((grant, refusal)),
        }
    }

    async fn handle(&self, grant: &Grant) -> Result<Handle, Refusal> {
        match self.of(grant)? {
            Pair::Aws(aws, role) => aws.plan(grant, role),
            Pair::Vault(vault, role) => Box::pin(vault.plan(grant, role)).await,
            Pair::Jwt(_, role) => Jwt::plan(grant, role),
        }
    }

    /// Mints what was authorised and checks the answer against the grant.
    ///
    /// Exchanges with a target over the network are boxed, here and elsewhere: every other kind of credential would
    /// otherwise carry room for the largest of them through the whole path.
    ///
    /// # Errors
    /// One of the `provider_*` codes.
    pub async fn mint(&self, auth: &Authorised) -> Result<Minted, Refusal> {
        let pair = self.of(auth.grant())?;
        let started = Instant::now();
        let (kind, minted) = match pair {
            Pair::Aws(aws, role) => ("aws", Box::pin(aws.mint(auth, role)).await),
            Pair::Vault(vault, role) => ("vault", Box::pin(vault.mint(auth, role)).await),
            Pair::Jwt(jwt, role) => ("jwt", jwt.mint(auth, role).await),
        };
        telemetry::mint_ended(kind, minted.is_ok(), started.elapsed());
        minted
    }

    /// Ends what `handle` names, now that nobody will get it. True if nothing lives any more.
    pub async fn discard(&self, grant: &Grant, handle: &Handle) -> bool {
        match self.of(grant) {
            // The session may exist at AWS although its keys are gone: the record says when it dies.
            Ok(Pair::Aws(..)) | Err(_) => false,
            Ok(Pair::Vault(vault, settings)) => {
                Box::pin(vault.discard(grant.facts().role(), settings, handle)).await
            }
            // A token that never left this process died with its only copy.
            Ok(Pair::Jwt(..)) => true,
        }
    }

    /// Ends a credential by its handle, as role `role` of target `target`.
    ///
    /// # Errors
    /// The target did not confirm; try again.
    pub async fn end(&self, target: &TargetName, role: &str, handle: &Handle) -> Result<Ended, Refusal> {
        let gone = || {
            Refusal::new(Code::ProviderRefused, "the role or target that minted it is no longer configured")
                .with_detail(format!(
                    "role {role:?}, target {target}: configure it again, or wait for its expiry"
                ))
        };
        match handle {
            Handle::Aws { .. } | Handle::Jwt { .. } => Ok(Ended::DiesAtExpiry),
            Handle::Vault { accessor } => {
                let role = self.roles.get(role).ok_or_else(gone)?;
                match self.pair(target, role)? {
                    Pair::Vault(vault, settings) => Box::pin(vault.end(role, settings, accessor)).await,
                    Pair::Aws(..) | Pair::Jwt(..) => Err(gone()),
                }
            }
        }
    }

    fn of<'a>(&'a self, grant: &'a Grant) -> Result<Pair<'a>, Refusal> {
        self.pair(&grant.facts().target().name, grant.facts().role())
    }

    fn pair<'a>(&'a self, target: &TargetName, role: &'a Role) -> Result<Pair<'a>, Refusal> {
        let provider = self.targets.get(target).ok_or_else(|| unconfigured(target))?;
        match (provider, &role.provider) {
            (Provider::Aws(aws), ProviderRole::Aws(role)) => Ok(Pair::Aws(aws, role)),
            (Provider::Vault(vault), ProviderRole::Vault(role)) => Ok(Pair::Vault(vault, role)),
            (Provider::Jwt(jwt), ProviderRole::Jwt(role)) => Ok(Pair::Jwt(jwt, role)),
            (Provider::Aws(_), ProviderRole::Vault(_) | ProviderRole::Jwt(_))
            | (Provider::Vault(_), ProviderRole::Aws(_) | ProviderRole::Jwt(_))
            | (Provider::Jwt(_), ProviderRole::Aws(_) | ProviderRole::Vault(_)) => Err(unconfigured(target)),
        }
    }
}

/// Loading refuses both: a role without its target, and a role of another kind than its target.
fn unconfigured(target: &TargetName) -> Refusal {
    Refusal::new(Code::Internal, "the role and its target do not belong together")
        .with_detail(format!("target {target} is not configured, or not of the role's kind"))
}

/// The lifetime that policy left is below what the target can enforce.
fn below_floor(grant: &Grant, floor: u32) -> Refusal {
    Refusal::new(
        Code::TtlBelowFloor,
        format!("{} is left, and this target cannot end a credential sooner than {floor}s", grant.ttl()),
    )
}
