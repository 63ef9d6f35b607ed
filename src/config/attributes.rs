//! The attributes that each profile gives, and the names nobody else may use. Identity fills them in.

use super::Profile;

/// Keys of `input.identity` that are not attributes.
pub const RESERVED_IDENTITY_KEYS: &[&str] =
    &["issuer", "kind", "subject", "principal", "tenant", "trust", "age_seconds", "bound", "claims"];

/// Keys of `input.runner` that no attribute fills.
pub const RESERVED_RUNNER_KEYS: &[&str] = &["issuer", "kind", "principal", "spiffe_id", "tenant"];

/// Keys of `input.runner` that an attribute fills, as text.
pub const RUNNER_TEXT_KEYS: &[&str] = &["id", "region", "pool"];

/// Claims of an access token that an attribute may not shadow: those that Tollgate sets, and those that verifiers give a meaning
/// (RFC 7519, section 4.1; RFC 8693, section 4; RFC 7800, section 3.1; RFC 9068, sections 2.2 and 2.2.1).
pub const RESERVED_CLAIMS: &[&str] = &[
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "client_id",
    "scope",
    "role",
    "tenant",
    "act",
    "may_act",
    "cnf",
    "azp",
    "auth_time",
    "acr",
    "amr",
    "nonce",
    "sid",
];

/// GitHub Actions.
const GITHUB: &[&str] = &[
    "repository",
    "repository_id",
    "owner",
    "owner_id",
    "ref",
    "ref_type",
    "ref_protected",
    "branch",
    "environment",
    "workflow",
    "workflow_ref",
    "job_workflow_ref",
    "actor",
    "actor_id",
    "event",
    "run_id",
    "run_attempt",
    "commit",
    "runner_kind",
    "visibility",
];

/// GitLab CI: the same words where the thing is the same (a project is a repository, a namespace its owner).
const GITLAB: &[&str] = &[
    "repository",
    "repository_id",
    "owner",
    "owner_id",
    "ref",
    "ref_path",
    "ref_type",
    "ref_protected",
    "branch",
    "environment",
    "environment_protected",
    "workflow_ref",
    "actor",
    "actor_id",
    "event",
    "run_id",
    "job_id",
    "commit",
    "runner_kind",
    "runner_id",
    "visibility",
];

/// Kubernetes service accounts.
const KUBERNETES: &[&str] =
    &["namespace", "service_account", "service_account_uid", "pod", "pod_uid", "node"];

/// Workloads of a SPIFFE trust domain: the rest comes from the forms of their paths.
const SPIFFE: &[&str] = &["spiffe_id", "trust_domain"];

impl Profile {
    /// Names of the attributes that the profile gives, reserved in every issuer's `[attributes]`.
    pub const fn attributes(&self) -> &'static [&'static str] {
        match self {
            Self::GitHub => GITHUB,
            Self::GitLab => GITLAB,
            Self::Kubernetes => KUBERNETES,
            Self::Generic { .. } => &[],
            Self::Spiffe { .. } => SPIFFE,
        }
    }
}

/// Attributes that any profile gives.
pub fn profile_attributes() -> impl Iterator<Item = &'static str> {
    [GITHUB, GITLAB, KUBERNETES, SPIFFE].into_iter().flatten().copied()
}

/// True if any profile gives an attribute of this name.
pub(super) fn is_profile_attribute(name: &str) -> bool {
    profile_attributes().any(|given| given == name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::AttributeName;

    #[test]
    fn names_are_valid_unique_and_not_reserved() {
        for names in [GITHUB, GITLAB, KUBERNETES, SPIFFE] {
            for (index, name) in names.iter().enumerate() {
                assert!(name.parse::<AttributeName>().is_ok(), "{name}");
                assert!(!names[..index].contains(name), "{name} twice");
                assert!(!RESERVED_IDENTITY_KEYS.contains(name), "{name}");
            }
        }
    }
}
