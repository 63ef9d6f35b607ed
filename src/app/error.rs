//! Why a server does not start.

use crate::config::Problems;
use crate::domain::InvalidIssuerUrl;
use crate::facts;
use crate::http::{BindError, TlsError};
use crate::identity::IdentityError;
use crate::ledger::{LedgerError, SinkSetupError, Unavailable};
use crate::net::WorkloadError;
use crate::provider;
use crate::signing::SigningError;
use crate::telemetry::TelemetryError;

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration or a policy has errors.
    #[error("the configuration has errors")]
    Config(Problems),
    /// The store cannot be opened.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The store cannot record what a start has to record.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// Keys cannot be made or opened.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The public URL cannot name the federation issuer.
    #[error("server.url cannot name the federation issuer")]
    Url(#[source] InvalidIssuerUrl),
    /// An issuer cannot be set up.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A fact source cannot be set up.
    #[error(transparent)]
    Facts(#[from] facts::SetupError),
    /// A target cannot be set up.
    #[error(transparent)]
    Provider(#[from] provider::SetupError),
    /// A sink of events can never work.
    #[error(transparent)]
    Sink(#[from] SinkSetupError),
    /// The certificate cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The Workload API gives no SVID.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// The address cannot be bound.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Traces cannot be made.
    #[error(transparent)]
    Traces(TelemetryError),
    /// The roots of the collector of traces cannot be read.
    #[error("telemetry.otlp: cannot read ca_file {}", path.display())]
    CaFile {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The administration socket cannot be bound.
    #[error("cannot listen on the administration socket {}", path.display())]
    Admin {
        /// Its path.
        path: std::path::PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
