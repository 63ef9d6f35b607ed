//! The authorities of one bundle, and what was verified by them.

use jiff::Timestamp;
use moka::sync::Cache;
use rustls_pki_types::CertificateDer;

use super::X509Svid;
use crate::net::{ClientAuthorities, PeerCertificate};
use crate::secret::Fingerprint;

/// Most chains whose verification is remembered: about as many connections as are open.
const MAX_VERDICTS: u64 = 4096;

/// The authorities of one bundle. What they verified is forgotten with them: a new bundle verifies everything again,
/// connections that are open and sessions that are resumed included.
pub(in crate::identity) struct Authorities {
    clients: ClientAuthorities,
    verdicts: Cache<Fingerprint, Verdict>,
}

/// When a chain was verified, and until when the same certificates would give the same answer.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    at: Timestamp,
    until: Timestamp,
}

impl Authorities {
    /// The authorities in `certificates`, and how many cannot be used.
    pub(super) fn new<'a>(certificates: impl Iterator<Item = CertificateDer<'a>>) -> (Option<Self>, usize) {
        let (clients, unusable) = ClientAuthorities::from_der(certificates);
        let of = |clients| Self { clients, verdicts: Cache::new(MAX_VERDICTS) };
        (clients.map(of), unusable)
    }

    /// The authorities alone, to verify a server by.
    pub(super) const fn clients(&self) -> &ClientAuthorities {
        &self.clients
    }

    /// Checks that the chain of `peer`, whose leaf is `svid`, leads to one of these authorities at `now`.
    ///
    /// # Errors
    /// Why it does not.
    pub(in crate::identity) fn verify(
        &self,
        svid: &X509Svid,
        peer: &PeerCertificate,
        now: Timestamp,
    ) -> Result<(), rustls::Error> {
        let chain = fingerprint(peer);
        let known = self.verdicts.get(&chain);
        if known.is_some_and(|verdict| verdict.at <= now && now < verdict.until) {
            return Ok(());
        }
        self.clients.verify(peer, now)?;
        self.verdicts.insert(chain, Verdict { at: now, until: svid.holds_until(peer, now) });
        Ok(())
    }
}

/// Of the whole chain, with lengths: no two chains are one.
fn fingerprint(peer: &PeerCertificate) -> Fingerprint {
    let mut bytes = Vec::new();
    for certificate in std::iter::once(peer.leaf()).chain(peer.intermediates()) {
        bytes.extend_from_slice(&certificate.len().to_be_bytes());
        bytes.extend_from_slice(certificate);
    }
    Fingerprint::of(&bytes)
}
