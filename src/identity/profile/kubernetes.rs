//! Kubernetes service accounts: bound tokens, as projected volumes and `TokenRequest` give them.
//!
//! Source: Kubernetes documentation, "Managing Service Accounts", schema of service account private claims. The older
//! tokens kept in secrets have neither these claims nor an expiry, and are refused.

use super::{Attributes, Claim, Kind, optional, required, text};
use crate::domain::Trust;

pub(super) const CLAIMS: &[Claim] = &[
    required("namespace", "/kubernetes.io/namespace", Kind::Text),
    required("service_account", "/kubernetes.io/serviceaccount/name", Kind::Text),
    required("service_account_uid", "/kubernetes.io/serviceaccount/uid", Kind::Text),
    optional("pod", "/kubernetes.io/pod/name", Kind::Text),
    optional("pod_uid", "/kubernetes.io/pod/uid", Kind::Text),
    optional("node", "/kubernetes.io/node/name", Kind::Text),
];

/// A cluster knows no forks: whoever runs under a service account was allowed to by the cluster's own rules, and its
/// API server vouches for it.
pub(super) const TRUST: Trust = Trust::Trusted;

/// A service account deleted and made again under its name has another UID.
pub(super) fn id(attributes: &Attributes) -> Option<String> {
    text(attributes, "service_account_uid").map(str::to_owned)
}
