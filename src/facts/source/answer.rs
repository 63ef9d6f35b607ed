//! A source's answer: JSON, and at each pointer a flat value. Anything else is a failure, never a default.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::domain::{FactKey, Scalar};
use crate::json::{self, JsonError, Limits};

/// Longest text that a source may give as a fact, bytes. Records and caches hold it.
const MAX_TEXT_BYTES: usize = 1024;

/// What an answer may hold; a forge's answer about one commit has a few hundred values, six levels deep.
const LIMITS: Limits = Limits { depth: 32, values: 65_536 };

/// What one source said.
pub(super) type Facts = BTreeMap<FactKey, Scalar>;

/// An answer that does not give every fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::facts) enum BadAnswer {
    #[error("the answer cannot be read")]
    Json(#[from] JsonError),
    #[error("the answer has nothing at `{pointer}` for `{key}`")]
    Missing { key: FactKey, pointer: String },
    #[error("the answer's value for `{key}` is {kind}, not text, a whole number, true or false")]
    NotFlat { key: FactKey, kind: &'static str },
    #[error("the answer's value for `{0}` is longer than {MAX_TEXT_BYTES} bytes")]
    TooLong(FactKey),
}

/// Reads every fact out of `body` (JSON Pointer, RFC 6901).
pub(super) fn read(body: &[u8], pointers: &BTreeMap<FactKey, String>) -> Result<Facts, BadAnswer> {
    let document = json::value(body, LIMITS)?;
    let read = |(key, pointer): (&FactKey, &String)| {
        let found = document.pointer(pointer);
        let found = found.ok_or_else(|| BadAnswer::Missing { key: key.clone(), pointer: pointer.clone() })?;
        Ok((key.clone(), flat(key, found)?))
    };
    pointers.iter().map(read).collect()
}

fn flat(key: &FactKey, value: &Value) -> Result<Scalar, BadAnswer> {
    let not_flat = |kind| BadAnswer::NotFlat { key: key.clone(), kind };
    match value {
        Value::Bool(value) => Ok(Scalar::Bool(*value)),
        Value::Number(number) => {
            number.as_i64().map(Scalar::Integer).ok_or_else(|| not_flat("a fraction or too big"))
        }
        Value::String(text) if text.len() <= MAX_TEXT_BYTES => Ok(Scalar::Text(text.clone())),
        Value::String(_) => Err(BadAnswer::TooLong(key.clone())),
        Value::Null => Err(not_flat("null")),
        Value::Array(_) => Err(not_flat("a list")),
        Value::Object(_) => Err(not_flat("an object")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_one(body: &str) -> Result<Scalar, BadAnswer> {
        let key: FactKey = "fact".parse().unwrap();
        let pointers = [(key.clone(), "/a/0/b".to_owned())].into();
        read(body.as_bytes(), &pointers).map(|mut facts| facts.remove(&key).unwrap())
    }

    #[test]
    fn reads_flat_values_at_the_pointer() {
        assert_eq!(read_one(r#"{"a":[{"b":true}]}"#), Ok(Scalar::Bool(true)));
        assert_eq!(read_one(r#"{"a":[{"b":-7}]}"#), Ok(Scalar::Integer(-7)));
        assert_eq!(read_one(r#"{"a":[{"b":"x"}]}"#), Ok(Scalar::Text("x".into())));
    }

    #[test]
    fn p_11_anything_else_is_a_failure() {
        for no_json in ["<html>signed: true</html>", "", r#"{"a":[{"b":true}]} {}"#] {
            assert!(
                matches!(read_one(no_json), Err(BadAnswer::Json(JsonError::NotJson { .. }))),
                "{no_json}"
            );
        }
        assert!(matches!(read_one(r#"{"a":[]}"#), Err(BadAnswer::Missing { .. })));
        for other in ["null", "[true]", r#"{"c":true}"#, "1.5", "18446744073709551615"] {
            let body = format!(r#"{{"a":[{{"b":{other}}}]}}"#);
            assert!(matches!(read_one(&body), Err(BadAnswer::NotFlat { .. })), "{other}");
        }
        let long = format!(r#"{{"a":[{{"b":"{}"}}]}}"#, "x".repeat(MAX_TEXT_BYTES + 1));
        assert!(matches!(read_one(&long), Err(BadAnswer::TooLong(_))));
    }

    #[test]
    fn p_11_a_key_that_appears_twice_is_a_failure() {
        let twice = read_one(r#"{"a":[{"b":false,"b":true}]}"#);
        assert_eq!(twice, Err(BadAnswer::Json(JsonError::Duplicate("b".into()))));
    }

    #[test]
    fn one_missing_fact_fails_the_whole_answer() {
        let pointers = [("a", "/a"), ("b", "/b")].map(|(k, p)| (k.parse().unwrap(), p.to_owned())).into();
        assert!(read(br#"{"a":1}"#, &pointers).is_err());
        assert!(read(br#"{"a":1,"b":2}"#, &pointers).is_ok());
    }
}
