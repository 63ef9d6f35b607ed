//! Connections for protocols other than HTTP: the same address rules, TLS unless the address is a loopback one of a test.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls_platform_verifier::Verifier;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use super::address::{AddressRules, ResolveError};
use super::{NetError, Rules};
use crate::causes;

/// What a connection can do.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to one address, again and again.
pub struct Dialer {
    addresses: AddressRules,
    url: Url,
    timeout: Duration,
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// Our own rules, or no connection in time.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Name resolution, TCP or TLS failed.
    #[error("cannot reach {host}")]
    Unreachable {
        /// Host that was dialled.
        host: String,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Dialer {
    /// For the host and port of `url`, whose scheme says whether TLS is spoken: `https` or `http`. With
    /// [`Rules::extra_roots`] these alone are trusted, otherwise the platform's. `identity` is a PEM chain and its key.
    ///
    /// # Errors
    /// [`NetError::Setup`] for certificates that cannot be used; [`NetError::AddressRefused`].
    pub fn new(url: Url, rules: Rules, identity: Option<(&[u8], &SecretString)>) -> Result<Self, NetError> {
        let Rules { allow_networks, insecure_loopback, extra_roots, timeout, max_bytes: _ } = rules;
        let addresses = AddressRules { allow_networks, insecure_loopback };
        addresses.check_url(&url)?;
        let tls = if url.scheme() == "https" {
            let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
            let name = ServerName::try_from(host.to_owned()).map_err(|error| setup(&error))?;
            let config = config(extra_roots.as_deref(), identity)?;
            Some((TlsConnector::from(Arc::new(config)), name))
        } else {
            None
        };
        Ok(Self { addresses, url, timeout, tls })
    }

    /// A new connection.
    ///
    /// # Errors
    /// [`DialError`].
    pub async fn connect(&self) -> Result<Box<dyn Duplex>, DialError> {
        match timeout(self.timeout, self.dial()).await {
            Ok(connected) => connected,
            Err(_) => Err(NetError::Timeout(self.timeout).into()),
        }
    }

    async fn dial(&self) -> Result<Box<dyn Duplex>, DialError> {
        let broken = |source| DialError::Unreachable {
            host: self.url.host_str().unwrap_or_default().to_owned(),
            source,
        };
        let stream = TcpStream::connect(self.resolve().await?.as_slice()).await.map_err(broken)?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some((connector, name)) => {
                Ok(Box::new(connector.connect(name.clone(), stream).await.map_err(broken)?))
            }
        }
    }

    async fn resolve(&self) -> Result<Vec<SocketAddr>, DialError> {
        let port = self.url.port_or_known_default().unwrap_or_default();
        let host = match self.url.host() {
            // Literal addresses were checked when the dialer was made.
            Some(Host::Ipv4(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Ipv6(ip)) => return Ok(vec![(ip, port).into()]),
            Some(Host::Domain(host)) => host,
            None => "",
        };
        match self.addresses.resolve(host).await {
            Ok(found) => Ok(found.into_iter().map(|found| SocketAddr::new(found.ip(), port)).collect()),
            Err(ResolveError::Refused(why)) => Err(NetError::AddressRefused(why).into()),
            Err(ResolveError::Lookup(source)) => {
                Err(DialError::Unreachable { host: host.to_owned(), source })
            }
        }
    }
}

/// What a client of TLS trusts and shows.
fn config(roots: Option<&[u8]>, identity: Option<(&[u8], &SecretString)>) -> Result<ClientConfig, NetError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| setup(&error))?;
    let builder = if let Some(pem) = roots {
        let mut store = RootCertStore::empty();
        for root in chain(pem)? {
            store.add(root).map_err(|error| setup(&error))?;
        }
        builder.with_root_certificates(store)
    } else {
        let verifier = Verifier::new(provider).map_err(|error| setup(&error))?;
        // "Dangerous" is to bring a verifier; this one is that of the HTTP client.
        builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier))
    };
    let Some((certificate, key)) = identity else { return Ok(builder.with_no_client_auth()) };
    let key = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).map_err(|error| setup(&error))?;
    builder.with_client_auth_cert(chain(certificate)?, key).map_err(|error| setup(&error))
}

fn chain(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, NetError> {
    CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().map_err(|error| setup(&error))
}

fn setup(error: &(dyn std::error::Error + 'static)) -> NetError {
    NetError::Setup(format!("TLS: {}", causes::in_full(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(url: &str, insecure_loopback: bool) -> Result<Dialer, NetError> {
        let rules = Rules {
            allow_networks: Vec::new(),
            insecure_loopback,
            extra_roots: None,
            timeout: Duration::from_secs(5),
            max_bytes: 0,
        };
        Dialer::new(url.parse().unwrap(), rules, None)
    }

    #[test]
    fn i_01_connections_follow_the_address_rules_of_http() {
        for refused in ["https://10.0.0.1:6514", "https://169.254.169.254:1", "http://a.example:514"] {
            assert!(matches!(dialer(refused, true), Err(NetError::AddressRefused(_))), "{refused}");
        }
        assert!(matches!(dialer("http://127.0.0.1:514", false), Err(NetError::AddressRefused(_))));
        assert!(dialer("http://127.0.0.1:514", true).is_ok());
    }

    #[tokio::test]
    async fn i_01_a_name_is_judged_by_what_it_resolves_to() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let dialer = dialer(&format!("https://localhost:{port}"), true).unwrap();
        let refused = dialer.connect().await.err().unwrap();
        assert!(matches!(refused, DialError::Net(NetError::AddressRefused(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn a_receiver_that_is_not_there_is_named() {
        let free = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap();
        let refused = dialer(&format!("http://{free}"), true).unwrap().connect().await.err().unwrap();
        assert_eq!(refused.to_string(), "cannot reach 127.0.0.1");
    }
}
