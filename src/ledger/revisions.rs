//! Which configuration decisions rest on.

use crate::secret::Fingerprint;

/// The revisions that the ledger is told of, as a frame holds them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Revisions {
    /// Digest of the configuration files, hex.
    configuration: String,
}

impl Revisions {
    pub(super) fn new(configuration: Fingerprint) -> Self {
        Self { configuration: configuration.to_string() }
    }

    /// Digest of the configuration files, hex.
    pub(super) fn configuration(&self) -> &str {
        &self.configuration
    }

    /// Before the ledger is told.
    pub(super) const fn unknown() -> Self {
        Self { configuration: String::new() }
    }
}
