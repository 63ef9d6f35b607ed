//! GitLab CI: gitlab.com and self-managed.
//!
//! Source: GitLab documentation, "OpenID Connect (OIDC) Authentication Using ID Tokens", token payload. Ids and booleans
//! are text there (`"project_id": "22"`, `"ref_protected": "true"`), except `runner_id`.

use super::{Attributes, Claim, Kind, optional, required, text, trust_of};
use crate::domain::Trust;

/// Host of the issuer that serves everybody.
pub(super) const GITLAB_COM: &str = "gitlab.com";

/// Tokens of a merge request from a fork carry the fork's project, even where the pipeline runs in the target project.
pub(super) const CLAIMS: &[Claim] = &[
    required("repository", "project_path", Kind::Text),
    required("repository_id", "project_id", Kind::Id),
    required("owner", "namespace_path", Kind::Text),
    required("owner_id", "namespace_id", Kind::Id),
    required("ref", "ref", Kind::Text),
    required("ref_type", "ref_type", Kind::Text),
    optional("ref_path", "ref_path", Kind::Text),
    required("ref_protected", "ref_protected", Kind::Flag),
    optional("environment", "environment", Kind::Text),
    optional("environment_protected", "environment_protected", Kind::Flag),
    optional("workflow_ref", "ci_config_ref_uri", Kind::Text),
    optional("actor", "user_login", Kind::Text),
    optional("actor_id", "user_id", Kind::Id),
    required("event", "pipeline_source", Kind::Text),
    optional("run_id", "pipeline_id", Kind::Id),
    optional("job_id", "job_id", Kind::Id),
    optional("commit", "sha", Kind::Text),
    optional("runner_kind", "runner_environment", Kind::Text),
    optional("runner_id", "runner_id", Kind::Id),
    optional("visibility", "project_visibility", Kind::Text),
];

/// By `pipeline_source` (GitLab documentation, values of `CI_PIPELINE_SOURCE`). A child pipeline
/// (`parent_pipeline`) does not say what started its parent, which may be a merge request: it stays unknown.
const SOURCES: &[(&str, Trust)] = &[
    ("push", Trust::Trusted),
    ("web", Trust::Trusted),
    ("webide", Trust::Trusted),
    ("schedule", Trust::Trusted),
    ("api", Trust::Trusted),
    ("trigger", Trust::Trusted),
    ("merge_request_event", Trust::Untrusted),
    ("external_pull_request_event", Trust::Untrusted),
];

/// A merge request's ref is untrusted whatever the source says.
pub(super) fn trust(attributes: &Attributes) -> Trust {
    if text(attributes, "ref_path").is_some_and(|path| path.starts_with("refs/merge-requests/")) {
        return Trust::Untrusted;
    }
    trust_of(SOURCES, text(attributes, "event"))
}

/// A merge request from a branch called `main`, in a fork too, has `ref` = `main` and `ref_type` = `branch`. Only
/// `ref_path` (GitLab 16.0) tells, or the source.
pub(super) fn branch(attributes: &Attributes) -> Option<String> {
    let name = text(attributes, "ref")?;
    let is_branch = match text(attributes, "ref_path") {
        Some(path) => path.strip_prefix("refs/heads/") == Some(name),
        None => trust(attributes) == Trust::Trusted,
    };
    (is_branch && text(attributes, "ref_type") == Some("branch")).then(|| name.to_owned())
}

pub(super) fn id(attributes: &Attributes) -> Option<String> {
    text(attributes, "repository_id").map(str::to_owned)
}
