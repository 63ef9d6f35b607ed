//! The policy input: a contract. Its JSON Schema is generated from these types.
//!
//! What is unknown is absent, never null: in Rego `null <= 30` is true. `schemars(with = ..)` says so in the schema.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::domain::{Operation, Trust};
use crate::identity::Attributes;

/// `input`: what a policy sees.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Input {
    /// What is being decided; packages for one operation never answer another.
    pub operation: Operation,
    /// Who asks, verified.
    pub identity: IdentityInput,
    /// Where the job executes, proved separately; absent if not proved.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "RunnerInput")]
    pub runner: Option<RunnerInput>,
    /// What is asked for.
    pub resource: Resource,
    /// When, from where, for how long, and the facts.
    pub context: Context,
    /// All that the caller merely claimed, under the keys that the role admits.
    pub declared: BTreeMap<String, Value>,
}

/// `input.identity`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct IdentityInput {
    /// The `iss` claim.
    pub issuer: String,
    /// `github`, `gitlab`, `kubernetes` or `generic`.
    pub kind: String,
    /// The `sub` claim.
    pub subject: String,
    /// The immutable principal key.
    pub principal: String,
    /// The tenant.
    pub tenant: String,
    /// `trusted`, `untrusted` or `unknown`; always there.
    pub trust: Trust,
    /// Seconds since the token was issued.
    pub age_seconds: u64,
    /// True if the token is bound to a key (RFC 9449), which was proved: a stolen one is of no use.
    pub bound: bool,
    /// The profile's attributes and the issuer entry's extra ones.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub attributes: Arc<Attributes>,
    /// All verified claims of the token.
    pub claims: Arc<Map<String, Value>>,
}

/// `input.runner`: what a proof of its own says of the runner, and nothing else can.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RunnerInput {
    /// The runner's own identifier among those of its issuer.
    pub id: String,
    /// The `iss` claim of its proof.
    pub issuer: String,
    /// `github`, `gitlab`, `kubernetes` or `generic`.
    pub kind: String,
    /// Its immutable principal key.
    pub principal: String,
    /// The whole SPIFFE ID; absent if it is proved otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub spiffe_id: Option<String>,
    /// Region; absent if the proof says nothing about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub region: Option<String>,
    /// Pool; absent if the proof says nothing about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub pool: Option<String>,
    /// The tenant that the runner belongs to.
    pub tenant: String,
    /// What else its issuer's entry says of it.
    #[serde(flatten)]
    #[schemars(with = "BTreeMap<String, Value>")]
    pub attributes: BTreeMap<String, Value>,
}

/// `input.resource`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Resource {
    /// The role's name.
    pub role: String,
    /// `aws`, `vault` or `jwt`.
    pub provider: String,
    /// The role's tenant.
    pub tenant: String,
    /// The role's environment; absent if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub environment: Option<String>,
    /// The role's labels, overlaid by the target table's `label.*` columns.
    pub labels: BTreeMap<String, String>,
    /// Requested scopes, or the role's default ones.
    pub scopes: BTreeSet<String>,
}

/// `input.context`.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Context {
    /// `HH:MM` in the configured zone.
    pub time: String,
    /// RFC 3339, UTC.
    pub timestamp: String,
    /// `monday` to `sunday` in the configured zone.
    pub weekday: String,
    /// The peer's address; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub source_ip: Option<String>,
    /// Requested lifetime in minutes, exact, never null.
    pub requested_ttl: f64,
    /// Requested lifetime in seconds.
    pub requested_ttl_seconds: u32,
    /// Verified facts and the declared keys that the role admits.
    #[serde(flatten)]
    pub facts: BTreeMap<String, Value>,
}
