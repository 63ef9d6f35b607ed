//! TLS of the listeners: the server's certificate from PEM files or from the Workload API, and whose certificates clients may
//! show; replaceable while running.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::{Error as PemError, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::clock::Clock;
use crate::config::{TlsFiles, TlsSettings};
use crate::net::{TlsTime, WorkloadApi};

/// Protocols offered by ALPN (RFC 7301), best first.
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file cannot be read.
    #[error("cannot read {}", .path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: PemError,
    },
    /// The certificate file holds none.
    #[error("{} holds no certificate", .0.display())]
    NoCertificate(PathBuf),
    /// There is no Workload API to have an SVID from.
    #[error("there is no [workload_api] to have an SVID from")]
    NoWorkloadApi,
    /// The certificate and key do not fit together, or are of a kind that is not supported.
    #[error("the certificate and its key cannot be used")]
    Unusable(#[source] rustls::Error),
}

/// The certificate in use. Connections keep the one that they began with.
pub struct Tls(ArcSwap<ServerConfig>);

impl Tls {
    /// Reads certificate and key, or shows the SVID that `workload` has at each handshake. Clients are asked for a certificate if there are `clients` to verify them, which has to
    /// accept that they show none.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(
        settings: &TlsSettings,
        clients: Option<Arc<dyn ClientCertVerifier>>,
        clock: &Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, TlsError> {
        Ok(Self(ArcSwap::from_pointee(server_config(settings, clients, clock, workload)?)))
    }

    /// Serves the certificate of `newer` on connections from now on.
    pub fn replace(&self, newer: &Self) {
        self.0.store(newer.0.load_full());
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.load_full())
    }
}

fn server_config(
    settings: &TlsSettings,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    clock: &Clock,
    workload: Option<&WorkloadApi>,
) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_details(provider, Arc::new(TlsTime(clock.clone())))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsError::Unusable)?;
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = match settings {
        TlsSettings::Files(TlsFiles { certificate, key }) => {
            let chain = read_chain(certificate)?;
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, error))?;
            builder.with_single_cert(chain, key).map_err(TlsError::Unusable)?
        }
        TlsSettings::WorkloadApi => {
            builder.with_cert_resolver(workload.ok_or(TlsError::NoWorkloadApi)?.server_certificate())
        }
    };
    config.alpn_protocols = ALPN.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(config)
}

fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(path, error))?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}

fn pem(path: &Path, source: PemError) -> TlsError {
    TlsError::Pem { path: path.to_owned(), source }
}
