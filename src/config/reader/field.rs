//! One value of a file, with its place.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeValue;

use super::place::{Report, join, quoted};
use super::{MAX_ENTRIES, Reader};
use crate::config::duration::Span;
use crate::config::problem::Severity;
use crate::domain::{Scalar, nearest};

/// One value of a file.
pub(in crate::config) struct Field<'a> {
    report: &'a Report,
    value: &'a DeValue<'a>,
    span: Range<usize>,
    path: String,
    expected: &'static str,
}

impl<'a> Field<'a> {
    pub(super) const fn new(
        report: &'a Report,
        value: &'a DeValue<'a>,
        span: Range<usize>,
        path: String,
        expected: &'static str,
    ) -> Self {
        Self { report, value, span, path, expected }
    }

    /// Records that the value cannot be as it is.
    pub(in crate::config) fn refuse(&self, code: &'static str, message: &str, fix: &str) {
        self.report.add(Severity::Error, code, Some(&self.span), &self.path, message, fix);
    }

    /// True if the value is a table.
    pub(in crate::config) const fn is_table(&self) -> bool {
        matches!(self.value, DeValue::Table(_))
    }

    /// True if the value is a list.
    pub(in crate::config) const fn is_list(&self) -> bool {
        matches!(self.value, DeValue::Array(_))
    }

    fn wrong_type(&self, wanted: &str) {
        let found = match self.value.type_str() {
            "string" => "text",
            "integer" => "a whole number",
            "float" => "a number with a fraction",
            "boolean" => "true or false",
            "datetime" => "a date",
            "array" => "a list",
            _ => "a table",
        };
        let message = format!("this is {found}; it must be {wanted}");
        self.refuse("wrong_type", &message, &format!("write {}", self.expected));
    }

    /// Text.
    pub(in crate::config) fn text(&self) -> Option<&'a str> {
        if let DeValue::String(text) = self.value {
            return Some(text);
        }
        self.wrong_type("text");
        None
    }

    /// Text that reads as a `T`, whose own words say what is wrong with it otherwise.
    pub(in crate::config) fn parse<T: FromStr<Err: Display>>(&self) -> Option<T> {
        let text = self.text()?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let message = format!("{} is refused: {error}", quoted(text));
                self.refuse("bad_value", &message, &format!("write {}", self.expected));
                None
            }
        }
    }

    /// `true` or `false`.
    pub(in crate::config) fn boolean(&self) -> Option<bool> {
        if let DeValue::Boolean(value) = self.value {
            return Some(*value);
        }
        self.wrong_type("true or false");
        None
    }

    /// A whole number within `range`.
    pub(in crate::config) fn integer(&self, range: &RangeInclusive<i64>) -> Option<i64> {
        let DeValue::Integer(integer) = self.value else {
            self.wrong_type("a whole number");
            return None;
        };
        let number = i64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let inside = number.filter(|number| range.contains(number));
        if inside.is_none() {
            let message = format!("the number must be from {} to {}", range.start(), range.end());
            self.refuse("out_of_range", &message, &format!("write {}", self.expected));
        }
        inside
    }

    /// A share: a number from 0 to 1.
    pub(in crate::config) fn share(&self) -> Option<f64> {
        let number: Option<f64> = match self.value {
            DeValue::Float(number) => number.as_str().parse().ok(),
            DeValue::Integer(_) => self.integer(&(0..=1)).map(|whole| if whole == 0 { 0.0 } else { 1.0 }),
            DeValue::String(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_)
            | DeValue::Array(_)
            | DeValue::Table(_) => {
                self.wrong_type("a number");
                return None;
            }
        };
        let inside = number.filter(|number| (0.0..=1.0).contains(number));
        if inside.is_none() && matches!(self.value, DeValue::Float(_)) {
            let message = "the number must be from 0 to 1";
            self.refuse("out_of_range", message, &format!("write {}", self.expected));
        }
        inside
    }

    /// A length of time within `range`.
    pub(in crate::config) fn duration(&self, range: &RangeInclusive<Duration>) -> Option<Duration> {
        let Span(length) = self.parse::<Span>()?;
        if range.contains(&length) {
            return Some(length);
        }
        let message = format!("the time must be from {} to {}", Span(*range.start()), Span(*range.end()));
        self.refuse("out_of_range", &message, &format!("write {}", self.expected));
        None
    }

    /// One of a few words.
    pub(in crate::config) fn choice<T: Copy>(&self, words: &[(&'static str, T)]) -> Option<T> {
        let text = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        if found.is_none() {
            let list: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("{} is not one of {}", quoted(text), list.join(", "));
            let fix = nearest(text, list)
                .map_or_else(|| format!("write {}", self.expected), |near| format!("did you mean `{near}`?"));
            self.refuse("unknown_word", &message, &fix);
        }
        found
    }

    /// Text, a whole number, or a boolean.
    pub(in crate::config) fn scalar(&self) -> Option<Scalar> {
        match self.value {
            DeValue::String(text) => Some(Scalar::Text(text.to_string())),
            DeValue::Boolean(value) => Some(Scalar::Bool(*value)),
            DeValue::Integer(_) => self.integer(&(i64::MIN..=i64::MAX)).map(Scalar::Integer),
            DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
                self.wrong_type("text, a whole number, or true or false");
                None
            }
        }
    }

    /// The items of a list, none of them twice.
    pub(in crate::config) fn items(&self) -> Option<Vec<Self>> {
        let DeValue::Array(array) = self.value else {
            self.wrong_type("a list");
            return None;
        };
        self.bounded(array.len())?;
        let mut seen = BTreeSet::new();
        let mut items = Vec::with_capacity(array.len());
        for (index, item) in array.iter().enumerate() {
            let path = format!("{}[{index}]", self.path);
            let item = Field::new(self.report, item.get_ref(), item.span(), path, self.expected);
            if let DeValue::String(text) = item.value
                && !seen.insert(text)
            {
                item.refuse("listed_twice", &format!("{} is in the list twice", quoted(text)), "remove one");
            }
            items.push(item);
        }
        Some(items)
    }

    /// A table with fixed keys.
    pub(in crate::config) fn table<T>(&self, read: impl FnOnce(&mut Reader<'a>) -> T) -> Option<T> {
        let DeValue::Table(table) = self.value else {
            self.wrong_type("a table");
            return None;
        };
        let mut reader = Reader::new(self.report, Some(table), Some(self.span.clone()), self.path.clone());
        let value = read(&mut reader);
        reader.finish();
        Some(value)
    }

    /// A table whose keys are names.
    pub(in crate::config) fn entries<K: FromStr<Err: Display> + Ord, V>(
        &self,
        mut read: impl FnMut(&K, Field<'a>) -> Option<V>,
    ) -> BTreeMap<K, V> {
        let mut entries = BTreeMap::new();
        let DeValue::Table(table) = self.value else {
            self.wrong_type("a table");
            return entries;
        };
        if self.bounded(table.len()).is_none() {
            return entries;
        }
        for (key, value) in table {
            let text: &str = key.get_ref();
            let path = join(&self.path, text);
            let name = match text.parse::<K>() {
                Ok(name) => name,
                Err(error) => {
                    let message = format!("{} is refused: {error}", quoted(text));
                    let fix = "rename the key";
                    self.report.add(Severity::Error, "bad_name", Some(&key.span()), &path, &message, fix);
                    continue;
                }
            };
            let field = Field::new(self.report, value.get_ref(), value.span(), path, self.expected);
            if let Some(value) = read(&name, field) {
                entries.insert(name, value);
            }
        }
        entries
    }

    fn bounded(&self, entries: usize) -> Option<()> {
        if entries <= MAX_ENTRIES {
            return Some(());
        }
        let message = format!("{entries} entries are more than the {MAX_ENTRIES} that fit here");
        self.refuse("too_many", &message, "split it, or use a target table");
        None
    }
}
