//! The one HTTP client: caps, timeouts, no redirects, no proxy and no trust from the environment, and address rules after
//! resolution.
//!
//! Every request that Tollgate makes itself passes here. The module must never follow a redirect, ask a proxy that nobody
//! configured, connect to an address that was not checked, read more than its cap, or put a query, header or body into
//! an error or a log.

mod address;
mod client;
mod peer_certificate;
mod possession;
mod request;
mod roots;
mod stream;
mod svid_server;
mod tls_time;
mod web_server;
mod workload;

#[cfg(test)]
mod tests;

use std::time::Duration;

use ipnet::IpNet;

pub use client::{Client, ServerProof};
pub use peer_certificate::{ClientAuthorities, ClientName, NotAName, PeerCertificate, unix_time};
pub use possession::PossessionOnly;
pub use request::{Request, Response};
pub use roots::read_ca_file;
pub use stream::{DialError, Dialer, Duplex};
pub use tls_time::TlsTime;
pub use workload::{Given, Svid, TrustBundle, WorkloadApi, WorkloadError};

/// What a client may reach, and how much it reads.
#[derive(Debug, Clone)]
pub struct Rules {
    /// Private networks that a host may resolve to; all other private, loopback and link-local addresses are refused.
    pub allow_networks: Vec<IpNet>,
    /// Http, and loopback, to a literal loopback address.
    pub insecure_loopback: bool,
    /// Extra root certificates, PEM; trusted beside the platform's.
    pub extra_roots: Option<Vec<u8>>,
    /// Longest a request may take, connection included.
    pub timeout: Duration,
    /// Largest answer body, bytes.
    pub max_bytes: usize,
}

/// Why no usable answer came.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// The URL's scheme, host or address is not allowed.
    #[error("address refused: {0}")]
    AddressRefused(String),
    /// A header that HTTP cannot carry; its value is not repeated.
    #[error("the header {0:?} has a name or value that HTTP cannot carry")]
    InvalidHeader(String),
    /// Connection, TLS or protocol failed.
    #[error("cannot reach {host}")]
    Unreachable {
        /// Host that was asked.
        host: String,
        /// What the client library says, without the URL.
        #[source]
        source: reqwest::Error,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The answer redirects; redirects are never followed.
    #[error("the answer redirects, which is not followed")]
    Redirect,
    /// The answer is larger than the cap.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The client could not be built (no root certificates, broken PEM).
    #[error("cannot build the HTTP client: {0}")]
    Setup(String),
}
