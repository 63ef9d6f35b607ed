//! The part of `input` that a package set may read: all that the interpreter is given of a request.
//!
//! What cannot change an answer is left out before Rego runs. A request has about sixty keys and a policy reads five;
//! and requests that differ only in what nobody reads are, to the policy, one request ([`Memory`](super::memory::Memory)).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::graph::Path;

/// Which parts of `input` are kept.
#[derive(Debug, Default)]
pub(super) struct Projection(Wanted);

/// What is kept of a value.
#[derive(Debug, Default)]
struct Wanted {
    /// All of it.
    whole: bool,
    /// Of an object, these members; a value that is no object is kept as it is.
    members: BTreeMap<String, Wanted>,
}

impl Projection {
    /// Keeps what lies at and below `paths`.
    pub(super) fn new(paths: &BTreeSet<Path>) -> Self {
        let mut root = Wanted::default();
        for path in paths {
            let end = path.iter().fold(&mut root, |at, name| at.members.entry(name.clone()).or_default());
            end.whole = true;
        }
        Self(root)
    }

    /// What is kept of `input`, JSON text; as text, members in the order of `input`.
    ///
    /// # Errors
    /// `input` is not one JSON value.
    pub(super) fn of(&self, input: &str) -> serde_json::Result<String> {
        let mut kept = Vec::with_capacity(input.len().min(1024));
        let mut json = serde_json::Deserializer::from_str(input);
        Keep { wanted: &self.0, kept: &mut kept }.deserialize(&mut json)?;
        json.end()?;
        String::from_utf8(kept).map_err(serde_json::Error::custom)
    }
}

/// Copies what is wanted of one value.
struct Keep<'a> {
    wanted: &'a Wanted,
    kept: &'a mut Vec<u8>,
}

/// A member's name, borrowed from the text unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl Keep<'_> {
    fn scalar<E: Error>(self, value: &impl Serialize) -> Result<(), E> {
        serde_json::to_writer(self.kept, value).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Keep<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, json: D) -> Result<(), D::Error> {
        if self.wanted.whole {
            let raw = <&RawValue>::deserialize(json)?;
            self.kept.extend_from_slice(raw.get().as_bytes());
            return Ok(());
        }
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Keep<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        self.kept.push(b'{');
        let mut first = true;
        while let Some(Name(name)) = object.next_key()? {
            let Some(wanted) = self.wanted.members.get(name.as_ref()) else {
                object.next_value::<IgnoredAny>()?;
                continue;
            };
            if !first {
                self.kept.push(b',');
            }
            first = false;
            serde_json::to_writer(&mut *self.kept, &name).map_err(A::Error::custom)?;
            self.kept.push(b':');
            object.next_value_seed(Keep { wanted, kept: &mut *self.kept })?;
        }
        self.kept.push(b'}');
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut items: Vec<Value> = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        self.scalar(&items)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.scalar(&())
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.scalar(&value)
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        self.scalar(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kept(paths: &[&str], input: &Value) -> Value {
        let paths = paths.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect();
        serde_json::from_str(&Projection::new(&paths).of(&input.to_string()).unwrap()).unwrap()
    }

    #[test]
    fn keeps_what_is_read_and_nothing_else() {
        let input = json!({"a": {"b": {"c": 1, "d": "x"}, "e": [1, {"f": 2}]}, "g": "secret", "h": {}});
        assert_eq!(kept(&["a.b.c"], &input), json!({"a": {"b": {"c": 1}}}));
        assert_eq!(kept(&["a.b", "a.b.c"], &input), json!({"a": {"b": {"c": 1, "d": "x"}}}));
        assert_eq!(kept(&["a.e.0", "missing.x"], &input), json!({"a": {"e": [1, {"f": 2}]}}));
        assert_eq!(kept(&["h.i"], &input), json!({"h": {}}));
        assert_eq!(kept(&[], &input), json!({}));
    }

    #[test]
    fn a_value_that_should_be_an_object_is_kept_as_it_is() {
        for value in [json!(null), json!(true), json!(-1), json!(7), json!(1.5), json!("é\"\n"), json!([[]])]
        {
            let input = json!({ "a": value });
            assert_eq!(kept(&["a.b"], &input), input);
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for broken in ["", "{", "{\"a\":}", "{} {}"] {
            assert!(Projection::default().of(broken).is_err(), "{broken}");
        }
    }
}
