//! Whom TLS trusts: the authorities of the platform, and those that the configuration adds for one endpoint.
//!
//! The environment has no say. The usual libraries take `SSL_CERT_FILE` and `SSL_CERT_DIR` from it, with which whoever
//! starts the process, or a wrapper around it, could vouch for any issuer and any target.

use std::fs;
use std::path::Path;

use reqwest::Certificate;
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::NetError;
use crate::causes;

/// Where Linux distributions, and the BSDs, keep the authorities that they trust; the first that is there counts.
const BUNDLES: [&str; 6] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
    "/usr/local/share/certs/ca-root-nss.crt",
];

/// The platform's authorities and those in `extra`, PEM.
///
/// # Errors
/// [`NetError::Setup`] if `extra` holds none, or if there are none at all.
pub(super) fn trusted(extra: Option<&[u8]>) -> Result<Vec<CertificateDer<'static>>, NetError> {
    let mut roots = platform()?;
    if let Some(pem) = extra {
        let failed = |why: &str| NetError::Setup(format!("the extra root certificates: {why}"));
        let more: Vec<_> = CertificateDer::pem_slice_iter(pem)
            .collect::<Result<_, _>>()
            .map_err(|error| failed(&causes::in_full(&error)))?;
        if more.is_empty() {
            return Err(failed("no certificate in the PEM text"));
        }
        roots.extend(more);
    }
    if roots.is_empty() {
        let why = format!("there are no root certificates: none of {} is there", BUNDLES.join(", "));
        return Err(NetError::Setup(why));
    }
    Ok(roots)
}

/// The same as the client library takes them.
///
/// # Errors
/// As [`trusted`]; [`NetError::Setup`] for one in `extra` that cannot be used.
pub(super) fn certificates(extra: Option<&[u8]>) -> Result<Vec<Certificate>, NetError> {
    let certificate = |der: CertificateDer<'_>| {
        Certificate::from_der(&der).map_err(|error| NetError::Setup(causes::in_full(&error)))
    };
    trusted(extra)?.into_iter().map(certificate).collect()
}

/// The same as TLS takes them.
///
/// # Errors
/// As [`certificates`].
pub(super) fn store(extra: Option<&[u8]>) -> Result<RootCertStore, NetError> {
    let mut store = RootCertStore::empty();
    for certificate in trusted(extra)? {
        store.add(certificate).map_err(|error| NetError::Setup(causes::in_full(&error)))?;
    }
    Ok(store)
}

/// What the platform trusts. A certificate that the TLS library cannot use as an authority is left out, as it would verify
/// nothing.
fn platform() -> Result<Vec<CertificateDer<'static>>, NetError> {
    let Some(bundle) = BUNDLES.iter().map(Path::new).find(|path| path.exists()) else {
        return Ok(Vec::new());
    };
    let unreadable =
        |error: &dyn std::fmt::Display| NetError::Setup(format!("{}: {error}", bundle.display()));
    let pem = fs::read(bundle).map_err(|error| unreadable(&error))?;
    let mut usable = RootCertStore::empty();
    let mut roots = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| unreadable(&error))?;
        if usable.add(certificate.clone()).is_ok() {
            roots.push(certificate);
        }
    }
    Ok(roots)
}

/// The PEM text of a `ca_file` from the configuration.
///
/// # Errors
/// [`NetError::Setup`] if it cannot be read.
pub fn read_ca_file(path: Option<&Path>) -> Result<Option<Vec<u8>>, NetError> {
    let read = |path: &Path| {
        fs::read(path)
            .map_err(|error| NetError::Setup(format!("cannot read ca_file {}: {error}", path.display())))
    };
    path.map(read).transpose()
}
