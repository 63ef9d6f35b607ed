//! `issuers/*.toml`: who may vouch for an identity, and what its tokens must say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::spiffe::{BundleSource, PathTemplate};
use crate::domain::{AttributeName, IssuerName, IssuerUrl, Scalar, TenantName, Trust};

/// One issuer entry. The pair of `url` and `audience` is unique and selects it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issuer {
    /// The entry's name: its file's stem.
    pub name: IssuerName,
    /// The `iss` claim, exactly; of a trust domain, which JWT-SVIDs need not name there, `spiffe://` and its name.
    pub url: IssuerUrl,
    /// The one audience accepted.
    pub audience: String,
    /// Accept tokens whose `aud` is a list that contains the audience; otherwise a list of one at most.
    pub audience_list: bool,
    /// How to read the claims.
    pub profile: Profile,
    /// Where the keys come from.
    pub keys: KeySource,
    /// Algorithms accepted, RS256 unless written; never taken from the token.
    pub algorithms: Vec<Algorithm>,
    /// Claims that make an identity ours; mandatory for a shared issuer.
    pub require: Vec<Requirement>,
    /// Tenant of identities from this issuer: a constant, a claim, or a table over a claim.
    pub tenant: AttributeRule,
    /// Extra attributes beyond the profile's.
    pub attributes: BTreeMap<AttributeName, AttributeRule>,
    /// Whether a token works once per role; once unless written.
    pub replay: Replay,
    /// Whether its tokens may, must or must not be bound to a key; they may unless written.
    pub possession: Possession,
    /// Largest age by `iat` at first use; 10 minutes unless written.
    pub max_age: Duration,
    /// Clock skew accepted, at most 60 s; 30 s unless written.
    pub skew: Duration,
    /// Security events that are accepted from this issuer about its own identities; none unless written.
    pub security_events: Option<SecurityEvents>,
    /// What it says of runners; none unless written, and it then vouches for no runner.
    pub runner: Option<RunnerRules>,
    /// PEM authorities that vouch for it beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Private networks that this issuer may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

/// Security event tokens (RFC 8417) of an issuer, pushed to `/v1/events` (RFC 8935).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityEvents {
    /// The one audience of its events: another than that of its identity tokens.
    pub audience: String,
    /// How long the identity of a revoked session is blocked; unless written, as long as a token that was issued before
    /// the event could still be used.
    pub block_for: Duration,
}

/// What an issuer entry says of the runners that it vouches for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerRules {
    /// True if it vouches for identities too: whoever has a token of a runner can then ask by itself.
    pub identities: bool,
    /// Member of `input.runner` to the attribute that fills it; `id` is always there.
    pub members: BTreeMap<AttributeName, AttributeName>,
}

/// How an issuer's claims become attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// GitHub Actions, github.com or Enterprise Server.
    GitHub,
    /// GitLab CI, gitlab.com or self-managed.
    GitLab,
    /// Kubernetes service accounts.
    Kubernetes,
    /// Any OIDC issuer: the principal is `principal_claim`, prefixed by the issuer's name.
    Generic {
        /// The claim that identifies for good, such as `sub`.
        principal_claim: String,
        /// True if anybody can get a token from this issuer.
        shared: bool,
        /// What the operator says of everybody whom this issuer vouches for; its tokens say nothing.
        trust: Trust,
    },
    /// Workloads of a SPIFFE trust domain, by JWT-SVID or X.509-SVID.
    Spiffe {
        /// Forms of paths, of which the first that fits gives attributes; whom none fits is not admitted. Without any,
        /// every workload is.
        paths: Vec<PathTemplate>,
        /// What the operator says of everybody whom the trust domain vouches for.
        trust: Trust,
    },
}

/// The kind of identity an issuer vouches for, as `input.identity.kind`.
pub type IssuerKind = &'static str;

/// Where an issuer's keys come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySource {
    /// OpenID Connect Discovery; `jwks_hosts` lists other hosts that `jwks_uri` may name.
    Discovery {
        /// Hosts besides the issuer's own.
        jwks_hosts: Vec<String>,
    },
    /// A JWKS given in the file or beside it: JSON text, already read.
    Inline {
        /// The JWKS document.
        jwks: String,
    },
    /// The bundle of a SPIFFE trust domain.
    Bundle(BundleSource),
}

/// A signature algorithm (RFC 7518, section 3.1; RFC 8037).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// One admission rule: the claim must equal one of the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// Claim name, or a JSON pointer if it begins with a slash.
    pub claim: String,
    /// Accepted values, compared by type and value.
    pub any_of: Vec<Scalar>,
}

/// Where an extra attribute comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttributeRule {
    /// Always this.
    Constant(Scalar),
    /// The value at a claim path such as `kubernetes.io/namespace` (JSON pointer).
    Claim(String),
    /// The claim's exact value looked up in a table; no match, no attribute.
    Table {
        /// JSON pointer of the claim.
        claim: String,
        /// Exact value to attribute value.
        values: BTreeMap<String, Scalar>,
    },
}

/// Whether a token may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// Once per token and role, settled in the authorise transaction.
    Once,
    /// Any number of times; warned about.
    Off,
}

/// Whether an issuer's tokens are bound to a key, by an audience of the shape `<audience>#jkt=<thumbprint>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Possession {
    /// A token that names a key needs a proof by it; one that names none needs none.
    Accepted,
    /// Every token names a key.
    Required,
    /// A token that names a key is for another audience.
    Refused,
}

impl Issuer {
    /// True if its tokens say who asks, and not only where a job runs.
    pub fn vouches_for_identities(&self) -> bool {
        self.runner.as_ref().is_none_or(|runner| runner.identities)
    }

    /// The attributes that this entry gives beyond those that its profile always has.
    pub fn own_attributes(&self) -> impl Iterator<Item = &AttributeName> {
        let paths: &[PathTemplate] = match &self.profile {
            Profile::Spiffe { paths, .. } => paths,
            Profile::GitHub | Profile::GitLab | Profile::Kubernetes | Profile::Generic { .. } => &[],
        };
        self.attributes.keys().chain(paths.iter().flat_map(PathTemplate::attributes))
    }

    /// The tenant of identities that no rule gives another.
    pub fn constant_tenant(&self) -> Option<TenantName> {
        match &self.tenant {
            AttributeRule::Constant(Scalar::Text(name)) => name.parse().ok(),
            _ => None,
        }
    }
}
