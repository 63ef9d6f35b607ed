//! `roles/**/*.toml`: what can be asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

use crate::domain::{
    FactKey, PackageName, Renewal, RoleName, Scalar, ScopeName, TargetName, TenantName, Ttl,
};

/// A named thing that can be asked for. The caller names the role, never the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    /// The role's name: its path below `roles/` without the ending.
    pub name: RoleName,
    /// The tenant that it belongs to.
    pub tenant: TenantName,
    /// One line for people.
    pub description: String,
    /// `input.resource.environment`.
    pub environment: Option<String>,
    /// `input.resource.labels`.
    pub labels: BTreeMap<String, String>,
    /// The target that mints.
    pub target: TargetName,
    /// A table that maps verified attributes to values for this role.
    pub table: Option<TableBinding>,
    /// What can be asked for, by name.
    pub scopes: BTreeMap<ScopeName, ScopeSpec>,
    /// Scopes given when the caller names none; all of them if not written.
    pub default_scopes: BTreeSet<ScopeName>,
    /// Lifetimes.
    pub ttl: TtlLimits,
    /// How long its leases may go on.
    pub lease: LeaseTerms,
    /// Whether the runner has to prove itself beside the job.
    pub runner: RunnerTerms,
    /// Packages that must allow and may not deny, at least one.
    pub policies: Vec<PackageName>,
    /// True if only a token that is bound to a key can ask for it.
    pub possession_required: bool,
    /// What the caller may claim.
    pub declared: BTreeMap<FactKey, DeclaredKey>,
    /// Fact sources to ask, by name, in order.
    pub sources: Vec<String>,
    /// Settings for the kind of target.
    pub provider: ProviderRole,
    /// Whose budget its exchanges are taken from.
    pub budget: RoleBudget,
    /// Allowed exchanges per minute by everybody together; `limits.role_exchanges_per_minute` unless written.
    pub per_minute: Option<u32>,
}

/// Whose budget a role's exchanges are taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleBudget {
    /// The tenant's.
    Ordinary,
    /// The tenant's for roles on call, which ordinary ones cannot use up.
    OnCall,
}

/// Lifetimes of a role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlLimits {
    /// Given if the caller asks for none.
    pub default: Ttl,
    /// Never exceeded.
    pub max: Ttl,
}

/// How long the leases of a role may go on, and what they need for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeaseTerms {
    /// Silence of its holder after which a lease is ended; none if silence ends nothing.
    pub heartbeat: Option<Duration>,
    /// Longest life of a lease over all renewals; none if it cannot be renewed.
    pub max_session: Option<Ttl>,
}

/// What a role wants of the runner that a job executes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunnerTerms {
    /// Whether it has to prove itself.
    pub need: RunnerNeed,
    /// True if one that proves itself must be of the job's tenant.
    pub same_tenant: bool,
}

impl Default for RunnerTerms {
    fn default() -> Self {
        Self { need: RunnerNeed::Optional, same_tenant: true }
    }
}

/// Whether a runner has to prove itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RunnerNeed {
    /// Nothing is given without a proof.
    Required,
    /// Policy sees the proof if there is one.
    Optional,
    /// Nothing is given with a proof.
    Refused,
}

impl ProviderRole {
    /// What a renewal of such a role's lease is.
    pub const fn renewal(&self) -> Renewal {
        match self {
            Self::Vault(_) => Renewal::Extends,
            Self::Aws(_) | Self::Jwt(_) => Renewal::Replaces,
        }
    }
}

/// What a scope means at the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScopeSpec {
    /// Session-policy statements and managed policies.
    Aws(AwsScope),
    /// Vault policies.
    Vault(VaultScope),
    /// The `scope` claim's value is the scope's name.
    Jwt,
}

/// An AWS scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsScope {
    /// `Action` entries.
    pub actions: Vec<String>,
    /// `Resource` entries; `{name}` takes a verified value, as data.
    pub resources: Vec<String>,
    /// ARNs of managed policies.
    pub managed: Vec<String>,
}

/// A Vault scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultScope {
    /// Names of Vault policies.
    pub policies: Vec<String>,
}

/// A role's settings for its kind of target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderRole {
    /// AWS STS.
    Aws(AwsRole),
    /// Vault or OpenBao.
    Vault(VaultRole),
    /// Tokens signed by Tollgate.
    Jwt(JwtRole),
}

/// AWS settings of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AwsRole {
    /// ARN of the role to assume; `{name}` takes a value of the target table or a verified attribute.
    pub role_arn: String,
    /// `ExternalId`, ambient access only.
    pub external_id: Option<String>,
    /// Session tags: tag key to attribute, such as `repository_id`.
    pub tags: BTreeMap<String, String>,
}

/// Vault settings of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultRole {
    /// The Vault JWT-auth role, one per Tollgate role.
    pub login_role: String,
    /// `num_uses` of the child token; none means any number.
    pub uses: Option<u32>,
    /// `bound_cidrs` of the child token.
    pub cidrs: Vec<IpNet>,
}

/// Settings of a role whose credential is a token signed by Tollgate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwtRole {
    /// Identity attributes copied into the token as claims.
    pub claims: BTreeSet<String>,
}

/// How a role uses a target table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableBinding {
    /// The table's name: the CSV's file stem.
    pub table: String,
    /// The identity attribute that is looked up in the table's key column.
    pub attribute: String,
}

/// A key that the caller may declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredKey {
    /// Its type.
    pub kind: DeclaredType,
    /// True if a request without it is refused.
    pub required: bool,
    /// The only values accepted, if written.
    pub one_of: Option<BTreeSet<Scalar>>,
}

/// Type of a declared key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeclaredType {
    /// Text of at most `max_bytes`.
    Text {
        /// Longest value.
        max_bytes: usize,
    },
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
}
