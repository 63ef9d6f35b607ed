//! Shared issuers: where anybody can get a token with our audience, an immutable claim must say that it is ours.
//!
//! AWS refuses new trust policies on such providers without a condition on the tenancy for the same reason. A name
//! will not do: it can be given up and registered again by somebody else.

use url::Url;

use crate::config::reader::Reader;
use crate::config::{Profile, Requirement};
use crate::domain::{IssuerUrl, Scalar};

/// Claims of GitHub that are never handed out twice. Source: GitHub docs, "OpenID Connect reference".
const GITHUB_CLAIMS: &[&str] = &["repository_owner_id", "repository_id", "enterprise_id"];

/// Claims of GitLab that are never handed out twice. Source: GitLab docs, "ID token authentication".
const GITLAB_CLAIMS: &[&str] = &["namespace_id", "project_id"];

/// Issuers that serve everybody: host, path, immutable claims. The path counts: a custom enterprise issuer of GitHub
/// lies below the shared one's host and serves one enterprise only.
const SHARED: &[(&str, &str, &[&str])] = &[
    ("token.actions.githubusercontent.com", "", GITHUB_CLAIMS),
    ("gitlab.com", "", GITLAB_CLAIMS),
    ("agent.buildkite.com", "", &["organization_id", "pipeline_id"]),
    ("app.terraform.io", "", &["terraform_organization_id", "terraform_workspace_id"]),
    ("accounts.google.com", "", &["sub"]),
];

/// Whether an issuer is shared, and by which claims an identity can then be ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sharing {
    /// The issuer serves us alone.
    Own,
    /// The issuer serves anybody; one of these claims is required.
    Shared(Vec<String>),
}

/// Finds out whether the issuer at `url` is shared. A well-known one is, whatever its file says.
pub(super) fn sharing(url: &IssuerUrl, profile: &Profile, immutable: &[String]) -> Sharing {
    let parsed = Url::parse(url.as_str()).ok();
    let place = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.path().trim_end_matches('/'))));
    let known = SHARED.iter().find(|(host, path, _)| place == Some((host, path)));
    let owned = |claims: &[&str]| claims.iter().map(|claim| (*claim).to_owned()).collect();
    match (known, profile) {
        (Some((_, _, claims)), _) => Sharing::Shared(owned(claims)),
        (None, Profile::Generic { shared: true, .. }) => Sharing::Shared(immutable.to_vec()),
        (
            None,
            Profile::Generic { shared: false, .. }
            | Profile::GitHub
            | Profile::GitLab
            | Profile::Kubernetes
            | Profile::Spiffe { .. },
        ) => Sharing::Own,
    }
}

/// Refuses a shared issuer without a requirement on an immutable claim.
pub(super) fn check(r: &Reader<'_>, sharing: &Sharing, require: &[Requirement]) {
    let Sharing::Shared(immutable) = sharing else { return };
    if require.iter().any(|rule| immutable.contains(&rule.claim)) {
        return;
    }
    let message =
        "anybody can get a token with our audience here, and no immutable claim says which are ours";
    let fix = match immutable.first() {
        Some(claim) => format!("add require = {{ {claim} = \"…\" }}; one of {} will do", immutable.join(", ")),
        None => "say which claims are never handed out twice, immutable_claims = [\"org_id\"], and require one of \
                 them; or write shared = false if the issuer serves only you"
            .to_owned(),
    };
    r.refuse("require", "not_admitting", message, &fix);
}

/// Refuses an id written as a number where the platform sends text: it would never match.
pub(super) fn check_ids(r: &Reader<'_>, profile: &Profile, require: &[Requirement]) {
    let sends_text = match profile {
        Profile::GitHub | Profile::GitLab => true,
        Profile::Kubernetes | Profile::Generic { .. } | Profile::Spiffe { .. } => false,
    };
    for rule in require.iter().filter(|rule| sends_text && rule.claim.ends_with("_id")) {
        if let Some(Scalar::Integer(number)) =
            rule.any_of.iter().find(|value| matches!(value, Scalar::Integer(_)))
        {
            let message =
                format!("the platform sends `{}` as text; the number {number} never equals it", rule.claim);
            r.refuse("require", "id_as_number", &message, &format!("write \"{number}\""));
        }
    }
}
