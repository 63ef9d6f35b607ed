//! Who may do what else than ask for a credential: the packages of `[operations]` decide, each for what it is named
//! for. They say `allow` and `deny` and nothing else, and global packages, which are written for roles, have no part.

use std::sync::Arc;

use super::Policy;
use super::decision::PackageResult;
use super::engine::{EngineInput, PackageSet};
use super::merge;
use crate::domain::{Code, DecisionId, Operation, PackageName, Refusal, Tenants};
use crate::facts::OperationFacts;
use crate::identity::Caller;
use crate::secret::Fingerprint;

/// The packages of one operation, prepared.
pub(super) struct OperationSet {
    pub(super) packages: Vec<PackageName>,
    pub(super) set: Arc<PackageSet>,
}

/// An operation's facts with what every package answered.
#[derive(Debug)]
pub struct JudgedOperation {
    pub(super) facts: OperationFacts,
    pub(super) results: Vec<PackageResult>,
    pub(super) revision: Fingerprint,
    pub(super) configuration: Fingerprint,
}

impl JudgedOperation {
    /// What the decision rests on.
    pub const fn facts(&self) -> &OperationFacts {
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
    /// Digest of the configuration that the policies were loaded with.
    pub const fn configuration(&self) -> Fingerprint {
        self.configuration
    }
}

/// The sealed proof that policy allows an operation. Only [`Policy::permit`] can make one.
#[derive(Debug)]
pub struct Permit(pub(super) JudgedOperation);

impl Permit {
    /// What it rests on.
    pub const fn judged(&self) -> &JudgedOperation {
        &self.0
    }
    /// The decision.
    pub const fn decision(&self) -> DecisionId {
        self.0.facts.decision()
    }
    /// Who asked.
    pub const fn caller(&self) -> &Caller {
        self.0.facts.caller()
    }
    /// What is allowed.
    pub const fn operation(&self) -> Operation {
        self.0.facts.operation()
    }
    /// Whose things it reaches.
    pub const fn tenants(&self) -> &Tenants {
        self.0.facts.tenants()
    }
}

/// What policy says of an operation. A denial is a value, not an error.
#[derive(Debug)]
pub enum Verdict {
    /// Yes.
    Permit(Permit),
    /// No.
    Deny(JudgedOperation, Refusal),
}

impl Policy {
    /// Evaluates the packages that `[operations]` names for the operation; without any, it is denied to everybody.
    pub fn permit(&self, facts: OperationFacts) -> Verdict {
        let (results, outcome) = self.judge_operation(&facts);
        if let Err(refusal) = &outcome
            && refusal.code == Code::PolicyFailed
        {
            let detail = refusal.detail.as_deref().unwrap_or_default();
            tracing::error!(decision = %facts.decision(), operation = %facts.operation(), detail, "a policy failed");
        }
        let (revision, configuration) = (self.revision, self.configuration);
        let judged = JudgedOperation { facts, results, revision, configuration };
        match outcome {
            Ok(()) => Verdict::Permit(Permit(judged)),
            Err(refusal) => Verdict::Deny(judged, refusal),
        }
    }

    /// True if some package decides `operation`.
    pub fn decides(&self, operation: Operation) -> bool {
        self.operations.contains_key(&operation)
    }

    fn judge_operation(&self, facts: &OperationFacts) -> (Vec<PackageResult>, Result<(), Refusal>) {
        let operation = facts.operation();
        let Some(OperationSet { packages, set }) = self.operations.get(&operation) else {
            let message = format!(
                "denied {operation}: no package decides it; an operator names one under [operations] in tollgate.toml"
            );
            return (Vec::new(), Err(Refusal::new(Code::NotAllowed, message)));
        };
        let input = match EngineInput::read(facts.input_json()) {
            Ok(input) => input,
            Err(failure) => {
                let message = format!("denied {operation}: a policy could not be evaluated");
                let refusal = Refusal::new(Code::PolicyFailed, message).with_detail(failure.to_string());
                return (Vec::new(), Err(refusal));
            }
        };
        let results = set.evaluate(input, facts.now(), self.limit);
        let outcome = merge::permits(operation, packages, self.denials, &results);
        (results, outcome)
    }
}
