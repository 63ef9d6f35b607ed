//! Which keys of `input` anything can provide, and of which type: what a misspelt or impossible key is found by.

use std::collections::BTreeSet;

use super::collect::Kind;
use crate::config::attributes::{
    RESERVED_IDENTITY_KEYS, RESERVED_RUNNER_KEYS, RUNNER_TEXT_KEYS, profile_attributes,
};
use crate::config::origin::{OPERATION_RESOURCE_KEYS, RESOURCE_KEYS, SERVER_KEYS, TOKEN_KEYS};
use crate::config::{Config, Role};

/// Members of `input`.
pub(super) const ROOTS: [&str; 7] =
    ["operation", "identity", "runner", "resource", "context", "declared", "history"];

/// Keys with a type that never changes.
const TYPED: [(&[&str], Kind); 31] = [
    (&["operation"], Kind::Text),
    (&["identity", "issuer"], Kind::Text),
    (&["identity", "kind"], Kind::Text),
    (&["identity", "subject"], Kind::Text),
    (&["identity", "principal"], Kind::Text),
    (&["identity", "tenant"], Kind::Text),
    (&["identity", "trust"], Kind::Text),
    (&["identity", "age_seconds"], Kind::Number),
    (&["identity", "bound"], Kind::Boolean),
    (&["identity", "repository_id"], Kind::Text),
    (&["identity", "owner_id"], Kind::Text),
    (&["identity", "ref_protected"], Kind::Boolean),
    (&["runner", "id"], Kind::Text),
    (&["runner", "issuer"], Kind::Text),
    (&["runner", "kind"], Kind::Text),
    (&["runner", "principal"], Kind::Text),
    (&["runner", "spiffe_id"], Kind::Text),
    (&["runner", "tenant"], Kind::Text),
    (&["runner", "region"], Kind::Text),
    (&["runner", "pool"], Kind::Text),
    (&["resource", "role"], Kind::Text),
    (&["resource", "provider"], Kind::Text),
    (&["resource", "tenant"], Kind::Text),
    (&["resource", "environment"], Kind::Text),
    (&["resource", "all_tenants"], Kind::Boolean),
    (&["context", "time"], Kind::Text),
    (&["context", "timestamp"], Kind::Text),
    (&["context", "weekday"], Kind::Text),
    (&["context", "requested_ttl"], Kind::Number),
    (&["context", "requested_ttl_seconds"], Kind::Number),
    (&["history", "count_24h"], Kind::Number),
];

/// The type of the key at `path`, if it never changes.
pub(super) fn type_of(path: &[String]) -> Option<Kind> {
    TYPED.iter().find(|(typed, _)| typed.iter().eq(path)).map(|(_, kind)| *kind)
}

/// The keys that a configuration provides.
pub(super) struct Known {
    identity: BTreeSet<String>,
    runner: BTreeSet<String>,
    context: BTreeSet<String>,
    declared: BTreeSet<String>,
}

impl Known {
    /// Over all issuers and roles of `config`.
    pub(super) fn new(config: &Config) -> Self {
        let identities = config.issuers.values().filter(|issuer| issuer.vouches_for_identities());
        let own = identities.flat_map(|issuer| issuer.own_attributes());
        let rules = config.issuers.values().filter_map(|issuer| issuer.runner.as_ref());
        let members = rules.flat_map(|rules| rules.members.keys()).map(ToString::to_string);
        let always = RESERVED_RUNNER_KEYS.iter().chain(RUNNER_TEXT_KEYS).map(|key| (*key).to_owned());
        let fixed = RESERVED_IDENTITY_KEYS.iter().copied().chain(profile_attributes()).map(str::to_owned);
        let mut context: BTreeSet<String> = context_of_all().map(str::to_owned).collect();
        let mut declared = BTreeSet::new();
        for role in config.roles.values() {
            context.extend(context_of(config, role));
            declared.extend(role.declared.keys().map(ToString::to_string));
        }
        Self {
            identity: fixed.chain(own.map(ToString::to_string)).collect(),
            runner: always.chain(members).collect(),
            context,
            declared,
        }
    }

    /// The names known beside the second component of `path`; none where any name can stand.
    pub(super) fn siblings<'a>(&'a self, path: &[String]) -> Option<Vec<&'a str>> {
        let all = |names: &'a BTreeSet<String>| Some(names.iter().map(String::as_str).collect());
        match path.first().map(String::as_str) {
            Some("identity") => all(&self.identity),
            Some("runner") => all(&self.runner),
            Some("context") => all(&self.context),
            Some("declared") => all(&self.declared),
            Some("resource") => Some([RESOURCE_KEYS, OPERATION_RESOURCE_KEYS].concat()),
            _ => None,
        }
    }
}

/// The keys of `input.context` that every request has, or that repeat an attribute.
fn context_of_all() -> impl Iterator<Item = &'static str> {
    SERVER_KEYS.iter().chain(TOKEN_KEYS).copied()
}

/// The keys of `input.context` that a request for `role` may have.
pub(super) fn context_of(config: &Config, role: &Role) -> BTreeSet<String> {
    let sources = role.sources.iter().filter_map(|name| config.settings.sources.get(name));
    let facts = sources.flat_map(|source| source.facts.keys());
    let keys = facts.chain(role.declared.keys()).map(ToString::to_string);
    keys.chain(context_of_all().map(str::to_owned)).collect()
}
