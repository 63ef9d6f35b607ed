//! Why a KMS gave no signature or key.

use http::StatusCode;

use crate::net::NetError;

/// Why a KMS gave no signature or key.
#[derive(Debug, thiserror::Error)]
pub enum KmsError {
    /// The certificates of its own cannot be read.
    #[error("its ca_file cannot be read")]
    Setup(#[source] std::io::Error),
    /// No usable HTTP answer.
    #[error("it does not answer")]
    Net(#[from] NetError),
    /// The request cannot be written.
    #[error("the request cannot be written")]
    Request(#[source] serde_json::Error),
    /// It says no.
    #[error("it answers {status}: {text}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// Its own words, without the token.
        text: String,
    },
    /// A success that is not the documented one.
    #[error("its answer cannot be used: {0}")]
    Answer(&'static str),
    /// The key is not one that Tollgate signs with.
    #[error("its key cannot be used: {0}")]
    Key(&'static str),
    /// Too many signatures wait for it, or it is too slow.
    #[error("it has not signed in time")]
    Busy,
    /// It failed a moment ago, and is asked again in a second.
    #[error("it failed a moment ago")]
    Paused,
    /// Its signature does not verify with the public key.
    #[error("its signature does not verify with the key's public half")]
    Signature,
}
