//! What the certificate of a connection proves: its key, by the handshake; and whom it names, by the bundle of the trust domain.
//!
//! Of a certificate that a proxy passes on, the key is the proxy's word, and the certificate is public: it proves its key only
//! where a bundle vouches for it. A bare key behind a proxy, which anybody can put into a certificate, proves nothing.

use super::Identity;
use super::possession::{SvidKey, has_key, missing};
use super::spiffe::{X509Svid, is_bare_key};
use crate::domain::{Refusal, Thumbprint};
use crate::net::PeerCertificate;

impl Identity {
    /// Checks that the connection with the certificate `peer` has the key `bound`.
    ///
    /// # Errors
    /// `proof_missing`; behind a proxy `certificate_*` or `issuer_*` too, of an SVID that is not believed.
    pub(super) async fn check_key(
        &self,
        peer: Option<&PeerCertificate>,
        bound: Thumbprint,
    ) -> Result<(), Refusal> {
        let Some(peer) = peer.filter(|peer| has_key(peer, bound)) else {
            return Err(missing(
                "or connect with a certificate of it, or with an SVID of the same SPIFFE ID",
            ));
        };
        if !peer.is_forwarded() {
            return Ok(());
        }
        if is_bare_key(peer) {
            return Err(missing("for a proxy passed on the certificate, and its word proves no key"));
        }
        self.vouched(peer).await.map(drop)
    }

    /// Checks that the connection with the certificate `peer` has what a lease is `bound` to. Gives the SVID that shows it, of the
    /// SPIFFE ID that the lease is bound to; none where the lease is bound to a key.
    ///
    /// # Errors
    /// `proof_missing`; `certificate_*` or `issuer_*`, of an SVID that is not believed.
    pub(super) async fn check_holder(
        &self,
        peer: Option<&PeerCertificate>,
        bound: Thumbprint,
    ) -> Result<Option<SvidKey>, Refusal> {
        let names = |svid: &X509Svid| SvidKey::holder(&svid.id) == bound;
        match peer.filter(|peer| X509Svid::read(peer).is_ok_and(|svid| names(&svid))) {
            Some(peer) => Ok(self.vouched(peer).await?.key),
            None => self.check_key(peer, bound).await.map(|()| None),
        }
    }

    /// The SVID that `peer` is, once the bundle of its trust domain in force vouches for it.
    async fn vouched(&self, peer: &PeerCertificate) -> Result<X509Svid, Refusal> {
        let svid = X509Svid::read(peer)?;
        let entry = self.entries.of_domain(&format!("spiffe://{}", svid.id.trust_domain_name()))?;
        entry.vouch(&svid, peer, self.clock.now()).await?;
        Ok(svid)
    }
}
