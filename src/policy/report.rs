//! Problems of policy files, said with file and line.

use std::path::Path;

use super::packages::Place;
use crate::config::{Problem, Severity};

/// A problem that stops the load.
pub(super) fn error(
    code: &'static str,
    place: &Place,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> Problem {
    problem(Severity::Error, code, (&place.file, Some(place.line)), message.into(), fix.into())
}

/// A problem that is legal, and risky.
pub(super) fn warning(
    code: &'static str,
    place: &Place,
    message: impl Into<String>,
    fix: impl Into<String>,
) -> Problem {
    problem(Severity::Warning, code, (&place.file, Some(place.line)), message.into(), fix.into())
}

/// A problem of a file as a whole, or at a line that may be unknown.
pub(super) fn problem(
    severity: Severity,
    code: &'static str,
    (file, line): (&Path, Option<usize>),
    message: String,
    fix: String,
) -> Problem {
    Problem { severity, code, file: file.to_owned(), line, key: String::new(), message, fix }
}
