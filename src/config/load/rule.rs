//! Where a tenant or an extra attribute comes from: a constant, a claim, or a table over a claim.

use std::collections::BTreeMap;

use super::source::is_pointer;
use crate::config::AttributeRule;
use crate::config::reader::{Field, Reader, quoted};
use crate::domain::{AttributeName, Scalar, TenantName};

/// How to write a rule.
pub(super) const EXPECTED: &str =
    "a constant, { claim = \"/path\" }, or { claim = \"/path\", values = { … } }";

/// Reads a rule.
pub(super) fn rule(field: &Field<'_>) -> Option<AttributeRule> {
    if field.is_table() {
        field.table(over_claim).flatten()
    } else {
        field.scalar().map(AttributeRule::Constant)
    }
}

/// Reads a rule whose values are tenants.
pub(super) fn tenant(field: &Field<'_>) -> Option<AttributeRule> {
    let rule = rule(field)?;
    let constants: Vec<&Scalar> = match &rule {
        AttributeRule::Constant(value) => vec![value],
        AttributeRule::Claim(_) => Vec::new(),
        AttributeRule::Table { values, .. } => values.values().collect(),
    };
    for value in constants {
        let fits = matches!(value, Scalar::Text(text) if text.parse::<TenantName>().is_ok());
        if !fits {
            let shown = if let Scalar::Text(text) = value { quoted(text) } else { value.kind().to_owned() };
            let message = format!("{shown} is not a tenant's name");
            field.refuse("bad_tenant", &message, "write [a-z0-9][a-z0-9_.:-]*, at most 60 bytes");
        }
    }
    Some(rule)
}

fn over_claim(r: &mut Reader<'_>) -> Option<AttributeRule> {
    let claim: Option<String> = r.required("claim", "a JSON pointer, such as \"/groups_direct\"");
    let written = r.has("values");
    let values: BTreeMap<AnyText, Scalar> =
        r.map("values", "{ \"claim's value\" = \"attribute's value\" }", |_, field| field.scalar());
    if written && values.is_empty() {
        r.refuse(
            "values",
            "empty_table",
            "the table maps nothing, so the attribute never exists",
            "add a value, or remove the key",
        );
    }
    let claim = claim?;
    if !is_pointer(&claim) {
        let fix = format!("write /{} if that is the claim's name", claim.trim_start_matches('/'));
        r.refuse("claim", "bad_pointer", "this is not a JSON pointer", &fix);
    }
    let values = values.into_iter().map(|(AnyText(key), value)| (key, value)).collect();
    Some(if written { AttributeRule::Table { claim, values } } else { AttributeRule::Claim(claim) })
}

/// Any text as a key.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct AnyText(String);

impl std::str::FromStr for AnyText {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

/// Refuses an extra attribute whose name something else owns.
pub(super) fn check_name(name: &AttributeName, profile: &[&str], reserved: &[&str], field: &Field<'_>) {
    let owner = if profile.contains(&name.as_str()) {
        "the profile gives an attribute of this name, from a verified claim"
    } else if reserved.contains(&name.as_str()) {
        "input.identity has a key of this name"
    } else {
        return;
    };
    field.refuse("attribute_origin", owner, "give the attribute another name");
}
