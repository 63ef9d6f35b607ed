//! A bundle taken apart: a SPIFFE bundle document (SPIFFE Trust Domain and Bundle, section 4), or authorities in PEM.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::{Map, Value};

use super::Authorities;
use crate::config::{JWKS_LIMITS, MAX_JWKS_KEYS};
use crate::identity::keys::KeySet;
use crate::identity::published::Published;
use crate::json::{self, JsonError};

/// Why a document is no bundle. An entry of no use is skipped and is no error.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum BundleError {
    /// Not strict JSON.
    #[error("the bundle cannot be read")]
    Json(#[from] JsonError),
    /// No array `keys` of objects.
    #[error("the bundle has no array `keys` of objects")]
    NoKeys,
    /// Too many entries.
    #[error("the bundle has more than {MAX_JWKS_KEYS} entries")]
    TooMany,
    /// `spiffe_sequence` or `spiffe_refresh_hint` is no whole number.
    #[error("the bundle's `{0}` is no whole number")]
    Number(&'static str),
    /// Broken PEM.
    #[error("the bundle is neither JSON nor certificates in PEM")]
    Pem,
    /// Older than the one that is known: an answer of before, or another server that is behind.
    #[error("the bundle's sequence {found} is lower than {known}, which is known already")]
    Older {
        /// Of the document.
        found: u64,
        /// Of the bundle in use.
        known: u64,
    },
}

/// Reads a bundle in either form.
pub(super) fn parse(document: &[u8]) -> Result<Published, BundleError> {
    if document.trim_ascii_start().first() == Some(&b'{') { of_document(document) } else { of_pem(document) }
}

fn of_document(document: &[u8]) -> Result<Published, BundleError> {
    let document = json::object(document, JWKS_LIMITS)?;
    let entries = document.get("keys").and_then(Value::as_array).ok_or(BundleError::NoKeys)?;
    if entries.len() > MAX_JWKS_KEYS {
        return Err(BundleError::TooMany);
    }
    let (mut tokens, mut certificates, mut skipped) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        let jwk = entry.as_object().ok_or(BundleError::NoKeys)?;
        match jwk.get("use").and_then(Value::as_str) {
            Some("jwt-svid") => tokens.push(token_key(jwk)),
            Some("x509-svid") => certificates.push(certificate(jwk)),
            // Other uses are of others (section 4.2.2), and what says none is for none.
            Some(_) | None => skipped += 1,
        }
    }
    let broken = tokens.iter().filter(|key| key.is_none()).count()
        + certificates.iter().filter(|certificate| certificate.is_none()).count();
    let keys = KeySet::of(tokens.iter().flatten());
    let (authorities, unusable) = Authorities::new(certificates.into_iter().flatten());
    skipped += broken + unusable + keys.skipped();
    let number = |name| match document.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or(BundleError::Number(name)),
    };
    let refresh = number("spiffe_refresh_hint")?.map(Duration::from_secs);
    Ok(Published { keys, authorities, refresh, sequence: number("spiffe_sequence")?, skipped })
}

/// The key of a JWT-SVID, which has an id (section 4.2.1), as one that signs.
fn token_key(jwk: &Map<String, Value>) -> Option<Map<String, Value>> {
    jwk.get("kid").and_then(Value::as_str).filter(|kid| !kid.is_empty())?;
    let mut key = jwk.clone();
    key.insert("use".to_owned(), "sig".into());
    Some(key)
}

/// The one authority of an entry: `x5c` has exactly one certificate (section 4.2.2).
fn certificate(jwk: &Map<String, Value>) -> Option<CertificateDer<'static>> {
    let chain = jwk.get("x5c")?.as_array()?;
    let [only] = chain.as_slice() else { return None };
    STANDARD.decode(only.as_str()?).ok().map(CertificateDer::from)
}

/// Certificates only: no JWT-SVID can be verified by such a bundle.
fn of_pem(document: &[u8]) -> Result<Published, BundleError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(document).collect();
    let certificates = certificates.map_err(|_| BundleError::Pem)?;
    if certificates.is_empty() {
        return Err(BundleError::Pem);
    }
    if certificates.len() > MAX_JWKS_KEYS {
        return Err(BundleError::TooMany);
    }
    let (authorities, skipped) = Authorities::new(certificates.into_iter());
    Ok(Published { keys: KeySet::default(), authorities, refresh: None, sequence: None, skipped })
}

#[cfg(test)]
mod tests;
