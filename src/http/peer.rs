//! The other end of a connection.

use std::net::SocketAddr;

use crate::net::PeerCertificate;

/// What is known of a connection's other end, as an extension of each of its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address: the client's, or that of the proxy before us.
    pub address: SocketAddr,
    /// The certificate that it proved possession of; none without TLS client authentication. The handshake verified it for
    /// some authority of the listener, or, where SVIDs are identities, for none: whoever believes it verifies it. Behind a
    /// proxy it is the one that the proxy passes on, and says so.
    pub certificate: Option<PeerCertificate>,
}
