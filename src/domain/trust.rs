//! Whether the steps of a job were written by those who may.

use schemars::JsonSchema;
use serde::Serialize;

/// How far a job's steps can be trusted; every identity has one of these.
///
/// Total on purpose: a policy that denies `trust != "trusted"` works for an issuer that says nothing about forks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// The platform vouches that only members of the project wrote the steps that run.
    Trusted,
    /// A fork, a pull request, or a re-run with a shell: somebody else may steer the job.
    Untrusted,
    /// The issuer says nothing that would tell.
    Unknown,
}
