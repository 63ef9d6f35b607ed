//! Rego decides. Load refuses what could fail open; core bounds what policy may grant.
//!
//! ```text
//! files ─► scan ─► syntax ─► packages ─► collect, resolve ─► graph ─► lint ─► one engine per package set
//! facts ─► failed keys? ─► projection ─► memory or engine ─► result ─► merge ─► Grant | Require | Refusal
//! ```
//! Never here: network, environment, randomness, a clock other than the decision's, and a default that allows.

#[cfg(test)]
pub(crate) mod testing;

mod builtins;
mod collect;
mod contract;
mod decision;
mod describe;
mod engine;
mod extensions;
mod graph;
mod known;
mod lint;
mod load;
mod memory;
mod merge;
mod operation;
mod packages;
mod projection;
mod reference;
mod regorus_error;
mod report;
mod resolve;
mod result;
mod scan;
mod smoke;
mod source;
mod syntax;
#[cfg(test)]
mod tests;

pub use decision::{Decision, Grant, Judged, PackageResult, Require};
pub use describe::{PackageDescription, RoleDescription};
pub use operation::{JudgedOperation, Permit, Verdict};
pub use syntax::Syntax;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, DenialDetail, Problems, Role};
use crate::domain::{Code, Operation, Refusal, RoleName};
use crate::facts::{Facts, SourceFailure};
use crate::secret::Fingerprint;
use engine::PackageSet;
use merge::{Asked, Merged};
use operation::OperationSet;
use packages::Packages;

/// What every package answered.
type Results = Arc<Vec<PackageResult>>;

/// All packages, loaded, analysed and prepared.
pub struct Policy {
    packages: Packages,
    sets: BTreeMap<RoleName, Arc<PackageSet>>,
    operations: BTreeMap<Operation, OperationSet>,
    revision: Fingerprint,
    configuration: Fingerprint,
    limit: Duration,
    denials: DenialDetail,
}

impl Policy {
    /// Loads every package below `config.settings.policies` and prepares one engine per distinct package set.
    ///
    /// Returns the policies with their warnings.
    ///
    /// # Errors
    /// Every problem: syntax, unsafe constructs, unknown packages, dynamic references, reserved keys.
    pub fn load(config: &Config) -> Result<(Self, Problems), Problems> {
        load::load(config, source::read_folder(&config.settings.policies)?)
    }

    /// Loads packages that are already in memory, by path below the policy folder; for policies that are compiled in.
    ///
    /// Returns the policies with their warnings.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn load_files(
        config: &Config,
        files: impl IntoIterator<Item = (PathBuf, String)>,
    ) -> Result<(Self, Problems), Problems> {
        let (files, problems) = source::from_texts(&config.settings.policies, files);
        if problems.stop_the_load() { Err(problems) } else { load::load(config, files) }
    }

    /// Evaluates the role's packages and the global ones, and merges their results with core's limits.
    pub fn decide(&self, facts: Facts) -> Decision {
        let asked = Asked {
            role: facts.role(),
            ttl: facts.ttl(),
            scopes: facts.scopes(),
            ceiling: merge::ceiling(&facts.target().kind),
            denials: self.denials,
        };
        let (results, merged) = self.judge(asked, &facts);
        let judged = Judged {
            facts: Arc::new(facts),
            results,
            revision: self.revision,
            configuration: self.configuration,
        };
        match merged {
            Merged::Allow { ttl, scopes, tags } => Decision::Allow(Grant { judged, ttl, scopes, tags }),
            Merged::NeedsApproval(require) => Decision::NeedsApproval(judged, require),
            Merged::Deny(refusal) => Decision::Deny(judged, refusal),
        }
    }

    /// Digest over every policy file, path and content.
    pub const fn revision(&self) -> Fingerprint {
        self.revision
    }

    /// Evaluates the packages of every role and operation once with a minimal, made-up input, so that mistakes which only show when a
    /// rule runs are found before a request finds them.
    ///
    /// Returns an error for every package that fails. Whether one allows or denies does not matter here.
    pub fn smoke(&self, config: &Config) -> Problems {
        smoke::run(self, config)
    }

    /// Every role with its packages, their files and syntax, and the keys of `input` that they read.
    pub fn describe(&self) -> Vec<RoleDescription> {
        describe::roles(self)
    }

    fn judge(&self, asked: Asked<'_>, facts: &Facts) -> (Results, Merged) {
        let found = self.prepared(asked.role, facts.input().operation, facts.failed());
        let set = match found {
            Ok(set) => set,
            Err(refusal) => return (Results::default(), Merged::Deny(refusal)),
        };
        let (results, merged) = self.evaluate(set, asked, facts.input_json(), facts.now());
        if let Merged::Deny(refusal) = &merged
            && refusal.code == Code::PolicyFailed
        {
            let detail = refusal.detail.as_deref().unwrap_or_default();
            tracing::error!(decision = %facts.decision(), role = %asked.role.name, detail, "a policy failed");
        }
        (results, merged)
    }

    /// The role's packages, if they answer this operation and if every key that they read could be fetched.
    fn prepared(
        &self,
        role: &Role,
        operation: Operation,
        failed: &BTreeMap<String, SourceFailure>,
    ) -> Result<&PackageSet, Refusal> {
        if !operation.is_decided_by_role() {
            let message = format!("denied {}: its policies answer requests for credentials only", role.name);
            return Err(Refusal::new(Code::NotAllowed, message));
        }
        let Some(set) = self.sets.get(&role.name) else {
            tracing::error!(role = %role.name, "a role has no prepared policies");
            let message = format!("denied {}: a policy could not be evaluated", role.name);
            return Err(Refusal::new(Code::PolicyFailed, message).with_detail("no package set is prepared"));
        };
        for (key, failure) in failed {
            let path: Vec<String> = key.split('.').map(str::to_owned).collect();
            if set.closure().reads(&path) {
                let message = format!("the fact source {} could not be asked", failure.source);
                let detail = format!("{key}: {}", failure.detail);
                return Err(Refusal::new(Code::FactsUnavailable, message).with_detail(detail));
            }
        }
        Ok(set)
    }

    fn evaluate(
        &self,
        set: &PackageSet,
        asked: Asked<'_>,
        input_json: &str,
        now: jiff::Timestamp,
    ) -> (Results, Merged) {
        match set.answer(input_json, now, self.limit) {
            Ok(results) => {
                let merged = merge::merge(asked, &results);
                (results, merged)
            }
            Err(failure) => {
                let message = format!("denied {}: a policy could not be evaluated", asked.role.name);
                let refusal = Refusal::new(Code::PolicyFailed, message).with_detail(failure.to_string());
                (Results::default(), Merged::Deny(refusal))
            }
        }
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles = self.sets.len();
        f.debug_struct("Policy")
            .field("revision", &self.revision)
            .field("roles", &roles)
            .finish_non_exhaustive()
    }
}
