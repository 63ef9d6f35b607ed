//! `[declared.<key>]`: what callers may claim, and that it never passes for something verified.

use std::collections::{BTreeMap, BTreeSet};

use super::known::Known;
use crate::config::reader::{Field, Reader};
use crate::config::template::placeholders;
use crate::config::{DeclaredKey, DeclaredType, origin};
use crate::domain::{FactKey, Scalar};

/// A role's declared keys.
pub(super) type Declared = BTreeMap<FactKey, DeclaredKey>;

/// Longest text unless the key says otherwise, in bytes.
const DEFAULT_MAX_BYTES: usize = 256;

/// Reads one declared key, and refuses one that something verified owns, in any role.
///
/// What is only claimed must never fill in for what is verified. A source that this role does not ask counts too: one
/// package may serve a role where `ticket_approved` is verified and another where the caller could simply say so.
pub(super) fn key(key: &FactKey, field: &Field<'_>, known: &Known<'_>) -> Option<DeclaredKey> {
    let mut sources = known.sources.iter().filter_map(|(name, source)| Some((name, source.as_ref()?)));
    let source = sources.find(|(_, source)| source.facts.contains_key(key));
    let source = source.map(|(name, _)| format!("the source `{}`", name.as_str()));
    if let Some(owner) = origin::owner(key.as_str()).map(str::to_owned).or(source) {
        let message = format!(
            "`{key}` comes from {owner}; the caller cannot declare it too, for a fact has exactly one origin"
        );
        field.refuse("fact_origin", &message, "give the declared key another name");
    }
    field.table(read).flatten()
}

fn read(r: &mut Reader<'_>) -> Option<DeclaredKey> {
    let text = DeclaredType::Text { max_bytes: DEFAULT_MAX_BYTES };
    let words = [("text", text), ("integer", DeclaredType::Integer), ("boolean", DeclaredType::Boolean)];
    let kind = r.need("type", "\"text\", \"integer\" or \"boolean\"").and_then(|field| field.choice(&words));
    let required = r.flag("required");
    let kind = match kind {
        Some(DeclaredType::Text { max_bytes }) => {
            let written = r.integer("max_bytes", "a whole number", &(1..=4096));
            Some(DeclaredType::Text { max_bytes: written.unwrap_or(max_bytes) })
        }
        Some(other) => Some(other),
        None => {
            r.ignore_the_rest();
            None
        }
    };
    let one_of = r.get("one_of", "a list of the accepted values").and_then(|field| one_of(&field, kind));
    Some(DeclaredKey { kind: kind?, required, one_of })
}

fn one_of(field: &Field<'_>, kind: Option<DeclaredType>) -> Option<BTreeSet<Scalar>> {
    let items = field.items()?;
    if items.is_empty() {
        field.refuse(
            "empty_list",
            "no value would be accepted",
            "list the accepted values, or remove the key",
        );
    }
    let mut values = BTreeSet::new();
    for item in &items {
        let Some(value) = item.scalar() else { continue };
        let fits = match (kind, &value) {
            (Some(DeclaredType::Text { max_bytes }), Scalar::Text(text)) => text.len() <= max_bytes,
            (Some(DeclaredType::Integer), Scalar::Integer(_))
            | (Some(DeclaredType::Boolean), Scalar::Bool(_))
            | (None, _) => true,
            (Some(_), _) => false,
        };
        if !fits {
            item.refuse(
                "wrong_type",
                "the value does not fit the key's type",
                "write values of that type, within max_bytes",
            );
        }
        values.insert(value);
    }
    Some(values)
}

/// Refuses a source whose URL takes something that this role's requests may not have.
pub(super) fn check_placeholders(item: &Field<'_>, url: &str, known: &Known<'_>, declared: &Declared) {
    for name in placeholders(url) {
        let name = name.strip_suffix(":path").unwrap_or(name);
        if let Some(key) = name.strip_prefix("declared.") {
            if !declared.get(key).is_some_and(|key| key.required) {
                let message =
                    format!("the source's URL takes {{{name}}}, which requests for this role need not have");
                item.refuse(
                    "source_placeholder",
                    &message,
                    &format!("add [declared.{key}] with required = true"),
                );
            }
        } else if !known.may_have_attribute(name) {
            let message = format!("the source's URL takes {{{name}}}, and no issuer gives such an attribute");
            item.refuse("source_placeholder", &message, &known.attribute_fix(name));
        }
    }
}
