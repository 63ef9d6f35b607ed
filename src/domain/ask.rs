//! What a caller asks for, protocol aside.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use super::{FactKey, LeaseId, RoleName, Scalar, ScopeName, TraceParent, Ttl};

/// One request for a credential, after parsing and before any check of who asks.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The role asked for.
    pub role: RoleName,
    /// The scopes asked for; none means all that the role offers by default.
    pub scopes: Option<BTreeSet<ScopeName>>,
    /// The lifetime asked for; none means the role's default.
    pub ttl: Option<Ttl>,
    /// What the caller claims about this request. Only keys that the role admits get further.
    pub declared: BTreeMap<FactKey, Scalar>,
    /// Makes a retry of the same request safe.
    pub idempotency_key: Option<IdempotencyKey>,
    /// Decide and record, but neither authorise nor mint.
    pub dry_run: bool,
    /// The lease that this would renew. Set by the broker alone, never by a request.
    pub renews: Option<LeaseId>,
    /// The peer's address, or the one a trusted proxy vouches for.
    pub source_ip: Option<IpAddr>,
    /// The trace that it is part of, if a proxy that may be believed says so.
    pub trace_parent: Option<TraceParent>,
}

/// A client's key for retries of one request: 1 to 128 printable ASCII characters.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

/// An idempotency key that is empty, too long, or not printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an idempotency key is 1 to 128 printable ASCII characters, such as a UUID")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;
    fn from_str(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let fits = (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
