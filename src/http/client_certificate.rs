//! The certificate of a client as a proxy passes it on. Believed by nobody yet: its chain is verified like any other, and a key
//! that no authority vouches for proves nothing.
//!
//! Of Envoy's header, `Cert` and `Chain` are read. What the proxy concluded from them (`URI`, `Subject`, `Hash`) is nobody's
//! certificate, and alone is refused.

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use rustls::ProtocolVersion;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use sfv::{BareItem, Item, List, ListEntry, Parser};

use super::forwarded::split_outside_quotes;
use crate::config::CertificateHeader;
use crate::domain::{Code, Refusal};
use crate::net::PeerCertificate;

/// As Envoy names and fills it (`config.core` manual, "x-forwarded-client-cert").
const XFCC: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
/// The client's certificate (RFC 9440, section 2.2).
const CLIENT_CERT: HeaderName = HeaderName::from_static("client-cert");
/// Those that follow it (RFC 9440, section 2.3).
const CLIENT_CERT_CHAIN: HeaderName = HeaderName::from_static("client-cert-chain");

/// Largest header, bytes: a chain of some certificates in PEM, escaped.
const MAX_HEADER: usize = 32 * 1024;
/// Most certificates, the client's own included.
const MAX_CERTIFICATES: usize = 8;

/// Why a header says no certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum HeaderError {
    /// Which one the proxy wrote is not known.
    #[error("the header {0} came more than once, or speaks of several clients: the proxy has to replace it")]
    Several(&'static str),
    /// Over a limit.
    #[error(
        "the header {0} is larger than {MAX_HEADER} bytes, or has more than {MAX_CERTIFICATES} certificates"
    )]
    TooLarge(&'static str),
    /// Not of its form.
    #[error("the header {0} cannot be read")]
    Unreadable(&'static str),
    /// It speaks of a certificate, and does not have it.
    #[error("the header x-forwarded-client-cert has neither Cert nor Chain")]
    NoCertificate,
    /// `Cert` is not the first of `Chain`.
    #[error("the header x-forwarded-client-cert has a Chain that does not begin with its Cert")]
    Disagree,
    /// A chain of nothing.
    #[error("the header client-cert-chain came without client-cert")]
    NoLeaf,
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        Self::new(Code::ForwardedCertificateInvalid, error.to_string())
    }
}

/// The chain of the client behind a proxy, which speaks `protocol` to us, leaf first; none if the proxy says of none.
///
/// # Errors
/// [`HeaderError`].
pub(super) fn read(
    header: CertificateHeader,
    headers: &HeaderMap,
    protocol: ProtocolVersion,
) -> Result<Option<PeerCertificate>, HeaderError> {
    let chain = match header {
        CertificateHeader::Xfcc => envoy(headers)?,
        CertificateHeader::Rfc9440 => rfc9440(headers)?,
    };
    Ok(PeerCertificate::forwarded(&chain, protocol))
}

type Chain = Vec<CertificateDer<'static>>;

fn envoy(headers: &HeaderMap) -> Result<Chain, HeaderError> {
    let name = "x-forwarded-client-cert";
    let Some(line) = only(headers, &XFCC, name)? else { return Ok(Chain::new()) };
    let text = line.to_str().map_err(|_| HeaderError::Unreadable(name))?;
    let mut elements = split_outside_quotes(text, ',');
    let (Some(element), None) = (elements.next(), elements.next()) else {
        return Err(HeaderError::Several(name));
    };
    let (mut certificate, mut chain) = (None, None);
    for field in split_outside_quotes(element, ';') {
        let (key, value) = field.trim().split_once('=').ok_or(HeaderError::Unreadable(name))?;
        let place = match key {
            key if key.eq_ignore_ascii_case("cert") => &mut certificate,
            key if key.eq_ignore_ascii_case("chain") => &mut chain,
            _ => continue,
        };
        if place.replace(pem(value)?).is_some() {
            return Err(HeaderError::Several(name));
        }
    }
    match (certificate.as_deref(), chain) {
        (None, None) => Err(HeaderError::NoCertificate),
        (None, Some(chain)) => Ok(chain),
        (Some([only]), None) => Ok(vec![only.clone()]),
        (Some([only]), Some(chain)) if chain.first() == Some(only) => Ok(chain),
        (Some([_]), Some(_)) => Err(HeaderError::Disagree),
        (Some(_), _) => Err(HeaderError::Several(name)),
    }
}

/// Certificates in PEM, with its own marks escaped as in a URL; in quotes, as Envoy writes them.
fn pem(value: &str) -> Result<Chain, HeaderError> {
    let unreadable = HeaderError::Unreadable("x-forwarded-client-cert");
    let plain = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"'));
    let plain = plain.filter(|plain| !plain.contains(['"', '\\'])).ok_or(unreadable)?;
    let bytes: Vec<u8> = percent_decode_str(plain).collect();
    let found = CertificateDer::pem_slice_iter(&bytes).take(MAX_CERTIFICATES + 1);
    let chain: Chain = found.collect::<Result<_, _>>().map_err(|_| unreadable)?;
    match chain.len() {
        0 => Err(unreadable),
        1..=MAX_CERTIFICATES => Ok(chain),
        _ => Err(HeaderError::TooLarge("x-forwarded-client-cert")),
    }
}

fn rfc9440(headers: &HeaderMap) -> Result<Chain, HeaderError> {
    let (name, of_chain) = ("client-cert", "client-cert-chain");
    let rest = only(headers, &CLIENT_CERT_CHAIN, of_chain)?;
    let Some(line) = only(headers, &CLIENT_CERT, name)? else {
        return if rest.is_some() { Err(HeaderError::NoLeaf) } else { Ok(Chain::new()) };
    };
    let leaf: Item = Parser::new(line).parse().map_err(|_| HeaderError::Unreadable(name))?;
    let mut chain = vec![bytes(leaf).ok_or(HeaderError::Unreadable(name))?];
    let rest: List = match rest {
        Some(line) => Parser::new(line).parse().map_err(|_| HeaderError::Unreadable(of_chain))?,
        None => List::new(),
    };
    if rest.len() >= MAX_CERTIFICATES {
        return Err(HeaderError::TooLarge(of_chain));
    }
    for entry in rest {
        let certificate = match entry {
            ListEntry::Item(item) => bytes(item),
            ListEntry::InnerList(_) => None,
        };
        chain.push(certificate.ok_or(HeaderError::Unreadable(of_chain))?);
    }
    Ok(chain)
}

/// A byte sequence without parameters, as both fields have it.
fn bytes(item: Item) -> Option<CertificateDer<'static>> {
    match item.bare_item {
        BareItem::ByteSequence(der) if item.params.is_empty() && !der.is_empty() => Some(der.into()),
        _ => None,
    }
}

/// The header's one line, if there is one.
fn only<'a>(
    headers: &'a HeaderMap,
    header: &HeaderName,
    name: &'static str,
) -> Result<Option<&'a HeaderValue>, HeaderError> {
    let mut lines = headers.get_all(header).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(HeaderError::Several(name));
    }
    if line.len() > MAX_HEADER { Err(HeaderError::TooLarge(name)) } else { Ok(Some(line)) }
}

#[cfg(test)]
mod tests;
