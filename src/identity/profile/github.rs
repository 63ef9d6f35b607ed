//! GitHub Actions: github.com, its custom enterprise issuers, data residency, and Enterprise Server.
//!
//! Source: GitHub documentation, "OpenID Connect reference", claims of the token; `claims_supported` in the issuer's
//! discovery document.

use super::{Attributes, Claim, Kind, optional, required, text, trust_of};
use crate::domain::Trust;

/// Host of the github.com issuer, enterprise-specific paths included. All its ids are of one number space.
pub(super) const GITHUB_COM: &str = "token.actions.githubusercontent.com";

/// `workflow_ref` is the caller's workflow; `job_workflow_ref` is who wrote the job's steps, another repository's for a
/// reusable workflow. Policies need both (they are the same for a workflow that is not reused).
pub(super) const CLAIMS: &[Claim] = &[
    required("repository", "repository", Kind::Text),
    required("repository_id", "repository_id", Kind::Id),
    required("owner", "repository_owner", Kind::Text),
    required("owner_id", "repository_owner_id", Kind::Id),
    required("ref", "ref", Kind::Text),
    optional("ref_type", "ref_type", Kind::Text),
    optional("ref_protected", "ref_protected", Kind::Flag),
    optional("environment", "environment", Kind::Text),
    optional("workflow", "workflow", Kind::Text),
    optional("workflow_ref", "workflow_ref", Kind::Text),
    optional("job_workflow_ref", "job_workflow_ref", Kind::Text),
    optional("actor", "actor", Kind::Text),
    optional("actor_id", "actor_id", Kind::Id),
    required("event", "event_name", Kind::Text),
    optional("run_id", "run_id", Kind::Id),
    optional("run_attempt", "run_attempt", Kind::Count),
    optional("commit", "sha", Kind::Text),
    optional("runner_kind", "runner_environment", Kind::Text),
    optional("visibility", "repository_visibility", Kind::Text),
];

/// Who can make a run happen, and whose code then runs, by `event_name` (GitHub documentation, "Events that trigger
/// workflows"). The token does not say whether a pull request's head is a fork, so that none is trusted.
const EVENTS: &[(&str, Trust)] = &[
    // Only those who may write to the repository can cause these.
    ("push", Trust::Trusted),
    ("schedule", Trust::Trusted),
    ("workflow_dispatch", Trust::Trusted),
    ("repository_dispatch", Trust::Trusted),
    ("release", Trust::Trusted),
    // Somebody else's code, or text of theirs beside the repository's secrets.
    ("pull_request", Trust::Untrusted),
    ("pull_request_target", Trust::Untrusted),
    ("pull_request_review", Trust::Untrusted),
    ("pull_request_review_comment", Trust::Untrusted),
    ("issue_comment", Trust::Untrusted),
    ("issues", Trust::Untrusted),
    ("discussion", Trust::Untrusted),
    ("discussion_comment", Trust::Untrusted),
    ("fork", Trust::Untrusted),
    ("watch", Trust::Untrusted),
    ("gollum", Trust::Untrusted),
    // Runs on the default branch, on what an untrusted run left behind.
    ("workflow_run", Trust::Untrusted),
];

pub(super) fn trust(attributes: &Attributes) -> Trust {
    trust_of(EVENTS, text(attributes, "event"))
}

/// Absent for tags (`refs/tags/…`) and pull requests (`refs/pull/…`).
pub(super) fn branch(attributes: &Attributes) -> Option<String> {
    text(attributes, "ref")?.strip_prefix("refs/heads/").map(str::to_owned)
}

/// A repository keeps its id when it is renamed or moved, and a namesake registered later gets another.
pub(super) fn id(attributes: &Attributes) -> Option<String> {
    text(attributes, "repository_id").map(str::to_owned)
}
