//! The other end of a connection.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// What is known of a connection's other end, as an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address: the client's, or that of the proxy before us.
    pub address: SocketAddr,
    /// The certificate chain that it proved possession of, leaf first; none without TLS client authentication.
    pub certificates: Option<Arc<[CertificateDer<'static>]>>,
}
