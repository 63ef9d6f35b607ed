//! JSON read strictly: a key that appears twice refuses, at any depth, and depth and size are capped.
//!
//! Two parsers that pick different members of `{"aud": "a", "aud": "b"}` disagree about who a token is for
//! (RFC 8259, section 4, leaves it open). Keys are compared after unescaping: `"\u0061ud"` is `"aud"`. An error never
//! quotes the text, which may hold a secret.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::map::{Entry, Map};
use serde_json::{Number, Value};

/// What one document may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Objects and arrays inside each other.
    pub depth: usize,
    /// Members and array elements in the whole document, nested ones included.
    pub values: usize,
}

/// Why a document was not read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Two members of one object have this name. It is outsiders' text, and therefore not in the message.
    #[error("a JSON key appears twice in one object")]
    Duplicate(String),
    /// Nested too deeply.
    #[error("JSON is nested deeper than {0} levels")]
    TooDeep(usize),
    /// Too many members and elements.
    #[error("JSON holds more than {0} keys and items")]
    TooMany(usize),
    /// Another value than an object.
    #[error("JSON is not an object")]
    NotAnObject,
    /// Not JSON at all, or something follows it.
    #[error("not JSON (line {line}, column {column})")]
    NotJson {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
    },
}

/// Reads exactly one JSON value.
///
/// # Errors
/// [`JsonError`], but never [`JsonError::NotAnObject`].
pub fn value(bytes: &[u8], limits: Limits) -> Result<Value, JsonError> {
    let budget = Budget { limits, left: Cell::new(limits.values), broken: Cell::new(None) };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = Element { budget: &budget, depth: 0 }.deserialize(&mut json);
    read.and_then(|value| json.end().map(|()| value)).map_err(|error| {
        let syntax = JsonError::NotJson { line: error.line(), column: error.column() };
        budget.broken.take().unwrap_or(syntax)
    })
}

/// Reads exactly one JSON object.
///
/// # Errors
/// [`JsonError`].
pub fn object(bytes: &[u8], limits: Limits) -> Result<Map<String, Value>, JsonError> {
    match value(bytes, limits)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonError::NotAnObject),
    }
}

/// What is left of the limits, and which of them was broken: serde's errors carry only text.
struct Budget {
    limits: Limits,
    left: Cell<usize>,
    broken: Cell<Option<JsonError>>,
}

impl Budget {
    fn refuse<E: serde::de::Error>(&self, error: JsonError) -> E {
        let text = E::custom(&error);
        self.broken.set(Some(error));
        text
    }

    fn spend<E: serde::de::Error>(&self) -> Result<(), E> {
        let left = self.left.get().checked_sub(1);
        self.left.set(left.ok_or_else(|| self.refuse(JsonError::TooMany(self.limits.values)))?);
        Ok(())
    }
}

/// One value, `depth` containers below the top.
#[derive(Clone, Copy)]
struct Element<'a> {
    budget: &'a Budget,
    depth: usize,
}

impl Element<'_> {
    fn inside<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= self.budget.limits.depth {
            return Err(self.budget.refuse(JsonError::TooDeep(self.budget.limits.depth)));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<Value, D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Value, A::Error> {
        let inner = self.inside()?;
        let mut elements = Vec::new();
        while let Some(element) = array.next_element_seed(inner)? {
            self.budget.spend()?;
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let inner = self.inside()?;
        let mut members = Map::new();
        while let Some(key) = object.next_key::<String>()? {
            self.budget.spend()?;
            // Before the value is read: a second, huge value of the same key costs nothing.
            match members.entry(key) {
                Entry::Vacant(free) => drop(free.insert(object.next_value_seed(inner)?)),
                Entry::Occupied(taken) => {
                    return Err(self.budget.refuse(JsonError::Duplicate(taken.key().clone())));
                }
            }
        }
        Ok(Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { depth: 3, values: 10 };

    fn read(text: &str) -> Result<Map<String, Value>, JsonError> {
        object(text.as_bytes(), LIMITS)
    }

    #[test]
    fn i_08_refuses_duplicate_keys_at_any_depth_and_behind_escapes() {
        for text in [
            r#"{"aud":1,"aud":2}"#,
            r#"{"aud":1,"\u0061ud":2}"#,
            r#"{"a":{"b":1,"b":1}}"#,
            r#"{"a":[{"b":1,"b":{"c":[[[[[[]]]]]]}}]}"#,
        ] {
            assert!(matches!(read(text), Err(JsonError::Duplicate(_))), "{text}");
        }
        assert!(read(r#"{"aud":1,"Aud":2,"a":{"aud":3}}"#).is_ok(), "names are case-sensitive");
    }

    #[test]
    fn i_09_caps_depth_and_count() {
        assert!(read(r#"{"a":[[1]]}"#).is_ok());
        assert!(matches!(read(r#"{"a":[[[1]]]}"#), Err(JsonError::TooDeep(3))));
        assert!(read(r#"{"a":[1,2,3,4,5,6,7,8,9]}"#).is_ok());
        assert!(matches!(read(r#"{"a":[1,2,3,4,5,6,7,8,9,10]}"#), Err(JsonError::TooMany(10))));
    }

    #[test]
    fn refuses_what_is_not_one_object() {
        assert!(matches!(read("[]"), Err(JsonError::NotAnObject)));
        assert!(matches!(read("null"), Err(JsonError::NotAnObject)));
        for text in ["", "{", "{} {}", "{}x", "\u{feff}{}", "{'a':1}", r#"{"a":1e999}"#, r#"{"a":"\ud800"}"#]
        {
            assert!(matches!(read(text), Err(JsonError::NotJson { .. })), "{text}");
        }
        assert!(object(b"{\"a\":\"\xff\"}", LIMITS).is_err());
    }

    #[test]
    fn s_01_an_error_does_not_quote_the_text() {
        for text in [r#"{"token":"hunter2" x"#, r#"{"hunter2":1,"hunter2":1}"#] {
            let error = read(text).unwrap_err().to_string();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn agrees_with_serde_json_where_it_reads_at_all(text in r#"\{("[ab]":(1|-2|1\.5|"x"|null|true|\[1\]),?){0,3}\}"#) {
            if let Ok(members) = read(&text) {
                prop_assert_eq!(Value::Object(members), serde_json::from_str::<Value>(&text).unwrap());
            }
        }
    }
}
