//! Grants and permits for unit tests of the modules below; production code has no such door.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Grant, Judged, JudgedOperation, Permit};
use crate::facts::{Facts, OperationFacts};
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

/// A permit of what `facts` ask for.
pub(crate) fn permit(facts: OperationFacts) -> Permit {
    Permit(judged_operation(facts))
}

/// `facts` with no results.
pub(crate) fn judged_operation(facts: OperationFacts) -> JudgedOperation {
    JudgedOperation {
        facts,
        results: Vec::new(),
        revision: Fingerprint::of(b"policies"),
        configuration: Fingerprint::of(b"configuration"),
    }
}
