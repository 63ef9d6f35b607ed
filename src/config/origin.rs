//! Whose each key of policy's input is: one key has one origin.
//!
//! A key that is reserved stays reserved when it has no value: what a caller declares must never fill in for a claim
//! that a token lacks or a source that is down. Collisions do not load.

use super::attributes::is_profile_attribute;

/// Keys of `input.context` that Tollgate itself sets.
pub const SERVER_KEYS: &[&str] =
    &["time", "timestamp", "weekday", "source_ip", "requested_ttl", "requested_ttl_seconds"];

/// Keys of `input.context` that are copies of the identity's attributes of the same name.
pub const TOKEN_KEYS: &[&str] = &["branch", "environment"];

/// Keys of `input.resource`; those of `labels` are open.
pub const RESOURCE_KEYS: &[&str] = &["role", "provider", "tenant", "environment", "labels", "scopes"];

/// Keys of `input.resource` in an operation that no role decides; those of `filter` are open.
pub const OPERATION_RESOURCE_KEYS: &[&str] = &["tenant", "all_tenants", "filter"];

/// Who owns the fact `key` already, whatever sources and roles there are; neither of them may fill it.
pub(super) fn owner(key: &str) -> Option<&'static str> {
    if SERVER_KEYS.contains(&key) {
        Some("Tollgate itself")
    } else if TOKEN_KEYS.contains(&key) || is_profile_attribute(key) {
        Some("the verified token")
    } else {
        None
    }
}
