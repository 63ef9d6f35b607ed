//! Who asks, once verified and admitted.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Binding, SvidKey, UsedProof};
use crate::config::{Issuer, Replay};
use crate::domain::{AttributeName, IssuerName, IssuerUrl, PrincipalKey, TenantName, Thumbprint, Trust};
use crate::secret::Fingerprint;

/// Normalised attributes, by name.
pub type Attributes = BTreeMap<AttributeName, Value>;

/// A verified and admitted identity. Only the identity module can make one.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The issuer entry that admitted it.
    pub(super) issuer: Arc<Issuer>,
    pub(super) kind: &'static str,
    pub(super) subject: String,
    pub(super) principal: PrincipalKey,
    pub(super) tenant: TenantName,
    pub(super) trust: Trust,
    /// Shared with the policy input, as are the claims: the largest part of both.
    pub(super) attributes: Arc<Attributes>,
    pub(super) claims: Arc<Map<String, Value>>,
    pub(super) token: Fingerprint,
    pub(super) issued_at: Timestamp,
    pub(super) expires_at: Timestamp,
    pub(super) replay: Replay,
    pub(super) bound: Option<Thumbprint>,
    pub(super) proof: Option<UsedProof>,
    /// Of a certificate.
    pub(super) svid: Option<SvidKey>,
}

impl Caller {
    /// The issuer entry's name.
    pub fn issuer(&self) -> &IssuerName {
        &self.issuer.name
    }
    /// The `iss` claim.
    pub fn issuer_url(&self) -> &IssuerUrl {
        &self.issuer.url
    }
    /// `github`, `gitlab`, `kubernetes`, `generic` or `spiffe`.
    pub const fn kind(&self) -> &'static str {
        self.kind
    }
    /// The `sub` claim.
    pub fn subject(&self) -> &str {
        &self.subject
    }
    /// The immutable key.
    pub const fn principal(&self) -> &PrincipalKey {
        &self.principal
    }
    /// The tenant.
    pub const fn tenant(&self) -> &TenantName {
        &self.tenant
    }
    /// Its SPIFFE ID, if a trust domain vouches for it. No attribute of another issuer's is taken for one.
    pub fn spiffe_id(&self) -> Option<&str> {
        Some(self.subject()).filter(|_| self.kind() == "spiffe")
    }
    /// How far the job's steps can be trusted.
    pub const fn trust(&self) -> Trust {
        self.trust
    }
    /// Normalised attributes, by name, the profile's and the issuer entry's.
    pub const fn attributes(&self) -> &Arc<Attributes> {
        &self.attributes
    }
    /// All verified claims.
    pub const fn claims(&self) -> &Arc<Map<String, Value>> {
        &self.claims
    }
    /// Hash of the token's header and payload, the same for every valid signature over them; or of the certificate.
    pub const fn token(&self) -> Fingerprint {
        self.token
    }
    /// The `iat` claim.
    pub const fn issued_at(&self) -> Timestamp {
        self.issued_at
    }
    /// The `exp` claim.
    pub const fn expires_at(&self) -> Timestamp {
        self.expires_at
    }
    /// The key that its token is bound to, which was proved.
    pub const fn bound(&self) -> Option<Thumbprint> {
        self.bound
    }
    /// True if what says who it is would be of no use without a key, which was proved: that of its token, or of its
    /// certificate. One that is recalled for a lease has that of the certificate only if the lease is bound to it.
    pub const fn has_key(&self) -> bool {
        self.bound.is_some() || self.svid.is_some()
    }
    /// What it is given is bound to: the key that its token names; or, where `wanted`, its certificate. An SVID is another one
    /// within the hour, and a signed token does not outlive the one that it names, so that nobody gets this unasked.
    pub fn binding(&self, wanted: bool) -> Option<Binding> {
        let svid = || self.svid.filter(|_| wanted).map(Binding::Svid);
        self.bound.map(Binding::Key).or_else(svid)
    }
    /// The proof of the token's key; none of an identity that is recalled, or whose connection has the key.
    pub const fn proof(&self) -> Option<UsedProof> {
        self.proof
    }
    /// The issuer's replay mode; off for a certificate, whose key is proved in each handshake.
    pub const fn replay(&self) -> Replay {
        self.replay
    }
    /// Largest age of a token at first use.
    pub fn max_age(&self) -> Duration {
        self.issuer.max_age
    }
}
