//! Tollgate's own X.509-SVID, as TLS shows it.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::crypto::aws_lc_rs;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use secrecy::SecretString;
use spiffe::X509Svid;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::WorkloadApi;

/// An X.509-SVID with its key.
pub struct Svid {
    /// Whom it names.
    pub id: String,
    /// When it expires.
    pub not_after: Timestamp,
    certified: Arc<CertifiedKey>,
    der: X509Svid,
}

impl Svid {
    /// Takes an SVID as the Workload API sent it.
    ///
    /// # Errors
    /// The key is of a kind that TLS cannot use, or not the leaf's.
    pub(super) fn new(svid: &X509Svid) -> Result<Self, rustls::Error> {
        let der = |certificate: &spiffe::Certificate| CertificateDer::from(certificate.as_bytes().to_vec());
        let chain: Vec<_> = svid.cert_chain().iter().map(der).collect();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(svid.private_key().as_bytes()));
        let key = aws_lc_rs::sign::any_supported_type(&key)?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match()?;
        let unreadable = || rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding);
        let (_, leaf) = X509Certificate::from_der(svid.leaf().as_bytes()).map_err(|_| unreadable())?;
        let not_after =
            Timestamp::from_second(leaf.validity().not_after.timestamp()).map_err(|_| unreadable())?;
        Ok(Self {
            id: svid.spiffe_id().to_string(),
            not_after,
            certified: Arc::new(certified),
            der: svid.clone(),
        })
    }
}

impl Svid {
    /// The chain, leaf first, as PEM (RFC 7468).
    pub fn chain_pem(&self) -> String {
        self.certified.cert.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// The private key as PEM.
    pub fn key_pem(&self) -> SecretString {
        pem("PRIVATE KEY", self.der.private_key().as_bytes()).into()
    }
}

/// One block of PEM, in lines of 64 characters.
fn pem(label: &str, der: &[u8]) -> String {
    let lines = der.chunks(48).map(|line| STANDARD.encode(line) + "\n");
    format!("-----BEGIN {label}-----\n{}-----END {label}-----\n", lines.collect::<String>())
}

impl fmt::Debug for Svid {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("not_after", &self.not_after)
            .finish_non_exhaustive()
    }
}

/// Shows the SVID of now in each handshake: connections that are open keep the one that they began with.
#[derive(Debug)]
pub(super) struct Shown(pub(super) WorkloadApi);

impl Shown {
    fn now(&self) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.svid()?.certified))
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.now()
    }
}

impl ResolvesClientCert for Shown {
    /// Whatever authorities the server names: those of SPIFFE often have no names to tell them by.
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.now()
    }

    fn has_certs(&self) -> bool {
        self.0.svid().is_some()
    }
}
