//! How often may be asked, before any target hears of it.
//!
//! | budget | of | taken |
//! |---|---|---|
//! | principal | each identity; once for ordinary roles and operations, once for roles on call | once it is verified |
//! | tenant | all identities of a tenant, ordinary roles | then, for even what policy refuses may ask fact sources |
//! | role | everybody who asks for a role | once policy allows |
//! | on call | all identities of a tenant, roles on call | once policy allows |
//! | look-ups | each identity, and each lease | once it, or the lease's secret, is verified |
//! | peer | each address, look-ups | before anything is verified |
//! | alerts | each webhook, and each issuer that sends security events | once the message is verified |
//!
//! Beside these, exchanges in flight have places: some for all of them, and fewer for each target that is reached over the
//! network, so that one which does not answer leaves the others their places.
//!
//! What is taken only once policy allows cannot be used up by those whom policy refuses: a flood of CI jobs that ask for a
//! role on call leaves its budget whole.

mod bucket;
mod keyed;
mod places;
mod targets;

use std::net::IpAddr;

use ipnet::IpNet;
use tokio::sync::OwnedSemaphorePermit;

use self::bucket::UsedUp;
use self::keyed::Keyed;
use self::places::{Places, ordinary};
use self::targets::{Targets, There};
use crate::clock::Clock;
use crate::config::{Limits, Role, RoleBudget, Target};
use crate::domain::{Code, LeaseId, PrincipalKey, Refusal, RoleName, TenantName};
use crate::identity::Caller;
use crate::telemetry::{self, Budget};

/// Most principals or addresses remembered at once, for each kind of budget: some megabytes.
const REMEMBERED: usize = 50_000;

/// Most tenants remembered at once.
const TENANTS: usize = 10_000;

/// Most roles remembered at once: more than can be configured.
const ROLES: usize = 20_000;

/// Most senders of alerts remembered at once: more than can be configured.
const SENDERS: usize = 20_000;

/// Messages of one sender in a minute. A sender has been verified, so that nobody else uses this up.
const ALERTS_PER_MINUTE: u32 = 120;

/// Bits of an IPv6 address that name one network, whose holder has all addresses below it.
const IPV6_NETWORK: u8 = 64;

/// A target gets one of so many of all places, unless its file says how many.
const OF_ALL: usize = 4;

/// Seconds after which to come again when no place is free.
const FULL_RETRY_AFTER: u32 = 1;

/// All budgets.
pub(super) struct Limiter {
    limits: Limits,
    clock: Clock,
    principals: Keyed<PrincipalKey>,
    on_call_principals: Keyed<PrincipalKey>,
    tenants: Keyed<TenantName>,
    on_call_tenants: Keyed<TenantName>,
    roles: Keyed<RoleName>,
    lookups: Keyed<PrincipalKey>,
    leases: Keyed<LeaseId>,
    peers: Keyed<IpAddr>,
    senders: Keyed<String>,
    places: Places,
    targets: Targets,
}

/// What an exchange holds until it ends.
pub(super) struct Admitted(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

/// What an exchange holds while its target is asked.
pub(super) struct AtTarget(#[expect(dead_code, reason = "held, not read")] Option<There>);

impl Limiter {
    /// Budgets as `limits` has them; roles bring their own.
    pub(super) fn new(limits: &Limits, clock: Clock) -> Self {
        Self {
            limits: limits.clone(),
            clock,
            principals: Keyed::new(REMEMBERED),
            on_call_principals: Keyed::new(REMEMBERED),
            tenants: Keyed::new(TENANTS),
            on_call_tenants: Keyed::new(TENANTS),
            roles: Keyed::new(ROLES),
            lookups: Keyed::new(REMEMBERED),
            leases: Keyed::new(REMEMBERED),
            peers: Keyed::new(REMEMBERED),
            senders: Keyed::new(SENDERS),
            places: Places::new(limits.concurrency),
            targets: Targets::default(),
        }
    }

    /// Lets an exchange begin; `role` is none if there is no such role.
    ///
    /// # Errors
    /// `rate_limited`; `overloaded` if every place but those for roles on call is taken.
    pub(super) fn admit(&self, caller: &Caller, role: Option<&Role>) -> Result<Admitted, Refusal> {
        let (now, principal) = (self.now(), caller.principal());
        let per_minute = self.limits.exchanges_per_minute;
        if role.is_some_and(|role| role.budget == RoleBudget::OnCall) {
            let taken = self.on_call_principals.take(principal, per_minute, now);
            return taken.map(|()| Admitted(None)).map_err(|used_up| refusal(Budget::Principal, used_up));
        }
        self.principals
            .take(principal, per_minute, now)
            .map_err(|used_up| refusal(Budget::Principal, used_up))?;
        self.tenants
            .take(caller.tenant(), self.limits.tenant_exchanges_per_minute, now)
            .map_err(|used_up| refusal(Budget::Tenant, used_up))?;
        let place = self.places.take().ok_or_else(|| {
            telemetry::request_shed();
            let message = "the server has as many exchanges in flight as it takes";
            Refusal::new(Code::Overloaded, message).with_retry_after(FULL_RETRY_AFTER)
        })?;
        Ok(Admitted(Some(place)))
    }

    /// Lets an allowed exchange go to its target; an eighth of the places there is kept for roles on call.
    ///
    /// # Errors
    /// `provider_busy`.
    pub(super) fn enter(&self, target: &Target, role: &Role) -> Result<AtTarget, Refusal> {
        if !target.kind.is_remote() {
            return Ok(AtTarget(None));
        }
        let places = target.concurrency.unwrap_or((self.limits.concurrency / OF_ALL).max(1));
        let places = match role.budget {
            RoleBudget::OnCall => places,
            RoleBudget::Ordinary => ordinary(places),
        };
        let there = self.targets.enter(&target.name, places).ok_or_else(|| {
            let message = "as many exchanges wait for the target as may";
            Refusal::new(Code::ProviderBusy, message).with_retry_after(FULL_RETRY_AFTER)
        })?;
        Ok(AtTarget(Some(there)))
    }

    /// Takes an operation of a verified identity, from the budget of its ordinary exchanges.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn operation(&self, principal: &PrincipalKey) -> Result<(), Refusal> {
        self.principals
            .take(principal, self.limits.exchanges_per_minute, self.now())
            .map_err(|used_up| refusal(Budget::Principal, used_up))
    }

    /// Takes what an allowed exchange costs its role, and its tenant if the role is on call.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn spend(&self, tenant: &TenantName, role: &Role) -> Result<(), Refusal> {
        let now = self.now();
        let per_minute = role.per_minute.unwrap_or(self.limits.role_exchanges_per_minute);
        self.roles.take(&role.name, per_minute, now).map_err(|used_up| refusal(Budget::Role, used_up))?;
        match role.budget {
            RoleBudget::Ordinary => Ok(()),
            RoleBudget::OnCall => self
                .on_call_tenants
                .take(tenant, self.limits.on_call_exchanges_per_minute, now)
                .map_err(|used_up| refusal(Budget::OnCall, used_up)),
        }
    }

    /// Takes a look-up of a verified identity.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn look_up(&self, principal: &PrincipalKey) -> Result<(), Refusal> {
        self.lookups
            .take(principal, self.limits.lookups_per_minute, self.now())
            .map_err(|used_up| refusal(Budget::Lookups, used_up))
    }

    /// Takes a look-up of whoever has the secret of the lease `id`.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn lease(&self, id: LeaseId) -> Result<(), Refusal> {
        self.leases
            .take(&id, self.limits.lookups_per_minute, self.now())
            .map_err(|used_up| refusal(Budget::Lookups, used_up))
    }

    /// Takes a look-up from `address`, whoever asks.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn peer(&self, address: IpAddr) -> Result<(), Refusal> {
        self.peers
            .take(&network(address), self.limits.peer_lookups_per_minute, self.now())
            .map_err(|used_up| refusal(Budget::Peer, used_up))
    }

    /// Takes a message of a verified `sender` of alerts.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(super) fn alert(&self, sender: &str) -> Result<(), Refusal> {
        self.senders
            .take(&sender.to_owned(), ALERTS_PER_MINUTE, self.now())
            .map_err(|used_up| refusal(Budget::Alerts, used_up))
    }

    fn now(&self) -> i64 {
        self.clock.now().as_microsecond()
    }
}

fn refusal(budget: Budget, UsedUp(seconds): UsedUp) -> Refusal {
    telemetry::rate_limited(budget);
    let message = match budget {
        Budget::Principal => "this identity asks too often",
        Budget::Tenant => "the identities of this tenant together ask too often",
        Budget::Role => "this role is asked for too often",
        Budget::OnCall => "the roles on call of this tenant are asked for too often",
        Budget::Lookups => "this identity, or the holder of this lease, looks things up too often",
        Budget::Alerts => "this sender alerts too often",
        Budget::Peer => "this address looks things up too often",
    };
    Refusal::new(Code::RateLimited, message).with_retry_after(seconds)
}

/// The address, or the network of an IPv6 address.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        v4 @ IpAddr::V4(_) => v4,
        v6 @ IpAddr::V6(_) => IpNet::new(v6, IPV6_NETWORK).map_or(v6, |net| net.trunc().addr()),
    }
}

#[cfg(test)]
mod tests;
