//! `{name}` in a role's texts: verified values, put in as data.
//!
//! A value comes from the row of the target table or from the verified identity, never from what the caller declares.
//! It is checked against the grammar of the place it goes to and refused if it does not fit: a claim such as
//! `x:role/admin` or `*` would otherwise choose the target or widen a policy. Nothing is ever escaped or rewritten.

use std::collections::BTreeMap;

use serde_json::Value;

use super::upstream::quote;
use crate::config::Row;
use crate::config::template::{self, InvalidTemplate, Part};
use crate::domain::{AttributeName, PrincipalKey, TenantName};
use crate::facts::Facts;

/// Longest value, in bytes.
const MAX_VALUE_BYTES: usize = 512;

/// Where a text goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The ARN of an IAM role: values are made of `[A-Za-z0-9_+=,.@/-]` (IAM, parameter `RoleName` and paths).
    RoleArn,
    /// A `Resource` of a policy: no wildcard (`*`, `?`), no policy variable (`$`), no field separator (`:`).
    Resource,
}

/// What placeholders stand for.
#[derive(Clone, Copy)]
pub(super) struct Values<'a> {
    /// The row of the target table, if the role uses one.
    pub(super) row: Option<&'a Row>,
    /// The verified identity's attributes.
    pub(super) attributes: &'a BTreeMap<AttributeName, Value>,
    /// `{principal}`.
    pub(super) principal: &'a PrincipalKey,
    /// `{tenant}`.
    pub(super) tenant: &'a TenantName,
}

/// Why a text cannot be filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Not a template.
    #[error("{0:?}: {1}")]
    Template(String, InvalidTemplate),
    /// Nothing has that name.
    #[error("{{{0}}} is neither a column of the target table nor an attribute of this identity")]
    Unknown(String),
    /// A list, object, float, boolean or null.
    #[error("{{{0}}} is not text or a whole number")]
    NotText(String),
    /// The value breaks the grammar of its place.
    #[error("the value {value:?} of {{{name}}} {why}")]
    Value {
        /// The placeholder.
        name: String,
        /// The value, shortened.
        value: String,
        /// The rule that it breaks.
        why: &'static str,
    },
}

/// A value with where it came from.
struct Found {
    text: String,
    from_table: bool,
}

impl<'a> Values<'a> {
    /// What `facts` hold.
    pub(super) fn of(facts: &'a Facts) -> Self {
        let caller = facts.caller();
        Self {
            row: facts.row(),
            attributes: caller.attributes(),
            principal: caller.principal(),
            tenant: caller.tenant(),
        }
    }

    /// The text of an attribute or column.
    ///
    /// A column wins over an attribute of the same name: the table is what the security team reviews.
    pub(super) fn text(&self, name: &str) -> Result<String, Unfit> {
        self.find(name).map(|found| found.text)
    }

    fn find(&self, name: &str) -> Result<Found, Unfit> {
        if let Some(text) = self.row.and_then(|row| row.values.get(name)) {
            return Ok(Found { text: text.clone(), from_table: true });
        }
        let text = match (self.attributes.get(name), name) {
            (Some(Value::String(text)), _) => text.clone(),
            (Some(Value::Number(number)), _) if number.is_i64() || number.is_u64() => number.to_string(),
            (Some(_), _) => return Err(Unfit::NotText(name.to_owned())),
            (None, "principal") => self.principal.to_string(),
            (None, "tenant") => self.tenant.to_string(),
            (None, _) => return Err(Unfit::Unknown(name.to_owned())),
        };
        Ok(Found { text, from_table: false })
    }

    /// `text` with every `{name}` replaced.
    ///
    /// # Errors
    /// [`Unfit`].
    pub(super) fn fill(&self, text: &str, place: Place) -> Result<String, Unfit> {
        let parts = template::parts(text).map_err(|why| Unfit::Template(text.to_owned(), why))?;
        let alone = parts.len() == 1;
        let mut filled = String::with_capacity(text.len() + 32);
        for part in parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Placeholder(name) => {
                    let found = self.find(name)?;
                    // A table may hold whole ARNs, for it is reviewed; a claim may not bring a field of one.
                    check(name, &found.text, place, found.from_table && alone)?;
                    filled.push_str(&found.text);
                }
            }
        }
        Ok(filled)
    }
}

fn check(name: &str, value: &str, place: Place, whole: bool) -> Result<(), Unfit> {
    let admits = |byte: u8| match (byte, place) {
        (b':', _) => whole,
        (_, Place::RoleArn) => byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte),
        (_, Place::Resource) => byte.is_ascii_graphic() && !b"*?${}\"\\".contains(&byte),
    };
    let why = if value.is_empty() {
        "is empty"
    } else if value.len() > MAX_VALUE_BYTES {
        "is longer than 512 bytes"
    } else if value.split('/').any(|part| matches!(part, "." | "..")) {
        "climbs with . or .."
    } else if !value.bytes().all(admits) {
        match place {
            Place::RoleArn => "holds something else than [A-Za-z0-9_+=,.@/-]",
            Place::Resource => {
                "holds a wildcard, a variable, a colon, a quote, a blank, or something not ASCII"
            }
        }
    } else {
        return Ok(());
    };
    Err(Unfit::Value { name: name.to_owned(), value: quote(value, &[]), why })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::provider::testing::Identity;

    fn fill(template: &str, value: impl Into<Value>, place: Place) -> Result<String, Unfit> {
        Identity::with("name", value.into()).values().fill(template, place)
    }

    #[test]
    fn fills_from_the_table_then_from_the_identity() {
        let identity = Identity::with("branch", json!("main"));
        let columns = [("account", "123456789012"), ("branch", "from-table")];
        let values = columns.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let row = Row { values, line: 2 };
        let values = Values { row: Some(&row), ..identity.values() };
        assert_eq!(
            values.fill("arn:aws:iam::{account}:role/{branch}", Place::RoleArn).unwrap(),
            "arn:aws:iam::123456789012:role/from-table"
        );
        assert_eq!(identity.values().text("branch").unwrap(), "main");
        assert_eq!(values.text("principal").unwrap(), "github:repository:1234");
        assert_eq!(values.text("tenant").unwrap(), "default");
    }

    #[test]
    fn c_01_refuses_a_value_that_would_choose_another_role() {
        let template = "arn:aws:iam::123456789012:role/ci/{name}";
        assert!(fill(template, "shop", Place::RoleArn).is_ok());
        for bad in ["", "x:role/admin", "../admin", "a/../b", ".", "a b", "a*", "a\n", "a${x}", "é", "a\u{0}"]
        {
            assert!(
                matches!(fill(template, bad, Place::RoleArn), Err(Unfit::Value { .. })),
                "{bad:?} was let through"
            );
        }
        assert!(fill(template, "a".repeat(513), Place::RoleArn).is_err());
    }

    #[test]
    fn c_02_refuses_wildcards_and_policy_variables_from_a_value() {
        let template = "arn:aws:s3:::bucket/{name}/*";
        assert_eq!(fill(template, "acme/shop", Place::Resource).unwrap(), "arn:aws:s3:::bucket/acme/shop/*");
        for bad in
            ["*", "a?", "${aws:username}", "$", "a:b", "\"],\"x\":[\"", "a\\", "..", "a b", "{x}", "\u{7f}"]
        {
            assert!(fill(template, bad, Place::Resource).is_err(), "{bad:?} was let through");
        }
    }

    #[test]
    fn c_02_keeps_the_wildcards_that_the_author_wrote_and_no_policy_variables() {
        let filled = fill("arn:aws:s3:::b/{name}/*", "x", Place::Resource);
        assert_eq!(filled.unwrap(), "arn:aws:s3:::b/x/*");
        let variable = fill("arn:aws:s3:::b/${aws:username}", "x", Place::Resource);
        assert!(matches!(variable, Err(Unfit::Template(..))));
    }

    #[test]
    fn a_whole_arn_comes_from_the_table_and_never_from_a_claim() {
        let arn = "arn:aws:iam::123456789012:role/ci";
        assert!(fill("{name}", arn, Place::RoleArn).is_err());
        let identity = Identity::with("branch", json!("main"));
        let row = Row { values: [("arn".to_owned(), arn.to_owned())].into(), line: 2 };
        let values = Values { row: Some(&row), ..identity.values() };
        assert_eq!(values.fill("{arn}", Place::RoleArn).unwrap(), arn);
        assert!(values.fill("{arn}/x", Place::RoleArn).is_err());
        assert!(values.fill("{branch}{arn}", Place::RoleArn).is_err());
    }

    #[test]
    fn refuses_unknown_names_broken_braces_and_values_that_are_not_text() {
        assert_eq!(fill("{other}", "x", Place::Resource), Err(Unfit::Unknown("other".into())));
        for template in ["{name", "name}", "{a{name}}", "${a{name}}", "{}"] {
            assert!(fill(template, "x", Place::Resource).is_err(), "{template}");
        }
        for bad in [json!(null), json!(true), json!(1.5), json!([1]), json!({})] {
            assert_eq!(fill("{name}", bad, Place::Resource), Err(Unfit::NotText("name".into())));
        }
        assert_eq!(fill("{name}", 42, Place::Resource).unwrap(), "42");
    }

    proptest! {
        #[test]
        fn c_02_no_value_changes_the_shape_of_a_resource(value in "\\PC{0,40}") {
            if let Ok(filled) = fill("arn:aws:s3:::b/{name}/x", value.as_str(), Place::Resource) {
                prop_assert_eq!(filled.matches(':').count(), 5);
                prop_assert!(!filled.contains(['*', '?', '$', '"', '\\']));
                prop_assert_eq!(filled, format!("arn:aws:s3:::b/{value}/x"));
            }
        }
    }
}
