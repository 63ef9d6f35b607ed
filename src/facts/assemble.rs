//! Lays out the policy input and names the origin of every key in it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::{Context, IdentityInput, Input, Origin, Origins, Resource, SourceFailure, runner};
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::origin::TOKEN_KEYS;
use crate::config::{Role, Row, Target, TargetKind};
use crate::domain::{Ask, AttributeName, FactKey, Operation, Scalar, ScopeName, Ttl};
use crate::identity::{Attributes, Caller, Runner};

/// Prefix of the table columns that become labels.
const LABEL_COLUMN: &str = "label.";

/// All that is known about one request, still apart.
pub(super) struct Pieces<'a> {
    pub(super) now: Timestamp,
    pub(super) zone: &'a TimeZone,
    pub(super) caller: &'a Caller,
    pub(super) runner: Option<&'a Runner>,
    pub(super) ask: &'a Ask,
    pub(super) role: &'a Role,
    pub(super) target: &'a Target,
    /// The row and the name of its table.
    pub(super) row: Option<(&'a Row, &'a str)>,
    pub(super) scopes: &'a BTreeSet<ScopeName>,
    pub(super) ttl: Ttl,
    /// What the sources gave, with the source's name.
    pub(super) sourced: Vec<(FactKey, Value, String)>,
    /// Key path to failure.
    pub(super) failed: &'a BTreeMap<String, SourceFailure>,
}

impl Pieces<'_> {
    /// The input, and the origin of every key that it has or that a failed source should have filled.
    pub(super) fn assemble(mut self) -> (Input, Origins) {
        let mut origins = Origins::new();
        origins.add("", "operation", &Origin::Server);
        let sourced = std::mem::take(&mut self.sourced);
        let input = Input {
            operation: Operation::Mint,
            identity: identity(self.caller, self.now, &mut origins),
            runner: self.runner.map(|runner| runner::input(runner, &mut origins)),
            resource: self.resource(&mut origins),
            context: self.context(sourced, &mut origins),
            declared: self.declared(&mut origins),
        };
        for (path, failure) in self.failed {
            // A source's facts are all in the context.
            let key = path.strip_prefix("context.").unwrap_or(path);
            origins.add("context", key, &Origin::Source(failure.source.clone()));
        }
        (input, origins)
    }

    fn resource(&self, origins: &mut Origins) -> Resource {
        let role = self.role;
        let mut labels = role.labels.clone();
        let mut from_table = BTreeSet::new();
        if let Some((row, table)) = self.row {
            for (column, value) in &row.values {
                let Some(label) = column.strip_prefix(LABEL_COLUMN) else { continue };
                // An empty cell says nothing; it must not blank the role's own label.
                if !value.is_empty() {
                    labels.insert(label.to_owned(), value.clone());
                    from_table.insert(label);
                    origins.add("resource.labels", label, &Origin::Table(table.to_owned()));
                }
            }
        }
        for label in labels.keys().filter(|label| !from_table.contains(label.as_str())) {
            origins.add("resource.labels", label, &Origin::Role);
        }
        for key in ["role", "provider", "tenant", "scopes"] {
            origins.add("resource", key, &Origin::Role);
        }
        if role.environment.is_some() {
            origins.add("resource", "environment", &Origin::Role);
        }
        Resource {
            role: role.name.as_str().to_owned(),
            provider: provider(&self.target.kind).to_owned(),
            tenant: role.tenant.as_str().to_owned(),
            environment: role.environment.clone(),
            labels,
            scopes: self.scopes.iter().map(|scope| scope.as_str().to_owned()).collect(),
        }
    }

    fn context(&self, sourced: Vec<(FactKey, Value, String)>, origins: &mut Origins) -> Context {
        let mut facts = BTreeMap::new();
        let mut add = |key: &str, value: Value, origin: &Origin| {
            origins.add("context", key, origin);
            facts.insert(key.to_owned(), value);
        };
        for key in TOKEN_KEYS {
            if let Some(value) = self.caller.attributes().get(*key).filter(|value| !value.is_null()) {
                add(key, value.clone(), &Origin::Token);
            }
        }
        for (key, value, source) in sourced {
            add(key.as_str(), value, &Origin::Source(source));
        }
        for (key, value) in &self.ask.declared {
            add(key.as_str(), value_of(value), &Origin::Declared);
        }
        for key in ["time", "timestamp", "weekday", "requested_ttl", "requested_ttl_seconds"] {
            origins.add("context", key, &Origin::Server);
        }
        if self.ask.source_ip.is_some() {
            origins.add("context", "source_ip", &Origin::Server);
        }
        let (time, weekday) = clock_face(self.zone, self.now);
        Context {
            time,
            timestamp: self.now.to_string(),
            weekday,
            source_ip: self.ask.source_ip.map(|address| address.to_canonical().to_string()),
            requested_ttl: self.ttl.as_minutes(),
            requested_ttl_seconds: self.ttl.as_secs(),
            facts,
        }
    }

    fn declared(&self, origins: &mut Origins) -> BTreeMap<String, Value> {
        let mut declared = BTreeMap::new();
        for (key, value) in &self.ask.declared {
            origins.add("declared", key.as_str(), &Origin::Declared);
            declared.insert(key.as_str().to_owned(), value_of(value));
        }
        declared
    }
}

/// `input.identity`, and the origin of every key in it.
pub(super) fn identity(caller: &Caller, now: Timestamp, origins: &mut Origins) -> IdentityInput {
    let attributes = own(caller.attributes());
    for key in RESERVED_IDENTITY_KEYS.iter().copied().chain(attributes.keys().map(AttributeName::as_str)) {
        let origin = if key == "age_seconds" { Origin::Server } else { Origin::Token };
        origins.add("identity", key, &origin);
    }
    let age = now.duration_since(caller.issued_at()).as_secs();
    IdentityInput {
        issuer: caller.issuer_url().as_str().to_owned(),
        kind: caller.kind().to_owned(),
        subject: caller.subject().to_owned(),
        principal: caller.principal().as_str().to_owned(),
        tenant: caller.tenant().as_str().to_owned(),
        trust: caller.trust(),
        // Within the accepted skew a token may be from the future; it is then as young as can be.
        age_seconds: u64::try_from(age).unwrap_or(0),
        bound: caller.has_key(),
        attributes,
        claims: Arc::clone(caller.claims()),
    }
}

/// `HH:MM` and the weekday of `now` in `zone`.
pub(super) fn clock_face(zone: &TimeZone, now: Timestamp) -> (String, String) {
    let local = zone.to_datetime(now);
    (format!("{:02}:{:02}", local.hour(), local.minute()), weekday(local.weekday()).to_owned())
}

/// Attributes that stand beside what Tollgate sets. Flattening would write a reserved one twice, and the later would win.
/// A null would compare as smaller than every number.
///
/// There is hardly ever one to leave out; the caller's own are then shared.
fn own(attributes: &Arc<Attributes>) -> Arc<Attributes> {
    let is_own = |(name, value): (&AttributeName, &Value)| {
        let reserved = RESERVED_IDENTITY_KEYS.contains(&name.as_str());
        !reserved && !value.is_null()
    };
    if attributes.iter().all(is_own) {
        return Arc::clone(attributes);
    }
    let own = attributes.iter().filter(|&(name, value)| is_own((name, value)));
    Arc::new(own.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// A scalar as policy sees it.
pub(super) fn value_of(scalar: &Scalar) -> Value {
    match scalar {
        Scalar::Bool(value) => Value::from(*value),
        Scalar::Integer(value) => Value::from(*value),
        Scalar::Text(value) => Value::from(value.as_str()),
    }
}

/// `input.resource.provider`.
const fn provider(kind: &TargetKind) -> &'static str {
    match kind {
        TargetKind::Aws(_) => "aws",
        TargetKind::Vault(_) => "vault",
        TargetKind::Jwt(_) => "jwt",
    }
}

const fn weekday(day: Weekday) -> &'static str {
    match day {
        Weekday::Monday => "monday",
        Weekday::Tuesday => "tuesday",
        Weekday::Wednesday => "wednesday",
        Weekday::Thursday => "thursday",
        Weekday::Friday => "friday",
        Weekday::Saturday => "saturday",
        Weekday::Sunday => "sunday",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn p_06_no_attribute_shadows_what_tollgate_sets() {
        let names = ["trust", "tenant", "claims", "age_seconds", "on_call"];
        let attributes = names.map(|name| (name.parse().unwrap(), json!("forged")));
        let left = BTreeMap::from([("on_call".parse().unwrap(), json!("forged"))]);
        assert_eq!(*own(&Arc::new(attributes.into())), left);
    }

    #[test]
    fn p_13_a_null_attribute_is_absent() {
        let attributes = [("on_call".parse().unwrap(), Value::Null)];
        assert!(own(&Arc::new(attributes.into())).is_empty());
    }
}
