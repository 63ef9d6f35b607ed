//! Who comes over the listener for proxies.

use super::Broker;
use crate::config::CertificateHeader;
use crate::domain::{Code, Refusal};
use crate::net::PeerCertificate;

impl Broker {
    /// Lets in a connection whose other end is `peer`, if it is one of the proxies of the configuration in force; says where
    /// they write the certificates of their clients.
    ///
    /// # Errors
    /// `proxy_refused`, `issuer_unavailable`.
    pub async fn admit_proxy(&self, peer: &PeerCertificate) -> Result<CertificateHeader, Refusal> {
        let loaded = self.loaded();
        let proxy = loaded.config.settings.server.proxy.as_ref();
        let proxy =
            proxy.ok_or_else(|| Refusal::new(Code::ProxyRefused, "no proxies are configured any more"))?;
        loaded.identity.check_proxy(peer, &proxy.spiffe_ids).await?;
        Ok(proxy.header)
    }
}
