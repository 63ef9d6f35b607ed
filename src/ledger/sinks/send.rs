//! Handing a batch to a receiver: what may come of it, whatever the protocol.

use std::io;
use std::time::Duration;

use http::StatusCode;

use super::elastic::Elastic;
use super::file::Lines;
use super::message::Message;
use super::splunk::Splunk;
use super::syslog::Syslog;
use crate::net::{DialError, NetError, Response};

/// Longest wait that a receiver can ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_mins(5);

/// A sink's protocol.
pub(super) enum Transport {
    File(Lines),
    Syslog(Box<Syslog>),
    Splunk(Splunk),
    Elastic(Elastic),
}

/// What the receiver says of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has it.
    Taken,
    /// Not now.
    Again(String),
    /// Never.
    Refused(String),
}

/// Why a batch was not taken, nor any single record of it judged.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// No answer.
    #[error(transparent)]
    Net(#[from] NetError),
    /// The file.
    #[error("the file cannot be written")]
    File(#[source] io::Error),
    /// The connection ended early, so that nobody knows what has arrived.
    #[error("the connection broke before the receiver had read everything")]
    Broken(#[source] io::Error),
    /// The receiver is busy or ill.
    #[error("the receiver does not take records now (status {status})")]
    Busy {
        status: u16,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// The receiver refuses us, not our records: token, path or index.
    #[error("the receiver refuses Tollgate: {0}")]
    Unwelcome(String),
    /// One record is refused for good; nothing is known of the others.
    #[error("record {index} of the batch is refused: {why}")]
    Invalid { index: usize, why: String },
    /// The batch is refused, and nobody says which record of it is to blame.
    #[error("the receiver refuses the batch: {0}")]
    Together(String),
    /// An answer that is not of the protocol.
    #[error("the receiver's answer is not understood: {0}")]
    Answer(&'static str),
}

impl SendError {
    /// How long the receiver asks to wait, within reason.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => retry_after.map(|wait| wait.min(MAX_RETRY_AFTER)),
            _ => None,
        }
    }
}

impl Transport {
    /// Sends `batch` and waits until the receiver has it: a verdict for each record.
    pub(super) async fn send(&self, batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
        match self {
            Self::File(file) => file.send(batch).await,
            Self::Syslog(syslog) => syslog.send(batch).await,
            Self::Splunk(splunk) => splunk.send(batch).await,
            Self::Elastic(elastic) => elastic.send(batch).await,
        }
    }
}

/// What a status other than success means for the whole request, if the protocol's own body says nothing. The body is
/// never quoted: whoever answers might repeat the token that he was sent.
pub(super) fn failed(response: &Response) -> SendError {
    let status = response.status;
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => SendError::Together("it is too large (status 413)".to_owned()),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT => busy(response),
        _ if status.is_server_error() => busy(response),
        _ => SendError::Unwelcome(format!("status {}", status.as_u16())),
    }
}

fn busy(response: &Response) -> SendError {
    let seconds = response.headers.get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok());
    let retry_after = seconds.and_then(|seconds| seconds.parse().ok()).map(Duration::from_secs);
    SendError::Busy { status: response.status.as_u16(), retry_after }
}

/// Every record of a batch was taken.
pub(super) fn all_taken(batch: &[Message]) -> Vec<Verdict> {
    vec![Verdict::Taken; batch.len()]
}
