//! Proxies that end TLS: whether the other end of a connection is one of them.
//!
//! It is never a caller or a runner: it only lets what it passes on be looked at.

use std::collections::BTreeSet;

use super::Identity;
use super::spiffe::X509Svid;
use crate::domain::{Code, Refusal};
use crate::net::PeerCertificate;

impl Identity {
    /// Checks that `peer` is the SVID of one of the proxies `ids`, by the bundle of its trust domain in force.
    ///
    /// # Errors
    /// `proxy_refused`; `issuer_unavailable` if the domain has no bundle now.
    pub async fn check_proxy(&self, peer: &PeerCertificate, ids: &BTreeSet<String>) -> Result<(), Refusal> {
        let svid = X509Svid::read(peer).map_err(|error| refused(&error.to_string()))?;
        if !ids.contains(&svid.id.to_string()) {
            return Err(refused(&format!("{} is none of server.proxy", svid.id)));
        }
        let domain = format!("spiffe://{}", svid.id.trust_domain_name());
        let entry = self.entries.of_domain(&domain).map_err(|error| refused(&error.message))?;
        entry.vouch(&svid, peer, self.clock.now()).await.map_err(|error| match error.code {
            Code::IssuerUnavailable => error,
            _ => refused(&error.message),
        })
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::new(Code::ProxyRefused, "this listener is for proxies that prove who they are").with_detail(why)
}
