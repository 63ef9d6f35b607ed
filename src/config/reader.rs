//! Reads one TOML file key by key, and records every mistake instead of stopping at the first.
//!
//! A key that nobody asked for is a mistake: a misspelt restriction must not fall away in silence. Tables are read
//! through closures, so that this last look at what remains cannot be forgotten. Values are quoted in messages only
//! if they look like names; a secret in the wrong place must not reach a log.

mod field;
mod place;

pub(super) use field::Field;
pub(super) use place::{Overlay, VariableValue, quoted};

use std::collections::BTreeMap;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use toml::de::DeTable;

use self::place::Report;
use super::problem::{Problems, Severity};
use crate::domain::nearest;

/// Most entries of one list or table.
const MAX_ENTRIES: usize = 1000;

/// Reads `bytes`, the content of `file`, with `overlay` laid over it, and adds what is wrong to `problems`.
///
/// Gives nothing if the text is not TOML, or if `read` gives nothing.
pub(super) fn read_file<T>(
    file: &Path,
    bytes: &[u8],
    overlay: &Overlay,
    problems: &mut Problems,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Option<T> {
    let text = std::str::from_utf8(bytes);
    let report = Report::new(file, text.unwrap_or_default(), overlay);
    let value = match text {
        Ok(text) => read_text(text, overlay, &report, read),
        Err(error) => {
            let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            report.at_line(line, "not_utf8", "the file is not UTF-8 text", "save it as UTF-8");
            None
        }
    };
    problems.extend(report.into_problems());
    value
}

fn read_text<T>(
    text: &str,
    overlay: &Overlay,
    report: &Report,
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Option<T> {
    let (mut document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in &errors {
            let fix = "correct the TOML; the other keys of this file are checked once it can be read";
            report.add(Severity::Error, "syntax", error.span().as_ref(), "", error.message(), fix);
        }
        return None;
    }
    overlay.lay_over(document.get_mut());
    let mut root = Reader::new(report, Some(document.get_ref()), None, String::new());
    let value = read(&mut root);
    root.finish();
    value
}

/// One table of a file. A table that is absent reads as an empty one.
pub(super) struct Reader<'a> {
    report: &'a Report,
    table: Option<&'a DeTable<'a>>,
    span: Option<Range<usize>>,
    path: String,
    known: Vec<&'static str>,
    open: bool,
}

impl<'a> Reader<'a> {
    const fn new(
        report: &'a Report,
        table: Option<&'a DeTable<'a>>,
        span: Option<Range<usize>>,
        path: String,
    ) -> Self {
        Self { report, table, span, path, known: Vec::new(), open: false }
    }

    /// The value of `key`, if it is written. `expected` completes "write …".
    pub(super) fn get(&mut self, key: &'static str, expected: &'static str) -> Option<Field<'a>> {
        self.known.push(key);
        let value = self.table?.get(key)?;
        let path = place::join(&self.path, key);
        Some(Field::new(self.report, value.get_ref(), value.span(), path, expected))
    }

    /// The value of `key`, which must be written.
    pub(super) fn need(&mut self, key: &'static str, expected: &'static str) -> Option<Field<'a>> {
        let field = self.get(key, expected);
        if field.is_none() {
            let path = place::join(&self.path, key);
            let fix = format!("add `{key}`: {expected}");
            let message = format!("`{key}` is missing");
            self.report.add(Severity::Error, "missing_key", self.span.as_ref(), &path, &message, &fix);
        }
        field
    }

    /// A text that must be there.
    pub(super) fn required<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Option<T> {
        self.need(key, expected)?.parse()
    }

    /// A text that may be there.
    pub(super) fn optional<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Option<T> {
        self.get(key, expected)?.parse()
    }

    /// `true` or `false`; false if it is not written.
    pub(super) fn flag(&mut self, key: &'static str) -> bool {
        self.get(key, "true or false").and_then(|field| field.boolean()).unwrap_or(false)
    }

    /// A whole number within `range`.
    pub(super) fn integer<T: TryFrom<i64>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        range: &RangeInclusive<i64>,
    ) -> Option<T> {
        self.get(key, expected)?.integer(range).and_then(|number| T::try_from(number).ok())
    }

    /// A length of time within `range`, or `default`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        expected: &'static str,
        default: Duration,
        range: &RangeInclusive<Duration>,
    ) -> Duration {
        self.get(key, expected).and_then(|field| field.duration(range)).unwrap_or(default)
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        words: &[(&'static str, T)],
    ) -> Option<T> {
        self.get(key, expected)?.choice(words)
    }

    /// A list of texts, each at most once; none if it is not written.
    pub(super) fn list<T: FromStr<Err: Display>>(
        &mut self,
        key: &'static str,
        expected: &'static str,
    ) -> Option<Vec<T>> {
        let items = self.get(key, expected)?.items()?;
        Some(items.iter().filter_map(Field::parse).collect())
    }

    /// A table with fixed keys; `read` sees an empty one if it is not written.
    pub(super) fn section<T>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnOnce(&mut Reader<'a>) -> T,
    ) -> Option<T> {
        if let Some(field) = self.get(key, expected) {
            return field.table(read);
        }
        let path = place::join(&self.path, key);
        Some(read(&mut Reader::new(self.report, None, self.span.clone(), path)))
    }

    /// A table whose keys are names; empty if it is not written.
    pub(super) fn map<K: FromStr<Err: Display> + Ord, V>(
        &mut self,
        key: &'static str,
        expected: &'static str,
        read: impl FnMut(&K, Field<'a>) -> Option<V>,
    ) -> BTreeMap<K, V> {
        self.get(key, expected).map(|field| field.entries(read)).unwrap_or_default()
    }

    /// True if `key` is written.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.is_some_and(|table| table.contains_key(key))
    }

    /// Records that `key` cannot be as it is.
    pub(super) fn refuse(&self, key: &str, code: &'static str, message: &str, fix: &str) {
        self.note(Severity::Error, key, code, message, fix);
    }

    /// Records that `key` is legal and risky.
    pub(super) fn warn(&self, key: &str, code: &'static str, message: &str, fix: &str) {
        self.note(Severity::Warning, key, code, message, fix);
    }

    /// Records that the value of `key` was not looked at.
    pub(super) fn pass_over(&self, key: &str, code: &'static str, message: &str, fix: &str) {
        self.note(Severity::Note, key, code, message, fix);
    }

    fn note(&self, severity: Severity, key: &str, code: &'static str, message: &str, fix: &str) {
        let span = self.table.and_then(|table| table.get(key)).map(toml::Spanned::span);
        let path = if key.is_empty() { self.path.clone() } else { place::join(&self.path, key) };
        self.report.add(severity, code, span.as_ref().or(self.span.as_ref()), &path, message, fix);
    }

    /// Says nothing of keys that nobody asked for: what they should be depends on one that is broken.
    pub(super) const fn ignore_the_rest(&mut self) {
        self.open = true;
    }

    /// Refuses every key that nobody asked for.
    fn finish(self) {
        if self.open {
            return;
        }
        for key in self.table.into_iter().flat_map(DeTable::keys) {
            let text: &str = key.get_ref();
            if self.known.contains(&text) {
                continue;
            }
            let fix = match nearest(text, self.known.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("remove it; known here: {}", self.known.join(", ")),
            };
            let path = place::join(&self.path, text);
            let span = key.span();
            self.report.add(Severity::Error, "unknown_key", Some(&span), &path, "there is no such key", &fix);
        }
    }
}

#[cfg(test)]
mod tests;
