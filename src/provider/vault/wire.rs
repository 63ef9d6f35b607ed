//! What is sent to Vault and what it answers (Vault API reference: "JWT/OIDC auth method", "Token auth method").

use std::collections::BTreeMap;
use std::fmt;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// The frame of every answer. Unknown members are ignored: Vault and `OpenBao` add some with each version.
#[derive(Deserialize)]
pub(super) struct Envelope<D> {
    /// A token, from a login, a renewal or a creation.
    pub(super) auth: Option<Auth>,
    /// What a look-up found.
    pub(super) data: Option<D>,
}

/// A token as Vault describes it.
#[derive(Deserialize)]
pub(super) struct Auth {
    /// The token; empty where an accessor stood for it.
    pub(super) client_token: SecretString,
    /// Finds the token without being it; empty for a batch token.
    #[serde(default)]
    pub(super) accessor: String,
    /// Every policy that applies, those of the identity entity included.
    #[serde(default)]
    pub(super) policies: Vec<String>,
    /// Seconds left.
    pub(super) lease_duration: u64,
    /// Whether it can be renewed.
    pub(super) renewable: bool,
    /// True if it does not die with a parent.
    pub(super) orphan: bool,
    /// Uses left; 0 means any number.
    #[serde(default)]
    pub(super) num_uses: u32,
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Auth(..)")
    }
}

/// An answer whose data does not matter.
#[derive(Deserialize)]
pub(super) struct Ignored {}

/// `POST auth/token/lookup-accessor`.
#[derive(Deserialize)]
pub(super) struct Looked {
    /// Networks that the token works from; absent means everywhere.
    #[serde(default)]
    pub(super) bound_cidrs: Option<Vec<String>>,
}

/// `POST auth/<mount>/login`.
#[derive(Serialize)]
pub(super) struct Login<'a> {
    /// The JWT-auth role.
    pub(super) role: &'a str,
    /// The federation token.
    pub(super) jwt: &'a str,
}

/// `POST auth/token/renew-self`.
#[derive(Serialize)]
pub(super) struct Renew {
    /// Wanted lifetime from now, such as `900s`.
    pub(super) increment: String,
}

/// `POST auth/token/renew-accessor`.
#[derive(Serialize)]
pub(super) struct RenewAccessor<'a> {
    /// The token's accessor.
    pub(super) accessor: &'a str,
    /// Wanted lifetime from now, such as `900s`.
    pub(super) increment: String,
}

/// `POST auth/token/create`. Every member is sent: what is not said, Vault inherits from the parent.
#[derive(Serialize)]
pub(super) struct Create<'a> {
    /// Policies of the child; an empty list would inherit all of the parent's.
    pub(super) policies: &'a [&'a str],
    /// Lifetime, such as `900s`.
    pub(super) ttl: &'a str,
    /// The same, as a bound that no renewal passes.
    pub(super) explicit_max_ttl: &'a str,
    /// Never.
    pub(super) renewable: bool,
    /// Always: `default` is not in the grant.
    pub(super) no_default_policy: bool,
    /// Uses; 0 means any number.
    pub(super) num_uses: u32,
    /// `service`: only such a token can be revoked.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// What Vault's audit log shows beside every use.
    pub(super) meta: BTreeMap<&'static str, &'a str>,
    /// The same, shortened, for people.
    pub(super) display_name: &'a str,
}

/// `POST auth/token/revoke-accessor` and `…/lookup-accessor`.
#[derive(Serialize)]
pub(super) struct Accessor<'a> {
    /// The token's accessor.
    pub(super) accessor: &'a str,
}

/// An empty body.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// `{"errors": […]}`.
#[derive(Deserialize)]
pub(super) struct Errors {
    /// Texts for people.
    #[serde(default)]
    pub(super) errors: Vec<String>,
}
