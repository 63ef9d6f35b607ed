//! Fetching a trust domain's bundle: from a file, from its bundle endpoint (SPIFFE Federation, section 5), or from what the
//! Workload API streams.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::{BundleError, bundle};
use crate::clock::Clock;
use crate::config::{BundleSource, EndpointServer, Issuer, MAX_BUNDLE_BYTES};
use crate::domain::IssuerUrl;
use crate::identity::discovery::{FetchError, get};
use crate::identity::published::{Fetched, Published};
use crate::net::{Client, Given, NetError, Rules, TrustBundle, WorkloadApi, read_ca_file};

/// What is asked for, in errors.
const DOCUMENT: &str = "the bundle";

/// Everything that decides where a bundle comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::identity) struct BundlePlace {
    /// The trust domain.
    pub domain: IssuerUrl,
    source: BundleSource,
    ca_file: Option<PathBuf>,
    allow_networks: Vec<IpNet>,
    insecure_loopback: bool,
}

impl BundlePlace {
    /// The place of `issuer`'s bundle.
    pub(in crate::identity) fn new(issuer: &Issuer, source: &BundleSource) -> Self {
        Self {
            domain: issuer.url.clone(),
            source: source.clone(),
            ca_file: issuer.ca_file.clone(),
            allow_networks: issuer.allow_networks.clone(),
            insecure_loopback: issuer.insecure_loopback,
        }
    }

    /// True for a file: a reload reads it again, as it does every other file.
    pub(in crate::identity) const fn is_file(&self) -> bool {
        matches!(self.source, BundleSource::File(_))
    }

    /// True for what is streamed: it is here before anybody asks.
    pub(in crate::identity) const fn is_streamed(&self) -> bool {
        matches!(self.source, BundleSource::WorkloadApi)
    }

    fn rules(&self, timeout: Duration) -> Result<Rules, NetError> {
        Ok(Rules {
            allow_networks: self.allow_networks.clone(),
            insecure_loopback: self.insecure_loopback,
            extra_roots: read_ca_file(self.ca_file.as_deref())?,
            timeout,
            max_bytes: MAX_BUNDLE_BYTES,
        })
    }
}

/// Asks one place.
pub(in crate::identity) struct BundleFetcher(Way);

enum Way {
    File(PathBuf),
    Web(Client, Url),
    /// What it is verified by changes with each bundle, and the client with it.
    Spiffe {
        rules: Rules,
        url: Url,
        id: String,
        first: PathBuf,
        clock: Clock,
    },
    Streamed(Stream),
}

impl BundleFetcher {
    /// Asks nobody yet. `timeout` is for each request.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub(in crate::identity) fn new(
        place: BundlePlace,
        timeout: Duration,
        clock: &Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, NetError> {
        let rules = place.rules(timeout);
        Ok(Self(match place.source {
            BundleSource::File(path) => Way::File(path),
            BundleSource::Endpoint { url, server: EndpointServer::Web } => {
                Way::Web(Client::new(rules?)?, url)
            }
            BundleSource::Endpoint { url, server: EndpointServer::Spiffe { id, first } } => {
                Way::Spiffe { rules: rules?, url, id, first, clock: clock.clone() }
            }
            BundleSource::WorkloadApi => {
                let missing = || NetError::Setup("there is no [workload_api]".to_owned());
                let api = workload.ok_or_else(missing)?.clone();
                let domain = place.domain.trust_domain().unwrap_or_default().to_owned();
                Way::Streamed(Stream::new(api, domain, timeout))
            }
        }))
    }

    /// Asks. `held` is the bundle in use: a server with an SVID is verified by it, and an older one does not replace it.
    pub(in crate::identity) async fn fetch(&self, held: Option<&Published>) -> Result<Fetched, FetchError> {
        let document = match &self.0 {
            Way::File(path) => read_file(path).await?,
            Way::Web(client, url) => get(client, DOCUMENT, url.clone()).await?,
            Way::Spiffe { rules, url, id, first, clock } => {
                let begun = match held {
                    Some(_) => None,
                    None => Some(bundle::parse(&read_file(first).await?)?),
                };
                let authorities = held.or(begun.as_ref()).and_then(|bundle| bundle.authorities.as_ref());
                let authorities = authorities.ok_or(FetchError::NoAuthorities)?;
                let client = Client::of_svid(rules.clone(), id, authorities.clients(), clock);
                let host = || url.host_str().unwrap_or_default().to_owned();
                let client =
                    client.map_err(|source| FetchError::Net { document: DOCUMENT, host: host(), source })?;
                get(&client, DOCUMENT, url.clone()).await?
            }
            Way::Streamed(stream) => return stream.fetch().await,
        };
        let published = bundle::parse(&document)?;
        let known = held.and_then(|held| held.sequence);
        match (known, published.sequence) {
            (Some(known), Some(found)) if found < known => Err(BundleError::Older { found, known }.into()),
            _ => Ok(Fetched::whole(document, published)),
        }
    }

    /// Notes that what was fetched last is in use, or cannot be used: it is no news any more.
    pub(in crate::identity) fn settle(&self) {
        match &self.0 {
            Way::Streamed(stream) => stream.settle(),
            Way::File(_) | Way::Web(..) | Way::Spiffe { .. } => {}
        }
    }

    /// True if the source has another bundle than the one that was fetched last, or is there again.
    pub(in crate::identity) fn has_news(&self) -> bool {
        match &self.0 {
            Way::Streamed(stream) => stream.has_news(),
            Way::File(_) | Way::Web(..) | Way::Spiffe { .. } => false,
        }
    }

    /// Reads a bundle of before.
    pub(in crate::identity) fn read(document: &[u8]) -> Result<Published, FetchError> {
        Ok(bundle::parse(document)?)
    }
}

/// One trust domain's part of what the Workload API streams.
struct Stream {
    api: WorkloadApi,
    domain: String,
    timeout: Duration,
    /// The revision that was taken last, and the one that is settled.
    taken: AtomicU64,
    settled: AtomicU64,
    /// The bundle that was taken last and could be read.
    bundle: Mutex<Option<Arc<TrustBundle>>>,
    /// The agent was gone when it was asked last, or half of it.
    gone: AtomicBool,
}

impl Stream {
    /// No revision: what is settled before anything is taken.
    const NOTHING: u64 = u64::MAX;

    fn new(api: WorkloadApi, domain: String, timeout: Duration) -> Self {
        let nothing = || AtomicU64::new(Self::NOTHING);
        let (taken, settled) = (nothing(), nothing());
        Self { api, domain, timeout, taken, settled, bundle: Mutex::default(), gone: AtomicBool::default() }
    }

    async fn fetch(&self) -> Result<Fetched, FetchError> {
        let held = self.settled.load(Ordering::Acquire);
        let given = self.api.bundle(&self.domain, held, self.timeout).await;
        let whole = given.as_ref().is_ok_and(|given| given.doubt.is_none());
        self.gone.store(!whole, Ordering::Release);
        let Given { revision, bundle, doubt } = given?;
        self.taken.store(revision, Ordering::Release);
        let document = bundle.document();
        let published = bundle::parse(&document)?;
        let mut last = self.bundle.lock().unwrap_or_else(PoisonError::into_inner);
        let removes = last.as_ref().is_some_and(|former| !bundle.keeps(former));
        *last = Some(bundle);
        Ok(Fetched { document, published, removes, doubt: doubt.map(FetchError::from) })
    }

    fn settle(&self) {
        self.settled.store(self.taken.load(Ordering::Acquire), Ordering::Release);
    }

    fn has_news(&self) -> bool {
        let settled = self.settled.load(Ordering::Acquire);
        let changed = self.api.revision(&self.domain).is_some_and(|revision| revision != settled);
        changed || (self.gone.load(Ordering::Acquire) && self.api.trouble().is_none())
    }
}

/// Off the threads that serve requests: a file may lie on a slow mount.
async fn read_file(path: &Path) -> Result<Vec<u8>, FetchError> {
    let failed = |source| FetchError::File { path: path.to_owned(), source };
    let reading = path.to_owned();
    let read = tokio::task::spawn_blocking(move || read_capped(&reading)).await;
    read.map_err(|error| failed(io::Error::other(error)))?.map_err(failed)
}

fn read_capped(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MAX_BUNDLE_BYTES as u64 + 1).read_to_end(&mut content)?;
    if content.len() > MAX_BUNDLE_BYTES {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "the bundle is too large"));
    }
    Ok(content)
}
