//! Grants for unit tests of the modules below; production code has no such door.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Grant, Judged};
use crate::facts::Facts;
use crate::secret::Fingerprint;

/// `facts` with no results.
pub(crate) fn judged(facts: Facts) -> Judged {
    Judged {
        facts: Arc::new(facts),
        results: Arc::new(Vec::new()),
        revision: Fingerprint::of(b"policies"),
        configuration: Fingerprint::of(b"configuration"),
    }
}

/// A grant of all that `facts` ask for, with `tags`.
pub(crate) fn grant(facts: Facts, tags: BTreeMap<String, String>) -> Grant {
    let (ttl, scopes) = (facts.ttl(), facts.scopes().clone());
    Grant { judged: judged(facts), ttl, scopes, tags }
}
