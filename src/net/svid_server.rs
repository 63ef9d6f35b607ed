//! A server that proves who it is by an X.509-SVID, and not by a host name (SPIFFE Federation, section 5.2.2).

use std::borrow::Cow;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;

use super::{ClientAuthorities, NetError, TlsTime, WorkloadApi};
use crate::causes;
use crate::clock::Clock;

/// Believes one SPIFFE ID, vouched for by authorities of its trust domain.
#[derive(Debug)]
struct SvidServer {
    id: String,
    roots: Roots,
    algorithms: WebPkiSupportedAlgorithms,
}

/// Who vouches.
#[derive(Debug)]
enum Roots {
    Fixed(RootCertStore),
    /// Those that the agent knows at each handshake.
    Streamed(WorkloadApi),
}

impl SvidServer {
    fn new(id: &str, roots: Roots) -> Self {
        let algorithms = aws_lc_rs::default_provider().signature_verification_algorithms;
        Self { id: id.to_owned(), roots, algorithms }
    }

    /// The authorities of now.
    fn roots(&self) -> Cow<'_, RootCertStore> {
        match &self.roots {
            Roots::Fixed(roots) => Cow::Borrowed(roots),
            Roots::Streamed(workload) => {
                let domain = self.id.strip_prefix("spiffe://").and_then(|rest| rest.split('/').next());
                Cow::Owned(workload.authorities(domain.unwrap_or_default()))
            }
        }
    }
}

/// TLS to the server whose SPIFFE ID is `id`, verified by `authorities` at the time of `clock`.
pub(super) fn tls(
    id: &str,
    authorities: &ClientAuthorities,
    clock: &Clock,
) -> Result<ClientConfig, NetError> {
    by(SvidServer::new(id, Roots::Fixed(authorities.roots().clone())), clock)
}

/// The same, verified by the authorities that `workload` knows at each handshake.
pub(super) fn streamed(id: &str, workload: &WorkloadApi, clock: &Clock) -> Result<ClientConfig, NetError> {
    by(SvidServer::new(id, Roots::Streamed(workload.clone())), clock)
}

fn by(verifier: SvidServer, clock: &Clock) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_details(provider, Arc::new(TlsTime(clock.clone())))
        .with_safe_default_protocol_versions()
        .map_err(|error| NetError::Setup(causes::in_full(&error)))?;
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut tls = builder.with_no_client_auth();
    // A session that is resumed shows no certificate: authorities that are gone would go on vouching for it.
    tls.resumption = Resumption::disabled();
    Ok(tls)
}

impl ServerCertVerifier for SvidServer {
    /// The chain, its times and the one URI; the host's name means nothing here.
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parsed = ParsedCertificate::try_from(leaf)?;
        let algorithms = self.algorithms.all;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots(), intermediates, now, algorithms)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| CertificateError::BadEncoding)?;
        let mut uris = leaf.valid_uri_names();
        match (uris.next(), uris.next()) {
            (Some(uri), None) if uri == self.id => Ok(ServerCertVerified::assertion()),
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
