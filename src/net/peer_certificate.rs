//! Certificates that the other end of a TLS connection shows: who it is, as far as an authority vouches for it.
//!
//! A listener asks for one and demands none. What a handshake let through is verified again by whoever is asked to
//! believe it, against its own authorities: those of one listener are several, and a connection, or the session that it
//! resumes, may be older than the authorities of now.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{ProtocolVersion, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::EndEntityCert;

use super::NetError;
use crate::causes;

/// Longest name that is compared, bytes: that of a SPIFFE ID (SPIFFE-ID, section 2.3).
const MAX_NAME: usize = 2048;

/// The certificate chain of a client: of the other end of a connection, or of whom a proxy there speaks for.
#[derive(Debug, Clone)]
pub struct PeerCertificate {
    leaf: CertificateDer<'static>,
    intermediates: Arc<[CertificateDer<'static>]>,
    protocol: ProtocolVersion,
    forwarded: bool,
}

impl PeerCertificate {
    /// The chain of a finished handshake, leaf first, and the version of TLS that was negotiated; none if it is empty.
    pub fn new(chain: &[CertificateDer<'_>], protocol: ProtocolVersion) -> Option<Self> {
        let (leaf, intermediates) = chain.split_first()?;
        let own = |certificate: &CertificateDer<'_>| certificate.clone().into_owned();
        let intermediates = intermediates.iter().map(own).collect();
        Some(Self { leaf: own(leaf), intermediates, protocol, forwarded: false })
    }

    /// The chain that a proxy passes on, which speaks `protocol` to us: that its client has the key is the proxy's word.
    pub fn forwarded(chain: &[CertificateDer<'_>], protocol: ProtocolVersion) -> Option<Self> {
        Some(Self { forwarded: true, ..Self::new(chain, protocol)? })
    }

    /// True if a proxy made the handshake with the client, and not we.
    pub const fn is_forwarded(&self) -> bool {
        self.forwarded
    }

    /// The certificate of the other end itself, DER.
    pub const fn leaf(&self) -> &CertificateDer<'static> {
        &self.leaf
    }

    /// Those that may lead from it to an authority, DER.
    pub fn intermediates(&self) -> &[CertificateDer<'static>] {
        &self.intermediates
    }

    /// The version of TLS.
    pub const fn protocol(&self) -> ProtocolVersion {
        self.protocol
    }
}

/// A name of a client, as its certificate has it (RFC 5280, section 4.2.1.6): compared byte by byte.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClientName {
    /// `dNSName`.
    Dns(String),
    /// `uniformResourceIdentifier`.
    Uri(String),
}

/// Text that is no [`ClientName`].
#[derive(Debug, thiserror::Error)]
#[error("expected \"dns:\" and a host name in small letters without wildcards, or \"uri:\" and a URI")]
pub struct NotAName;

impl FromStr for ClientName {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        let (kind, name) = text.split_once(':').ok_or(NotAName)?;
        let is_host = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'.');
        let fits = !name.is_empty() && name.len() <= MAX_NAME;
        match kind {
            "dns" if fits && name.bytes().all(is_host) => Ok(Self::Dns(name.to_owned())),
            "uri" if fits && name.contains(':') && name.bytes().all(|c| c.is_ascii_graphic()) => {
                Ok(Self::Uri(name.to_owned()))
            }
            _ => Err(NotAName),
        }
    }
}

impl Display for ClientName {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "dns:{name}"),
            Self::Uri(name) => write!(f, "uri:{name}"),
        }
    }
}

/// Authorities that vouch for clients.
#[derive(Debug, Clone)]
pub struct ClientAuthorities {
    roots: RootCertStore,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl ClientAuthorities {
    /// The authorities in `pem`.
    ///
    /// # Errors
    /// [`NetError::Setup`] if there are none, or one cannot be used.
    pub fn from_pem(pem: &[u8]) -> Result<Self, NetError> {
        let failed = |error: &(dyn std::error::Error + 'static)| NetError::Setup(causes::in_full(error));
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| failed(&error))?;
            roots.add(certificate).map_err(|error| failed(&error))?;
        }
        let verifier = verifier_of(roots.clone()).map_err(|error| failed(&error))?;
        Ok(Self { roots, verifier })
    }

    /// The authorities in `certificates`, DER, and how many of them cannot be used; none without any that can.
    pub fn from_der<'a>(certificates: impl Iterator<Item = CertificateDer<'a>>) -> (Option<Self>, usize) {
        let mut roots = RootCertStore::empty();
        let unusable = certificates.filter(|certificate| roots.add(certificate.clone()).is_err()).count();
        // It fails for want of authorities alone.
        let verifier = verifier_of(roots.clone()).ok();
        (verifier.map(|verifier| Self { roots, verifier }), unusable)
    }

    /// The authorities, as what verifies servers takes them.
    pub(super) const fn roots(&self) -> &RootCertStore {
        &self.roots
    }

    /// Checks that the chain of `peer` leads to one of these authorities, is meant for clients, and is valid at `now`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn verify(&self, peer: &PeerCertificate, now: Timestamp) -> Result<(), rustls::Error> {
        self.verifier.verify_client_cert(peer.leaf(), peer.intermediates(), unix_time(now)).map(drop)
    }

    /// What a handshake verifies with that asks for a certificate of any of `all` and demands none; none without
    /// authorities.
    pub fn of_handshake<'a>(all: impl Iterator<Item = &'a Self>) -> Option<Arc<dyn ClientCertVerifier>> {
        let roots: RootCertStore = all.flat_map(|one| one.roots.roots.iter().cloned()).collect();
        let roots = Arc::new(roots);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = WebPkiClientVerifier::builder_with_provider(roots, provider);
        // It fails for want of authorities alone.
        builder.allow_unauthenticated().build().ok().map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
    }

    /// The names of `peer`, once its chain leads to one of these authorities, is meant for clients, and is valid at `now`.
    ///
    /// # Errors
    /// Why it is not believed.
    pub fn names(&self, peer: &PeerCertificate, now: Timestamp) -> Result<Vec<ClientName>, rustls::Error> {
        self.verify(peer, now)?;
        let leaf = EndEntityCert::try_from(peer.leaf())
            .map_err(|_| rustls::Error::InvalidCertificate(rustls::CertificateError::BadEncoding))?;
        let dns = leaf.valid_dns_names().map(|name| ClientName::Dns(name.to_owned()));
        let uris = leaf.valid_uri_names().map(|name| ClientName::Uri(name.to_owned()));
        Ok(dns.chain(uris).collect())
    }
}

fn verifier_of(
    roots: RootCertStore,
) -> Result<Arc<dyn ClientCertVerifier>, rustls::server::VerifierBuilderError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map(|verifier| verifier as Arc<dyn ClientCertVerifier>)
}

/// The time as TLS counts it.
pub fn unix_time(now: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_exact_and_of_a_known_kind() {
        for good in ["dns:siem.example", "uri:spiffe://acme.example/siem", "uri:urn:uuid:1"] {
            assert_eq!(good.parse::<ClientName>().unwrap().to_string(), good);
        }
        for bad in [
            "",
            "dns:",
            "siem.example",
            "dns:*.example",
            "dns:Siem.example",
            "uri:",
            "uri:x",
            "uri:a b:c",
            "ip:::1",
        ] {
            assert!(bad.parse::<ClientName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn without_authorities_nobody_is_asked() {
        assert!(ClientAuthorities::from_pem(b"").is_err());
        assert!(ClientAuthorities::of_handshake(std::iter::empty()).is_none());
    }
}
