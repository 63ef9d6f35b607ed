//! Everything policy sees beyond identity, each key with exactly one origin.
//!
//! A fact that could not be fetched is absent and named as failed; it never gets a default, and nothing that a caller
//! declares can take its place.

#[cfg(test)]
pub(crate) mod testing;

mod assemble;
mod bound;
mod declared;
mod gather;
mod input;
mod operation;
mod origins;
mod runner;
mod schema;
mod source;
#[cfg(test)]
mod tests;

pub use bound::SetupError;
pub use gather::Gatherer;
pub use input::{Context, IdentityInput, Input, Resource, RunnerInput};
pub use operation::{OperationContext, OperationFacts, OperationInput, OperationResource};
pub use origins::Origins;
pub use schema::{input_schema, operation_schema};
pub use source::{InvalidSource, InvalidTemplate};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::config::{Role, Row, Target};
use crate::domain::{Ask, DecisionId, Refusal, ScopeName, Ttl};
use crate::identity::{Binding, Caller, Runner};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[cfg_attr(test, derive(serde::Deserialize))]
#[serde(tag = "origin", content = "name", rename_all = "snake_case")]
pub enum Origin {
    /// Tollgate itself.
    Server,
    /// A verified claim of the token, through the profile or an attribute rule.
    Token,
    /// A verified claim of the runner's own token, through the profile or an attribute rule.
    Runner,
    /// The role's configuration.
    Role,
    /// A row of a target table.
    Table(String),
    /// A verified source.
    Source(String),
    /// The caller merely said so.
    Declared,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Server => f.write_str("Tollgate itself"),
            Self::Token => f.write_str("the identity's token"),
            Self::Runner => f.write_str("the runner's own token"),
            Self::Role => f.write_str("the role"),
            Self::Table(name) => write!(f, "target table {name}"),
            Self::Source(name) => write!(f, "fact source {name}"),
            Self::Declared => f.write_str("the caller"),
        }
    }
}

/// A fact source that gave nothing: its keys are reserved, and reading one denies.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SourceFailure {
    /// The source's name.
    pub source: String,
    /// What happened, for the record.
    pub detail: String,
}

/// All that a decision rests on. Only this module can make one.
#[derive(Debug)]
pub struct Facts {
    decision: DecisionId,
    now: Timestamp,
    caller: Caller,
    runner: Option<Runner>,
    ask: Ask,
    role: Arc<Role>,
    target: Arc<Target>,
    row: Option<Row>,
    scopes: BTreeSet<ScopeName>,
    ttl: Ttl,
    input: Input,
    input_json: String,
    origins: Origins,
    failed: BTreeMap<String, SourceFailure>,
}

impl Facts {
    /// The decision that these facts are gathered for.
    pub const fn decision(&self) -> DecisionId {
        self.decision
    }
    /// The decision's time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }
    /// Who asks.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
    /// What is given is bound to: the key that the caller's token names, or its certificate if the role wants that.
    pub fn binding(&self) -> Option<Binding> {
        self.caller.binding(self.role.possession_required)
    }
    /// Where the job runs, if that is proved.
    pub const fn runner(&self) -> Option<&Runner> {
        self.runner.as_ref()
    }
    /// What is asked.
    pub const fn ask(&self) -> &Ask {
        &self.ask
    }
    /// The role.
    pub const fn role(&self) -> &Arc<Role> {
        &self.role
    }
    /// The role's target.
    pub const fn target(&self) -> &Arc<Target> {
        &self.target
    }
    /// The target table's row, if the role uses a table.
    pub const fn row(&self) -> Option<&Row> {
        self.row.as_ref()
    }
    /// Scopes asked for, or the role's default ones; each exists in the role.
    pub const fn scopes(&self) -> &BTreeSet<ScopeName> {
        &self.scopes
    }
    /// Lifetime asked for, or the role's default; not yet bounded by the role's maximum.
    pub const fn ttl(&self) -> Ttl {
        self.ttl
    }
    /// What policy sees.
    pub const fn input(&self) -> &Input {
        &self.input
    }
    /// What policy sees, as JSON text: policy reads this very text and the record keeps it.
    pub fn input_json(&self) -> &str {
        &self.input_json
    }
    /// Where each key of the input came from.
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }
    /// Key path, such as `context.commit_signed`, to the failure of the source that owns it.
    pub const fn failed(&self) -> &BTreeMap<String, SourceFailure> {
        &self.failed
    }
}

/// A refusal with what was known when it happened.
#[derive(Debug)]
pub struct Ungathered {
    /// Why.
    pub refusal: Refusal,
    /// Who asked; boxed, for it is large and rare.
    pub caller: Box<Caller>,
}
