//! Typed fields of a request: each is taken once, by its documented type, and none may be left over.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::domain::{Code, Refusal, RoleName, ScopeName, Ttl, nearest};

/// Most scopes of one request.
pub(super) const MAX_SCOPES: usize = 64;

/// Most declared keys of one request.
pub(super) const MAX_DECLARED: usize = 32;

/// Longest name that a message repeats, in characters.
const MAX_SHOWN: usize = 64;

/// Fields that are not taken yet.
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of `map`, each of which must be one of `known`.
    ///
    /// # Errors
    /// `request_malformed`, naming the first unknown field and the nearest known one.
    pub(super) fn new(map: Map<String, Value>, known: &[&str]) -> Result<Self, Refusal> {
        let Some(unknown) = map.keys().find(|key| !known.contains(&key.as_str())) else {
            return Ok(Self(map));
        };
        let hint = match nearest(unknown, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known fields: {}", known.join(", ")),
        };
        Err(malformed(format!("unknown field {}; {hint}", shown(unknown))))
    }

    /// The text of `name`, if it is there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(name, "text", &other)),
        }
    }

    /// The lifetime `name`, if it is there.
    pub(super) fn ttl(&mut self, name: &str) -> Result<Option<Ttl>, Refusal> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => ttl(&text).map(Some),
            Some(other) => {
                let Refusal { message, .. } = wrong_type(name, "text such as \"30m\"", &other);
                Err(Refusal::new(Code::TtlInvalid, message))
            }
        }
    }

    /// The flag `name`; false if it is not there.
    pub(super) fn flag(&mut self, name: &str) -> Result<bool, Refusal> {
        match self.0.remove(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(other) => Err(wrong_type(name, "true or false", &other)),
        }
    }

    /// The list of texts `name`, if it is there.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Refusal> {
        let items = match self.0.remove(name) {
            None => return Ok(None),
            Some(Value::Array(items)) => items,
            Some(other) => return Err(wrong_type(name, "a list of texts", &other)),
        };
        let text = |item| match item {
            Value::String(text) => Ok(text),
            other => Err(wrong_type(name, "a list of texts", &other)),
        };
        items.into_iter().map(text).collect::<Result<_, _>>().map(Some)
    }

    /// The object `name`; empty if it is not there.
    pub(super) fn object(&mut self, name: &str) -> Result<Map<String, Value>, Refusal> {
        match self.0.remove(name) {
            None => Ok(Map::new()),
            Some(Value::Object(map)) => Ok(map),
            Some(other) => Err(wrong_type(name, "an object", &other)),
        }
    }
}

/// The role named `text`.
///
/// # Errors
/// `name_invalid`.
pub(super) fn role(text: &str) -> Result<RoleName, Refusal> {
    text.parse().map_err(|error| invalid_name("role", text, &error))
}

/// The scopes named by `names`.
///
/// # Errors
/// `name_invalid`, or `request_malformed` if there is none or too many of them.
pub(super) fn scopes<'a>(names: impl Iterator<Item = &'a str>) -> Result<BTreeSet<ScopeName>, Refusal> {
    let mut scopes = BTreeSet::new();
    for name in names {
        scopes.insert(name.parse().map_err(|error| invalid_name("scope", name, &error))?);
        if scopes.len() > MAX_SCOPES {
            return Err(malformed(format!("ask for at most {MAX_SCOPES} scopes")));
        }
    }
    if scopes.is_empty() {
        return Err(malformed("name at least one scope, or leave the field out for the role's default"));
    }
    Ok(scopes)
}

/// The lifetime that `text` writes.
///
/// # Errors
/// `ttl_invalid`.
pub(super) fn ttl(text: &str) -> Result<Ttl, Refusal> {
    text.parse().map_err(|error| Refusal::new(Code::TtlInvalid, format!("ttl: {error}")))
}

/// A refusal of a name that does not fit its grammar.
pub(super) fn invalid_name(field: &str, text: &str, error: &crate::domain::InvalidName) -> Refusal {
    Refusal::new(Code::NameInvalid, format!("{field} {}: {error}", shown(text)))
}

/// A refusal of the request's shape.
pub(super) fn malformed(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::RequestMalformed, message)
}

/// `text` as a message may repeat it: short, quoted, without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_SHOWN).flat_map(char::escape_debug).collect();
    if text.chars().count() > MAX_SHOWN {
        short.push('…');
    }
    format!("`{short}`")
}

/// Names the field and the types, never the value: it may be a misplaced secret.
fn wrong_type(name: &str, expected: &str, got: &Value) -> Refusal {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    malformed(format!("{name}: expected {expected}, got {got}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Fields {
        let Value::Object(map) = value else { panic!("not an object") };
        Fields::new(map, &["role", "ttl", "scopes"]).unwrap_or_else(|_| panic!("unknown field"))
    }

    #[test]
    fn unknown_fields_are_refused_by_name() {
        let message = |key: &str| {
            let map = Map::from_iter([(key.to_owned(), json!(1))]);
            Fields::new(map, &["role", "ttl"]).err().unwrap().message
        };
        assert_eq!(message("rloe"), "unknown field `rloe`; did you mean `role`?");
        assert_eq!(message("x\n\"y"), "unknown field `x\\n\\\"y`; known fields: role, ttl");
        assert!(message(&"x".repeat(5000)).len() < 200);
    }

    #[test]
    fn s_01_a_wrong_type_is_told_without_the_value() {
        let refusal = fields(json!({"role": ["hunter2"]})).text("role").unwrap_err();
        assert_eq!(refusal.message, "role: expected text, got a list");
        let refusal = fields(json!({"ttl": 30})).ttl("ttl").unwrap_err();
        assert_eq!(refusal.code, Code::TtlInvalid);
        assert_eq!(refusal.message, "ttl: expected text such as \"30m\", got a number");
        let refusal = fields(json!({"scopes": [null]})).texts("scopes").unwrap_err();
        assert_eq!(refusal.message, "scopes: expected a list of texts, got null");
    }

    #[test]
    fn ttl_zero_negative_huge_fractional_and_unit_are_refused_with_what_to_write() {
        for text in ["0s", "-1m", "99999999h", "1.5h", "30", "30d", ""] {
            assert_eq!(ttl(text).unwrap_err().code, Code::TtlInvalid, "{text}");
        }
    }

    #[test]
    fn i_09_request_bounds_scopes() {
        let names: Vec<_> = (0..=MAX_SCOPES).map(|n| format!("s{n}")).collect();
        let code = |names: &[String]| scopes(names.iter().map(String::as_str)).map_err(|r| r.code);
        assert_eq!(code(&names), Err(Code::RequestMalformed));
        assert!(code(&names[1..]).is_ok());
        assert_eq!(code(&[]), Err(Code::RequestMalformed));
        assert_eq!(code(&["READ".into()]), Err(Code::NameInvalid));
    }
}
