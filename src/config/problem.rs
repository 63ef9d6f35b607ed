//! What is wrong with a configuration or a policy, said so that its author can mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// Whether a problem stops the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The configuration does not load.
    Error,
    /// Legal, and risky.
    Warning,
    /// Neither: something that was not looked at, as was asked for.
    Note,
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Problem {
    /// Whether it stops the load.
    pub severity: Severity,
    /// Stable code, such as `unknown_key`.
    pub code: &'static str,
    /// The file, relative to where the load began; or the environment variable.
    pub file: PathBuf,
    /// The line, from 1; none if the problem is about the file as a whole.
    pub line: Option<usize>,
    /// The key path, such as `scopes.read.policies`; empty if there is none.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to change.
    pub fix: String,
}

impl Problem {
    /// An error about `file` as a whole.
    pub fn error(file: &Path, code: &'static str, message: &str, fix: &str) -> Self {
        Self {
            severity: Severity::Error,
            code,
            file: file.to_owned(),
            line: None,
            key: String::new(),
            message: message.to_owned(),
            fix: fix.to_owned(),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        };
        write!(f, "{severity}[{}] {}", self.code, self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}", self.key)?;
        }
        write!(f, ": {}\n  fix: {}", self.message, self.fix)
    }
}

/// All problems of one load: in the order found, or, once sorted, in file and line order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn push(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Adds all of `other`.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Puts them in file and line order.
    pub fn sort(&mut self) {
        self.0.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    }

    /// True if one of them stops the load.
    pub fn stop_the_load(&self) -> bool {
        self.0.iter().any(|problem| problem.severity == Severity::Error)
    }

    /// The problems.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|problem| writeln!(f, "{problem}"))
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;
    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
