//! Where in a file something stands, and how to speak about it.

use std::cell::RefCell;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::problem::{Problem, Problems, Severity};

/// Positions from here on stand for environment variables; no file is as long.
const ENVIRONMENT: usize = usize::MAX / 2;

/// Values that environment variables put over a file's.
#[derive(Default)]
pub(in crate::config) struct Overlay(Vec<Variable>);

/// One variable, already read.
struct Variable {
    name: String,
    path: &'static [&'static str],
    value: VariableValue,
}

/// What a variable holds.
pub(in crate::config) enum VariableValue {
    /// One text.
    Text(String),
    /// Texts, written with commas between.
    List(Vec<String>),
}

impl Overlay {
    /// Puts the variable `name` at the key `path`.
    pub(in crate::config) fn push(
        &mut self,
        name: &str,
        path: &'static [&'static str],
        value: VariableValue,
    ) {
        self.0.push(Variable { name: name.to_owned(), path, value });
    }

    /// Writes the variables' values into `table`.
    pub(super) fn lay_over(&self, table: &mut DeTable<'_>) {
        for (index, variable) in self.0.iter().enumerate() {
            let at = ENVIRONMENT + index;
            let spanned = |text: &String| Spanned::new(at..at, DeValue::String(text.clone().into()));
            let value = match &variable.value {
                VariableValue::Text(text) => spanned(text),
                VariableValue::List(texts) => {
                    Spanned::new(at..at, DeValue::Array(texts.iter().map(spanned).collect()))
                }
            };
            put(table, variable.path, at, value);
        }
    }
}

/// Sets `path` below `table`; leaves a value that should be a table and is not for the reader to refuse.
fn put<'i>(table: &mut DeTable<'i>, path: &[&'static str], at: usize, value: Spanned<DeValue<'i>>) {
    let Some((first, rest)) = path.split_first() else { return };
    let key = Spanned::new(at..at, (*first).into());
    if rest.is_empty() {
        // Removed first: the map would keep the file's key, and with it the file's line.
        table.remove(*first);
        table.insert(key, value);
        return;
    }
    let below = table.entry(key).or_insert_with(|| Spanned::new(at..at, DeValue::Table(DeTable::new())));
    if let DeValue::Table(below) = below.get_mut() {
        put(below, rest, at, value);
    }
}

/// What is wrong with one file.
pub(super) struct Report {
    file: PathBuf,
    newlines: Vec<usize>,
    variables: Vec<String>,
    problems: RefCell<Problems>,
}

impl Report {
    pub(super) fn new(file: &Path, text: &str, overlay: &Overlay) -> Self {
        Self {
            file: file.to_owned(),
            newlines: text.match_indices('\n').map(|(at, _)| at).collect(),
            variables: overlay.0.iter().map(|variable| variable.name.clone()).collect(),
            problems: RefCell::default(),
        }
    }

    /// Records a problem at `span`.
    pub(super) fn add(
        &self,
        severity: Severity,
        code: &'static str,
        span: Option<&Range<usize>>,
        key: &str,
        message: &str,
        fix: &str,
    ) {
        let (file, line) = match span.map(|span| span.start) {
            Some(start) if start >= ENVIRONMENT => {
                let name = self.variables.get(start - ENVIRONMENT);
                (name.map_or_else(|| self.file.clone(), PathBuf::from), None)
            }
            Some(start) => {
                (self.file.clone(), Some(self.newlines.partition_point(|newline| *newline < start) + 1))
            }
            None => (self.file.clone(), None),
        };
        let (key, message, fix) = (key.to_owned(), message.to_owned(), fix.to_owned());
        self.problems.borrow_mut().push(Problem { severity, code, file, line, key, message, fix });
    }

    /// Records an error at `line`, from 1.
    pub(super) fn at_line(&self, line: usize, code: &'static str, message: &str, fix: &str) {
        let problem = Problem::error(&self.file, code, message, fix);
        self.problems.borrow_mut().push(Problem { line: Some(line), ..problem });
    }

    pub(super) fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }
}

/// `key` below `path`, quoted as TOML would unless it is plain.
pub(super) fn join(path: &str, key: &str) -> String {
    let plain =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    let key = if plain { key.to_owned() } else { format!("\"{}\"", key.escape_debug()) };
    let key: String = key.chars().take(80).collect();
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

/// `text` in back-ticks if it looks like a name; a secret in the wrong place, or a URL with a password, is not shown.
pub(in crate::config) fn quoted(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_./:*{}-".contains(&byte);
    if !text.is_empty() && text.len() <= 64 && text.bytes().all(plain) {
        format!("`{text}`")
    } else {
        "this value".to_owned()
    }
}
