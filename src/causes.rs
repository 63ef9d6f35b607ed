//! An error with its causes, on one line, for the log and the record.
//!
//! Errors here say what failed and leave why to their source, so that neither is told twice.

use std::error::Error;
use std::iter::successors;

/// `error` and its causes, outermost first.
pub fn of<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error| (*error).source())
}

/// `error` and its causes as one text, parted by colons. Libraries that tell a cause themselves do not have it told again.
pub fn in_full(error: &(dyn Error + 'static)) -> String {
    of(error).map(ToString::to_string).fold(String::new(), |told, cause| match told.as_str() {
        "" => cause,
        before if before.ends_with(&cause) => told,
        before => format!("{before}: {cause}"),
    })
}

#[cfg(test)]
mod tests {
    use super::in_full;

    #[derive(Debug, thiserror::Error)]
    #[error("the file cannot be read")]
    struct Outer(#[source] std::fmt::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("reading failed: {0}")]
    struct Library(#[source] std::fmt::Error);

    #[test]
    fn tells_no_cause_again_that_an_error_told_itself() {
        assert_eq!(in_full(&Library(std::fmt::Error)), Library(std::fmt::Error).to_string());
    }

    #[test]
    fn tells_every_cause_once() {
        let cause = std::fmt::Error;
        assert_eq!(in_full(&Outer(cause)), format!("the file cannot be read: {cause}"));
        assert_eq!(in_full(&cause), cause.to_string());
    }
}
