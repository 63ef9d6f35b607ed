//! What policy says: results per package, and the decision that follows from them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;

use crate::domain::{PackageName, Reason, Refusal, ScopeName, Ttl};
use crate::facts::Facts;
use crate::secret::Fingerprint;

/// What one package answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageResult {
    /// The package.
    pub package: PackageName,
    /// Its `allow`; absent for a global package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allow: Option<bool>,
    /// Its denials.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub deny: Vec<Reason>,
    /// Its `max_ttl`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_ttl: Option<Ttl>,
    /// Its `scopes`; absent means no narrowing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scopes: Option<BTreeSet<ScopeName>>,
    /// Its `require`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub require: Option<Require>,
    /// Its `tags`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Why it could not be evaluated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl PackageResult {
    /// A package that has said nothing yet.
    pub(super) const fn silent(package: PackageName) -> Self {
        Self {
            package,
            allow: None,
            deny: Vec::new(),
            max_ttl: None,
            scopes: None,
            require: None,
            tags: BTreeMap::new(),
            error: None,
        }
    }
}

/// What must happen before a grant counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Require {
    /// How many distinct approvers.
    pub approvals: u32,
    /// Groups that they come from; empty means any.
    pub from: BTreeSet<String>,
    /// Oldest acceptable second factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mfa_max_age: Option<Ttl>,
}

/// Facts with what every package answered.
#[derive(Debug, Clone)]
pub struct Judged {
    pub(super) facts: Arc<Facts>,
    pub(super) results: Arc<Vec<PackageResult>>,
    pub(super) revision: Fingerprint,
    pub(super) configuration: Fingerprint,
}

impl Judged {
    /// What the decision rests on.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
    /// What every package answered.
    pub fn results(&self) -> &[PackageResult] {
        &self.results
    }
    /// Digest of the policy files.
    pub const fn revision(&self) -> Fingerprint {
        self.revision
    }
    /// Digest of the configuration that the policies were loaded with: a reload meanwhile does not change it.
    pub const fn configuration(&self) -> Fingerprint {
        self.configuration
    }
}

/// The sealed proof of an allow: requested ∩ role ∩ policy. Only [`Policy::decide`](super::Policy::decide) can make one.
#[derive(Debug)]
pub struct Grant {
    pub(super) judged: Judged,
    pub(super) ttl: Ttl,
    pub(super) scopes: BTreeSet<ScopeName>,
    pub(super) tags: BTreeMap<String, String>,
}

impl Grant {
    /// What it rests on.
    pub const fn judged(&self) -> &Judged {
        &self.judged
    }
    /// Facts it rests on.
    pub fn facts(&self) -> &Facts {
        self.judged.facts()
    }
    /// The lifetime granted.
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }
    /// The scopes granted; never empty.
    pub const fn scopes(&self) -> &BTreeSet<ScopeName> {
        &self.scopes
    }
    /// Tags that policy sets.
    pub const fn tags(&self) -> &BTreeMap<String, String> {
        &self.tags
    }
}

/// What policy says. A denial is a value, not an error.
#[derive(Debug)]
pub enum Decision {
    /// Mint this.
    Allow(Grant),
    /// Allowed once these approvals exist.
    NeedsApproval(Judged, Require),
    /// No.
    Deny(Judged, Refusal),
}
