//! What a source publishes that identities are verified by.

use std::time::Duration;

use super::discovery::FetchError;
use super::keys::KeySet;
use super::spiffe::Authorities;

/// Keys of tokens, and, of a trust domain, authorities of certificates.
pub(super) struct Published {
    /// Keys of tokens.
    pub keys: KeySet,
    /// Authorities of certificates; none without any.
    pub authorities: Option<Authorities>,
    /// How often the source wants to be asked at least.
    pub refresh: Option<Duration>,
    /// Counts up with each change; of trust domains only.
    pub sequence: Option<u64>,
    /// What was left out, because nothing can be verified by it.
    pub skipped: usize,
}

/// What a source answered.
pub(super) struct Fetched {
    /// As it was sent.
    pub document: Vec<u8>,
    /// As it was read.
    pub published: Published,
    /// Something that it vouched by before is gone.
    pub removes: bool,
    /// Why a part of it may be older than the answer.
    pub doubt: Option<FetchError>,
}

impl Fetched {
    /// The answer of a source that was asked for all of it.
    pub(super) const fn whole(document: Vec<u8>, published: Published) -> Self {
        Self { document, published, removes: false, doubt: None }
    }
}

impl Published {
    /// True if nothing can be verified by it.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.authorities.is_none()
    }
}

impl From<KeySet> for Published {
    fn from(keys: KeySet) -> Self {
        let skipped = keys.skipped();
        Self { keys, authorities: None, refresh: None, sequence: None, skipped }
    }
}
