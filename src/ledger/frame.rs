//! Splits a policy input into its frame, which thousands of decisions share, and its values, which are this one's own.
//!
//! A frame has the input's structure with a number in place of every value: the place of that value in a list. Names
//! are thus stored once, and so is a value that appears twice, as a claim and the attribute read from it usually do.
//! Both parts are plain JSON, and [`join`] puts them together again.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A shorter text is cheaper to repeat, and equal to another only by chance: sharing it would multiply the frames.
const SHARED_FROM_BYTES: usize = 8;

/// The structure and the values of one input, both JSON text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Split {
    /// Structure: objects, with a place in `values` at each leaf.
    pub(super) shape: String,
    /// Values: one array.
    pub(super) values: String,
}

/// Splits `input`, JSON text, in one pass: no tree of it is ever built.
///
/// # Errors
/// It is not one JSON value.
pub(super) fn split(input: &str) -> serde_json::Result<Split> {
    let room = || Vec::with_capacity(input.len());
    let mut splitter = Splitter { shape: room(), values: room(), ..Splitter::default() };
    splitter.values.push(b'[');
    let mut json = serde_json::Deserializer::from_str(input);
    splitter.deserialize(&mut json)?;
    json.end()?;
    splitter.values.push(b']');
    Ok(Split { shape: text(splitter.shape)?, values: text(splitter.values)? })
}

fn text(json: Vec<u8>) -> serde_json::Result<String> {
    String::from_utf8(json).map_err(serde_json::Error::custom)
}

/// Puts `shape` and `values` together; `None` if they do not belong together.
pub(super) fn join(shape: &Value, values: &[Value]) -> Option<Value> {
    match shape {
        Value::Object(fields) => fields
            .iter()
            .map(|(name, shape)| Some((name.clone(), join(shape, values)?)))
            .collect::<Option<Map<_, _>>>()
            .map(Value::Object),
        Value::Number(place) => values.get(usize::try_from(place.as_u64()?).ok()?).cloned(),
        Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) => None,
    }
}

#[derive(Default)]
struct Splitter<'de> {
    shape: Vec<u8>,
    values: Vec<u8>,
    count: usize,
    /// Of the texts that may appear again.
    places: HashMap<&'de str, usize>,
}

/// A member's name, borrowed from the text unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Splitter<'de> {
    /// Writes a value to the list, and its place to the shape.
    fn leaf<E: Error>(&mut self, value: &impl Serialize) -> Result<(), E> {
        if self.count > 0 {
            self.values.push(b',');
        }
        serde_json::to_writer(&mut self.values, value).map_err(E::custom)?;
        self.count += 1;
        self.place(self.count - 1)
    }

    /// The same for a text that the input holds as it is; one that is in the list is not written again.
    fn text<E: Error>(&mut self, text: &'de str) -> Result<(), E> {
        if text.len() < SHARED_FROM_BYTES {
            return self.leaf(&text);
        }
        if let Some(&place) = self.places.get(text) {
            return self.place(place);
        }
        self.places.insert(text, self.count);
        self.leaf(&text)
    }

    fn place<E: Error>(&mut self, place: usize) -> Result<(), E> {
        serde_json::to_writer(&mut self.shape, &place).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for &mut Splitter<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Splitter<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.leaf(&())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.leaf(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.leaf(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.leaf(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.leaf(&value)
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<(), E> {
        self.text(value)
    }

    /// A text with an escape in it.
    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.leaf(&value)
    }

    /// A list is one value: its length differs from request to request, which would multiply the frames.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut items: Vec<Value> = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        self.leaf(&items)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut opened = false;
        while let Some(Name(name)) = object.next_key()? {
            self.shape.push(if opened { b',' } else { b'{' });
            opened = true;
            serde_json::to_writer(&mut self.shape, &name).map_err(A::Error::custom)?;
            self.shape.push(b':');
            object.next_value_seed(&mut *self)?;
        }
        if opened {
            self.shape.push(b'}');
            Ok(())
        } else {
            self.leaf(&Map::new())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn names_and_repeated_values_are_stored_once() {
        let input = json!({"identity": {"claims": {"repository": "acme/storefront", "n": 1},
                                        "repository": "acme/storefront"}, "context": {}});
        let Split { shape, values } = split(&input.to_string()).unwrap();
        assert_eq!(values.matches("acme/storefront").count(), 1, "{values}");
        assert!(!values.contains("repository"), "{values}");
        assert!(!shape.contains("acme"), "{shape}");
    }

    #[test]
    fn a_place_that_does_not_exist_joins_to_nothing() {
        assert_eq!(join(&json!({"a": 3}), &[json!(1)]), None);
        assert_eq!(join(&json!({"a": "x"}), &[json!(1)]), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,8}", inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn join_undoes_split(input in any_json()) {
            let Split { shape, values } = split(&input.to_string()).unwrap();
            let shape: Value = serde_json::from_str(&shape).unwrap();
            let values: Vec<Value> = serde_json::from_str(&values).unwrap();
            prop_assert_eq!(join(&shape, &values), Some(input));
        }
    }
}
