//! Splits a policy input into its frame, which thousands of decisions share, and its values, which are this one's own.
//!
//! A frame has the input's structure with a number in place of every value: the place of that value in a list. Names
//! are thus stored once, and so is a value that appears twice, as a claim and the attribute read from it usually do.
//! Both parts are plain JSON, and [`join`] puts them together again.

use std::collections::HashMap;
use std::fmt::Write;

use serde_json::{Map, Value};

/// A shorter value is cheaper to repeat, and equal to another only by chance: sharing it would multiply the frames.
const SHARED_FROM_BYTES: usize = 10;

/// The structure and the values of one input, both JSON text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Structure: objects, with a place in `values` at each leaf.
    pub(super) shape: String,
    /// Values: one array.
    pub(super) values: String,
}

/// Splits `input`.
pub(super) fn split(input: &Value) -> Split {
    let mut splitter = Splitter::default();
    splitter.walk(input);
    let mut values = splitter.values;
    values.insert(0, '[');
    values.push(']');
    Split { shape: splitter.shape, values }
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
struct Splitter {
    shape: String,
    values: String,
    count: usize,
    places: HashMap<String, usize>,
}

impl Splitter {
    fn walk(&mut self, value: &Value) {
        match value {
            Value::Object(fields) if !fields.is_empty() => self.object(fields),
            leaf => self.leaf(leaf.to_string()),
        }
    }

    fn object(&mut self, fields: &Map<String, Value>) {
        for (nth, (name, value)) in fields.iter().enumerate() {
            self.shape.push(if nth == 0 { '{' } else { ',' });
            self.shape.push_str(&Value::from(name.as_str()).to_string());
            self.shape.push(':');
            self.walk(value);
        }
        self.shape.push('}');
    }

    fn leaf(&mut self, text: String) {
        let place = match self.places.get(&text) {
            Some(place) => *place,
            None => self.add(text),
        };
        // Writing to a string cannot fail.
        let _ = write!(self.shape, "{place}");
    }

    fn add(&mut self, text: String) -> usize {
        let place = self.count;
        if place > 0 {
            self.values.push(',');
        }
        self.values.push_str(&text);
        self.count += 1;
        if text.len() >= SHARED_FROM_BYTES {
            self.places.insert(text, place);
        }
        place
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
        let Split { shape, values } = split(&input);
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
            let Split { shape, values } = split(&input);
            let shape: Value = serde_json::from_str(&shape).unwrap();
            let values: Vec<Value> = serde_json::from_str(&values).unwrap();
            prop_assert_eq!(join(&shape, &values), Some(input));
        }
    }
}
