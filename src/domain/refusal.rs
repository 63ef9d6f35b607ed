//! A refusal as data: what the caller may read, and what only the record holds.

use serde::Serialize;

use super::{Code, PackageName};

/// One reason of a policy, as its author wrote it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reason {
    /// The package that denies.
    pub package: PackageName,
    /// The author's rule id, such as `DP-03`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The author's message.
    pub message: String,
    /// What the caller can change, if the author said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

/// Why a request ends without a credential.
///
/// `message` and `reasons` may reach the caller; `detail` never does: it goes to the record and the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What happened, for the caller: no rule text, no other tenant's values, no secret.
    pub message: String,
    /// The policies' reasons; empty unless a policy denied.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reasons: Vec<Reason>,
    /// For the security team alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Seconds after which a retry makes sense.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u32>,
}

impl Refusal {
    /// A refusal with a message for the caller.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), reasons: Vec::new(), detail: None, retry_after: None }
    }

    /// Adds what only the record may hold.
    #[must_use]
    pub fn with_detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds when to try again, in seconds.
    #[must_use]
    pub const fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What the caller can change: the authors' fixes, or else the code's.
    pub fn fix(&self) -> String {
        let fixes: Vec<_> = self.reasons.iter().filter_map(|r| r.fix.as_deref()).collect();
        if fixes.is_empty() { self.code.explain().fix.to_owned() } else { fixes.join("; ") }
    }
}
