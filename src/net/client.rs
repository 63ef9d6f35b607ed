//! The client: one request, one bounded answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::ClientConfig;
use tokio::time::timeout;

use super::address::{AddressRules, CheckedResolver, ResolveError};
use super::{
    ClientAuthorities, NetError, Request, Response, Rules, WorkloadApi, roots, svid_server, web_server,
};
use crate::causes;
use crate::clock::Clock;

/// Longest that name resolution, TCP and TLS together may take, within the request's own limit.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections kept for reuse, per host and for how long.
const IDLE_CONNECTIONS: usize = 8;
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Largest header block accepted over HTTP/2, bytes; over HTTP/1.1 the library takes at most 100 headers.
const MAX_HEADER_BYTES: u32 = 32 * 1024;

/// How a server proves who it is.
#[derive(Debug, Clone, Copy)]
pub enum ServerProof<'a> {
    /// By its host name, which an authority of the platform vouches for, or one of [`Rules::extra_roots`].
    Web,
    /// By a SPIFFE ID, which the authorities of its trust domain vouch for.
    Svid {
        /// The SPIFFE ID.
        id: &'a str,
        /// The authorities.
        authorities: &'a ClientAuthorities,
    },
    /// The same, by those that the Workload API knows at each handshake.
    StreamedSvid {
        /// The SPIFFE ID.
        id: &'a str,
        /// Who knows them.
        workload: &'a WorkloadApi,
    },
}

impl ServerProof<'_> {
    /// TLS to such a server, that shows it nothing.
    fn tls(&self, rules: &Rules, clock: &Clock) -> Result<ClientConfig, NetError> {
        match self {
            Self::Web => web_server::tls(rules.extra_roots.as_deref(), clock),
            Self::Svid { id, authorities } => svid_server::tls(id, authorities, clock),
            Self::StreamedSvid { id, workload } => svid_server::streamed(id, workload, clock),
        }
    }

    /// What holds for a client of such a server. The authorities of now are asked in handshakes only: where they change,
    /// each request has one of its own.
    fn builder(&self) -> reqwest::ClientBuilder {
        match self {
            Self::Web | Self::Svid { .. } => builder(),
            Self::StreamedSvid { .. } => builder().pool_max_idle_per_host(0),
        }
    }
}

/// A client bound to one set of rules; clones share its connections.
#[derive(Debug, Clone)]
pub struct Client {
    http: reqwest::Client,
    addresses: Arc<AddressRules>,
    timeout: Duration,
    connect_timeout: Duration,
    max_bytes: usize,
}

impl Client {
    /// Builds a client. It trusts the platform's root certificates and [`Rules::extra_roots`], whatever the environment says.
    ///
    /// # Errors
    /// [`NetError::Setup`] without usable root certificates.
    pub fn new(rules: Rules) -> Result<Self, NetError> {
        let roots = roots::certificates(rules.extra_roots.as_deref())?;
        Self::build(rules, builder().tls_certs_only(roots))
    }

    /// Builds a client of the server whose SPIFFE ID is `id`, by whatever host name it is reached: it trusts `authorities` of
    /// its trust domain, and nobody beside.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub fn of_svid(
        rules: Rules,
        id: &str,
        authorities: &ClientAuthorities,
        clock: &Clock,
    ) -> Result<Self, NetError> {
        let tls = svid_server::tls(id, authorities, clock)?;
        Self::build(rules, builder().tls_backend_preconfigured(tls))
    }

    /// Builds a client that shows the SVID which `own` has at each handshake to a server that proves who it is as `server` says.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub fn with_svid(
        rules: Rules,
        own: &WorkloadApi,
        server: &ServerProof<'_>,
        clock: &Clock,
    ) -> Result<Self, NetError> {
        let mut tls = server.tls(&rules, clock)?;
        tls.client_auth_cert_resolver = own.client_certificate();
        Self::build(rules, server.builder().tls_backend_preconfigured(tls))
    }

    /// Builds a client that shows nothing to a server that proves who it is as `server` says.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub fn of(rules: Rules, server: &ServerProof<'_>, clock: &Clock) -> Result<Self, NetError> {
        let tls = server.tls(&rules, clock)?;
        Self::build(rules, server.builder().tls_backend_preconfigured(tls))
    }

    fn build(rules: Rules, builder: reqwest::ClientBuilder) -> Result<Self, NetError> {
        let Rules { allow_networks, insecure_loopback, extra_roots: _, timeout, max_bytes } = rules;
        let addresses = Arc::new(AddressRules { allow_networks, insecure_loopback });
        let connect_timeout = CONNECT_TIMEOUT.min(timeout);
        let http = builder
            .dns_resolver(CheckedResolver(Arc::clone(&addresses)))
            .connect_timeout(connect_timeout)
            .build()
            .map_err(|error| NetError::Setup(causes::in_full(&error)))?;
        Ok(Self { http, addresses, timeout, connect_timeout, max_bytes })
    }

    /// Sends a request and reads the whole answer, whatever its status.
    ///
    /// # Errors
    /// [`NetError`], never an HTTP status other than a redirect.
    pub async fn send(&self, request: Request) -> Result<Response, NetError> {
        self.addresses.check_url(&request.url)?;
        let host = request.url.host_str().unwrap_or_default().to_owned();
        match timeout(self.timeout, self.exchange(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(Failed::Net(error))) => Err(error),
            Ok(Err(Failed::Library(error))) => Err(self.explain(host, error)),
            Err(_) => Err(NetError::Timeout(self.timeout)),
        }
    }

    async fn exchange(&self, request: Request) -> Result<Response, Failed> {
        let mut answer = self.http.execute(request.into_sent()).await?;
        if answer.status().is_redirection() {
            return Err(NetError::Redirect.into());
        }
        let body = read(&mut answer, self.max_bytes).await?;
        Ok(Response { status: answer.status(), headers: std::mem::take(answer.headers_mut()), body })
    }

    fn explain(&self, host: String, error: reqwest::Error) -> NetError {
        let refused = causes::of(&error).find_map(|cause| match cause.downcast_ref() {
            Some(ResolveError::Refused(why)) => Some(why.clone()),
            Some(ResolveError::Lookup(_)) | None => None,
        });
        match refused {
            Some(why) => NetError::AddressRefused(why),
            None if error.is_timeout() && error.is_connect() => NetError::Timeout(self.connect_timeout),
            None if error.is_timeout() => NetError::Timeout(self.timeout),
            // The URL may carry a secret in its query; the host is enough to act on.
            None => NetError::Unreachable { host, source: error.without_url() },
        }
    }
}

/// What holds for every client. Compression stays off: a small answer must not become a large one after the cap.
#[expect(clippy::disallowed_methods, reason = "the one place that builds the HTTP client")]
fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .user_agent(concat!("tollgate/", env!("CARGO_PKG_VERSION")))
        .pool_max_idle_per_host(IDLE_CONNECTIONS)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
}

/// Reads a body to its end, and stops at the first byte over the cap.
async fn read(answer: &mut reqwest::Response, max_bytes: usize) -> Result<Bytes, Failed> {
    let too_large = || Failed::Net(NetError::TooLarge(max_bytes));
    let announced = usize::try_from(answer.content_length().unwrap_or(0)).map_err(|_| too_large())?;
    if announced > max_bytes {
        return Err(too_large());
    }
    let mut body = Vec::with_capacity(announced);
    while let Some(chunk) = answer.chunk().await? {
        if chunk.len() > max_bytes.saturating_sub(body.len()) {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.into())
}

/// What ends an exchange early: our rules, or the library.
enum Failed {
    Net(NetError),
    Library(reqwest::Error),
}

impl From<NetError> for Failed {
    fn from(error: NetError) -> Self {
        Self::Net(error)
    }
}

impl From<reqwest::Error> for Failed {
    fn from(error: reqwest::Error) -> Self {
        Self::Library(error)
    }
}
