//! One key, one origin: settled when the configuration is loaded, whether or not a request brings a value.
//!
//! Without this a caller could declare `commit_signed` for a role whose source for it is down.

use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::{Config, Role};
use crate::domain::{AttributeName, FactKey, IssuerName};

use super::Origin;

/// Keys of `input.context` that Tollgate itself sets.
pub(super) const SERVER_KEYS: &[&str] =
    &["time", "timestamp", "weekday", "source_ip", "requested_ttl", "requested_ttl_seconds"];

/// Attributes of the identity that `input.context` repeats.
pub(super) const TOKEN_KEYS: &[&str] = &["branch", "environment"];

/// Two claims to one key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Collision {
    /// A fact key with two origins.
    #[error("`context.{key}` would come from {first} and from {second}: rename one")]
    Fact {
        /// The key.
        key: FactKey,
        /// Who has it.
        first: String,
        /// Who wants it.
        second: String,
    },
    /// An extra attribute named like one that Tollgate sets.
    #[error("issuer {issuer}: the attribute `{attribute}` is set by Tollgate itself: choose another name")]
    Attribute {
        /// The issuer entry.
        issuer: IssuerName,
        /// The attribute.
        attribute: AttributeName,
    },
}

/// Checks that no two origins claim one key.
pub(super) fn check(config: &Config) -> Result<(), Collision> {
    for issuer in config.issuers.values() {
        let reserved = |name: &&AttributeName| RESERVED_IDENTITY_KEYS.contains(&name.as_str());
        if let Some(attribute) = issuer.attributes.keys().find(reserved) {
            return Err(Collision::Attribute { issuer: issuer.name.clone(), attribute: attribute.clone() });
        }
    }
    for (name, source) in &config.settings.sources {
        for key in source.facts.keys() {
            if let Some(fixed) = fixed(key) {
                return Err(collision(key, &fixed, &Origin::Source(name.clone())));
            }
        }
    }
    config.roles.values().try_for_each(|role| check_role(config, role))
}

fn check_role(config: &Config, role: &Role) -> Result<(), Collision> {
    for key in role.declared.keys() {
        // Of any source, not only of this role's: a key means the same to every policy that reads it.
        let source = config.settings.sources.iter().find(|(_, source)| source.facts.contains_key(key));
        let taken = fixed(key).or_else(|| source.map(|(name, _)| Origin::Source(name.clone())));
        if let Some(taken) = taken {
            return Err(collision(key, &taken, &Origin::Declared));
        }
    }
    // Two sources may know the same fact (commits of two Git hosts), but never for one decision.
    let facts = |name: &String| config.settings.sources.get(name).map(|source| &source.facts);
    for (index, name) in role.sources.iter().enumerate() {
        for earlier in role.sources.iter().take(index) {
            let (Some(one), Some(other)) = (facts(earlier), facts(name)) else { continue };
            if let Some(key) = other.keys().find(|key| one.contains_key(*key)) {
                return Err(collision(key, &Origin::Source(earlier.clone()), &Origin::Source(name.clone())));
            }
        }
    }
    Ok(())
}

/// The origin of a key that neither configuration nor caller may fill.
fn fixed(key: &FactKey) -> Option<Origin> {
    if SERVER_KEYS.contains(&key.as_str()) {
        Some(Origin::Server)
    } else if TOKEN_KEYS.contains(&key.as_str()) {
        Some(Origin::Token)
    } else {
        None
    }
}

fn collision(key: &FactKey, first: &Origin, second: &Origin) -> Collision {
    Collision::Fact { key: key.clone(), first: first.to_string(), second: second.to_string() }
}
