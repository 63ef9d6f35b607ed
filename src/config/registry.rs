//! Every key that policy can read, with its one origin.
//!
//! A key that is reserved stays reserved when it has no value: what a caller declares must never fill in for a claim
//! that a token lacks or a source that is down. Collisions do not load; this list is what the load guarantees.

use std::collections::BTreeMap;

use super::attributes::RESERVED_IDENTITY_KEYS;
use super::{Config, Role};
use crate::domain::AttributeName;

/// Keys of `input.context` that Tollgate itself sets.
pub const SERVER_KEYS: &[&str] =
    &["time", "timestamp", "weekday", "source_ip", "requested_ttl", "requested_ttl_seconds"];

/// Keys of `input.context` that are copies of the identity's attributes of the same name.
pub const TOKEN_KEYS: &[&str] = &["branch", "environment"];

/// Keys of `input.resource`.
const RESOURCE_KEYS: &[&str] = &["role", "provider", "tenant", "environment", "labels", "scopes"];

/// Where a key's value comes from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyOrigin {
    /// Tollgate itself.
    Server,
    /// The verified token, through the profile or the issuer entry's rules.
    Token,
    /// The role's configuration, and the request checked against it.
    Role,
    /// The named source.
    Source(String),
    /// The caller merely says so.
    Declared,
}

/// The keys that packages may read.
#[derive(Debug)]
pub struct Registry;

impl Registry {
    /// Key paths without `input.`, such as `context.commit_signed`, with their origins, for requests for `role`.
    ///
    /// `identity.claims` and `resource.labels` are open below; all else is listed whole.
    pub fn for_role(role: &Role, config: &Config) -> BTreeMap<String, KeyOrigin> {
        let mut keys = BTreeMap::from([("operation".to_owned(), KeyOrigin::Server)]);
        let mut add = |root: &str, key: &str, origin: KeyOrigin| {
            keys.entry(format!("{root}.{key}")).or_insert(origin);
        };
        for key in SERVER_KEYS {
            add("context", key, KeyOrigin::Server);
        }
        for key in TOKEN_KEYS {
            add("context", key, KeyOrigin::Token);
        }
        for key in RESERVED_IDENTITY_KEYS {
            add("identity", key, KeyOrigin::Token);
        }
        for issuer in config.issuers.values() {
            let extra = issuer.attributes.keys().map(AttributeName::as_str);
            for name in issuer.profile.attributes().iter().copied().chain(extra) {
                add("identity", name, KeyOrigin::Token);
            }
        }
        for key in RESOURCE_KEYS {
            add("resource", key, KeyOrigin::Role);
        }
        for name in &role.sources {
            for key in config.settings.sources.get(name).iter().flat_map(|source| source.facts.keys()) {
                add("context", key.as_str(), KeyOrigin::Source(name.clone()));
            }
        }
        for key in role.declared.keys() {
            add("context", key.as_str(), KeyOrigin::Declared);
            add("declared", key.as_str(), KeyOrigin::Declared);
        }
        keys
    }
}
