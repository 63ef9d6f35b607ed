//! The hash chain: what exactly is hashed, in which order, byte by byte.
//!
//! Every field goes in with its length before it, under a domain of its own, so that no two different records can
//! have the same bytes. Changing anything here needs a new domain (`…/2`): old records must still verify.

use aws_lc_rs::digest::{Context, SHA256};

use crate::secret::Fingerprint;

/// Writes fields unambiguously into SHA-256.
pub(super) struct Canon(Context);

impl Canon {
    /// Starts a hash in `domain`, such as `tollgate/lease/1`.
    pub(super) fn new(domain: &str) -> Self {
        Self(Context::new(&SHA256)).text(domain)
    }

    /// Adds bytes.
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.update(&(bytes.len() as u64).to_be_bytes());
        self.0.update(bytes);
        self
    }

    /// Adds text.
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a number.
    pub(super) fn int(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds something that may be absent; absent differs from empty.
    pub(super) fn option(self, bytes: Option<&[u8]>) -> Self {
        match bytes {
            Some(bytes) => self.bytes(&[1]).bytes(bytes),
            None => self.bytes(&[0]),
        }
    }

    /// The hash.
    pub(super) fn finish(self) -> Fingerprint {
        let mut hash = [0; 32];
        hash.copy_from_slice(self.0.finish().as_ref());
        Fingerprint::from_bytes(hash)
    }
}

/// One record of a chain, as it is hashed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link<'a> {
    /// The writer's number in this store.
    pub(super) writer: i64,
    /// From 1, without gaps.
    pub(super) seq: i64,
    /// Unix milliseconds.
    pub(super) at: i64,
    /// The kind, as stored.
    pub(super) kind: &'a str,
    /// The tenant; empty for the server itself.
    pub(super) tenant: &'a str,
    /// What the record is about.
    pub(super) subject: &'a [u8],
    /// Hash of the row or body that it vouches for.
    pub(super) payload: &'a Fingerprint,
}

impl Link<'_> {
    /// The record's hash, given that of the one before it.
    pub(super) fn hash(&self, previous: &Fingerprint) -> Fingerprint {
        Canon::new("tollgate/audit/1")
            .bytes(previous.as_bytes())
            .int(self.writer)
            .int(self.seq)
            .int(self.at)
            .text(self.kind)
            .text(self.tenant)
            .bytes(self.subject)
            .bytes(self.payload.as_bytes())
            .finish()
    }
}

/// What the first record of a writer follows.
pub(super) fn genesis(store: &[u8; 16], instance: &[u8; 16], started_at: i64) -> Fingerprint {
    Canon::new("tollgate/writer/1").bytes(store).bytes(instance).int(started_at).finish()
}

/// Payload of a record whose content is its body.
pub(super) fn body_payload(body: &str) -> Fingerprint {
    Canon::new("tollgate/body/1").text(body).finish()
}

/// The newest record of a writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// The writer's number.
    pub(super) writer: i64,
    /// Its last sequence number; 0 before the first.
    pub(super) seq: i64,
    /// Hash of that record, or the genesis.
    pub(super) hash: Fingerprint,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_cannot_slide_into_each_other() {
        let joined = |a: &str, b: &str| Canon::new("d").text(a).text(b).finish();
        assert_ne!(joined("ab", "c"), joined("a", "bc"));
        assert_ne!(Canon::new("d").option(None).finish(), Canon::new("d").option(Some(b"")).finish());
        assert_ne!(Canon::new("a").finish(), Canon::new("b").finish());
    }

    #[test]
    fn every_field_of_a_link_counts() {
        let payload = Fingerprint::of(b"payload");
        let other = Fingerprint::of(b"other");
        let link =
            Link { writer: 1, seq: 2, at: 3, kind: "k", tenant: "t", subject: b"s", payload: &payload };
        let hash = link.hash(&payload);
        for changed in [
            Link { writer: 9, ..link },
            Link { seq: 9, ..link },
            Link { at: 9, ..link },
            Link { kind: "x", ..link },
            Link { tenant: "x", ..link },
            Link { subject: b"x", ..link },
            Link { payload: &other, ..link },
        ] {
            assert_ne!(changed.hash(&payload), hash, "{changed:?}");
        }
        assert_ne!(link.hash(&other), hash);
    }
}
