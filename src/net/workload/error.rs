//! Why the Workload API does not say who is who.

use std::time::Duration;

use spiffe::WorkloadApiError;

use crate::causes;

/// Why a stream gives nothing, or nothing more. What it gave before goes on.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The agent knows this process and gives it nothing.
    #[error("it issues no identity to this process: register Tollgate's selectors with it, such as its user")]
    NotIssued,
    /// `PermissionDenied` for another reason.
    #[error("it denies this process (PermissionDenied): {0}")]
    Denied(String),
    /// `InvalidArgument`: what stands between strips the header, or it is no Workload API.
    #[error(
        "it refuses the request (InvalidArgument): the endpoint is no Workload API, or a proxy strips its header"
    )]
    Refused(#[source] WorkloadApiError),
    /// It cannot be reached, broke off, or said something that cannot be read.
    #[error("{0}")]
    Broken(String),
    /// It accepted the connection and says nothing.
    #[error("it does not answer within {} s", .0.as_secs())]
    Hangs(Duration),
    /// It ended the stream.
    #[error("it ended the stream")]
    Ended,
}

impl From<WorkloadApiError> for StreamError {
    fn from(error: WorkloadApiError) -> Self {
        match error {
            WorkloadApiError::NoIdentityIssued => Self::NotIssued,
            WorkloadApiError::PermissionDenied(message) => Self::Denied(message),
            error if error.is_invalid_argument() => Self::Refused(error),
            error => Self::Broken(causes::in_full(&error)),
        }
    }
}

/// The Workload API has not said what was waited for, or is gone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the Workload API at {endpoint}: {why}")]
pub struct WorkloadError {
    /// Where it is asked.
    pub endpoint: String,
    /// Why.
    pub why: String,
}
