//! How a command ends when it does not end well: a message, what to do, and an exit status that scripts can rely on.

use std::process::ExitCode;

/// Exit statuses, after `sysexits.h` where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// Something failed that has no status of its own.
    Failed = 1,
    /// Wrong arguments, or a configuration that does not load (`EX_USAGE`).
    Usage = 64,
    /// The broker or the identity provider does not answer (`EX_UNAVAILABLE`).
    Unavailable = 69,
    /// The broker refused (`EX_NOPERM`).
    Denied = 77,
}

/// A failed command.
#[derive(Debug)]
pub(super) struct Failure {
    /// Exit status.
    pub(super) status: Status,
    /// What happened.
    pub(super) message: String,
    /// What to do about it.
    pub(super) hint: Option<String>,
}

impl Failure {
    pub(super) fn new(status: Status, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), hint: None }
    }

    pub(super) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status as u8)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::new(Status::Failed, error.to_string())
    }
}
