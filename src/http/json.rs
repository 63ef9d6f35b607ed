//! Strict JSON: no key twice at any depth, bounded nesting and item counts.
//!
//! `serde_json` keeps the last of two equal keys and others keep the first; whoever reads before us may have checked
//! the other one.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::fields::shown;
use crate::domain::{Code, Refusal};

/// Deepest nesting; the documented requests need two levels.
const MAX_DEPTH: usize = 8;

/// Most keys and list items of a request, at all levels together.
const MAX_ITEMS: usize = 512;

/// Why a text is not acceptable JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum JsonError {
    /// A key appears twice in one object.
    #[error("the key {0} appears twice")]
    Duplicate(String),
    /// Nested too deeply.
    #[error("the JSON nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// Too many keys and items.
    #[error("the JSON has more than {MAX_ITEMS} keys and items")]
    TooMany,
    /// Not JSON; the text itself is not quoted, for it may hold a misplaced secret.
    #[error("the body is not JSON (line {line}, column {column})")]
    Syntax {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
    /// JSON, but not an object.
    #[error("the body is not a JSON object")]
    NotAnObject,
}

impl From<JsonError> for Refusal {
    fn from(error: JsonError) -> Self {
        let code = match error {
            JsonError::Duplicate(_) => Code::DuplicateParameter,
            JsonError::TooDeep | JsonError::TooMany | JsonError::Syntax { .. } | JsonError::NotAnObject => {
                Code::RequestMalformed
            }
        };
        Self::new(code, error.to_string())
    }
}

/// Reads `bytes` as one JSON object.
///
/// # Errors
/// [`JsonError`].
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonError> {
    let state = RefCell::new(State { items: 0, fault: None });
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let read = Strict { depth: 0, state: &state }
        .deserialize(&mut deserializer)
        .and_then(|value| deserializer.end().map(|()| value));
    match (read, state.into_inner().fault) {
        (_, Some(fault)) => Err(fault),
        (Ok(Value::Object(map)), None) => Ok(map),
        (Ok(_), None) => Err(JsonError::NotAnObject),
        (Err(error), None) => Err(JsonError::Syntax { line: error.line(), column: error.column() }),
    }
}

/// What is counted across one text, and the first rule that it broke.
struct State {
    items: usize,
    fault: Option<JsonError>,
}

/// Reads one value, `depth` levels below the top.
#[derive(Clone, Copy)]
struct Strict<'a> {
    depth: usize,
    state: &'a RefCell<State>,
}

impl Strict<'_> {
    fn fault<E: serde::de::Error>(self, fault: JsonError) -> E {
        let error = E::custom(&fault);
        self.state.borrow_mut().fault.get_or_insert(fault);
        error
    }

    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault(JsonError::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, state: self.state })
    }

    fn count<E: serde::de::Error>(self) -> Result<(), E> {
        let items = {
            let mut state = self.state.borrow_mut();
            state.items += 1;
            state.items
        };
        if items > MAX_ITEMS { Err(self.fault(JsonError::TooMany)) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            self.count()?;
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let inside = self.inside()?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            self.count()?;
            if map.contains_key(&key) {
                return Err(self.fault(JsonError::Duplicate(shown(&key))));
            }
            map.insert(key, entries.next_value_seed(inside)?);
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn text(text: &str) -> Result<Value, JsonError> {
        object(text.as_bytes()).map(Value::Object)
    }

    #[test]
    fn i_08_request_refuses_a_key_twice_at_any_depth() {
        let twice = |key: &str| Err(JsonError::Duplicate(format!("`{key}`")));
        assert_eq!(text(r#"{"role":"a","role":"b"}"#), twice("role"));
        assert_eq!(text(r#"{"role":"a","r\u006fle":"b"}"#), twice("role"));
        assert_eq!(text(r#"{"declared":{"a":1,"a":1}}"#), twice("a"));
        assert_eq!(text(r#"{"x":[[{"a":1,"a":1}]]}"#), twice("a"));
        assert!(text(r#"{"a":{"b":1},"c":{"b":1}}"#).is_ok());
    }

    #[test]
    fn i_09_request_bounds_depth_and_count() {
        let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(text(&nested(MAX_DEPTH - 1)).is_ok());
        assert_eq!(text(&nested(MAX_DEPTH)), Err(JsonError::TooDeep));
        assert_eq!(text(&nested(100_000)), Err(JsonError::TooDeep));
        let list = |items: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; items].join(","));
        assert!(text(&list(MAX_ITEMS - 1)).is_ok());
        assert_eq!(text(&list(MAX_ITEMS)), Err(JsonError::TooMany));
    }

    #[test]
    fn refuses_trailing_text_other_values_and_no_json() {
        assert_eq!(text("[]"), Err(JsonError::NotAnObject));
        for bad in ["", "{", "{} {}", "{'a':1}", "{\"a\":NaN}", "{\"a\":1,}"] {
            assert!(matches!(text(bad), Err(JsonError::Syntax { .. })), "{bad}");
        }
        assert!(matches!(object(b"{\"a\":\"\xff\"}"), Err(JsonError::Syntax { .. })));
    }

    #[test]
    fn s_01_a_syntax_error_does_not_quote_the_text() {
        let error = text(r#"{"token":"hunter2" x"#).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_wrote(
            map in proptest::collection::btree_map("[a-z]{1,8}", (any::<i64>(), ".{0,12}"), 0..20)
        ) {
            let value = json!(map);
            prop_assert_eq!(text(&value.to_string()), Ok(value));
        }
    }
}
