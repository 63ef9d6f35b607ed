//! `[server.proxy]`: proxies that end TLS, prove who they are, and pass on the certificates of their clients.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// `[server.proxy]`.
#[derive(Debug)]
pub struct ProxySettings {
    /// Address that is for these proxies alone.
    pub listen: SocketAddr,
    /// Where they write the client's certificate.
    pub header: CertificateHeader,
    /// SPIFFE IDs of the proxies, each of a trust domain that an issuer's file configures.
    pub spiffe_ids: BTreeSet<String>,
}

/// The header with a client's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateHeader {
    /// Envoy's `x-forwarded-client-cert`, of which `Cert` and `Chain` are read.
    Xfcc,
    /// `Client-Cert` and `Client-Cert-Chain` (RFC 9440, section 2).
    Rfc9440,
}
