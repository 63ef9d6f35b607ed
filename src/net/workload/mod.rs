//! The SPIFFE Workload API: Tollgate's own SVID, and the bundles of its trust domain and of those that it is federated
//! with, as the agent beside it streams them.
//!
//! The crate `spiffe` speaks the protocol and reads what comes. Its own sources keep one kind of bundle each, read the
//! machine's clock, and know nothing of a bundle that both kinds of SVID are verified by; ours keeps both streams open.
//! What was told last goes on when the agent is gone: how old it is, whoever uses it has to say.

mod error;
mod read;
mod streams;
mod svid;
mod told;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::client::ResolvesClientCert;
use rustls::server::ResolvesServerCert;
use spiffe::transport::Endpoint;
use tokio::sync::watch;

pub use error::WorkloadError;
pub use read::TrustBundle;
pub use svid::Svid;

use self::svid::Shown;
use self::told::Told;

/// A trust domain's bundle, as the agent said last.
#[derive(Debug)]
pub struct Given {
    /// Changes whenever the bundle does.
    pub revision: u64,
    /// The bundle.
    pub bundle: Arc<TrustBundle>,
    /// Why a part of it may not be what the agent says now: a stream that gave it is down.
    pub doubt: Option<WorkloadError>,
}

/// The agent's endpoint, followed as long as anybody holds this.
#[derive(Clone)]
pub struct WorkloadApi {
    told: watch::Receiver<Told>,
    endpoint: Arc<str>,
}

impl WorkloadApi {
    /// Follows the agent at `endpoint`; of several SVIDs, the one of `spiffe_id` is Tollgate's, or else the first. Runs on
    /// the runtime that this is called on.
    pub fn follow(endpoint: &Endpoint, spiffe_id: Option<String>) -> Self {
        let (sender, told) = watch::channel(Told::default());
        let name = match endpoint {
            Endpoint::Unix(path) => format!("unix://{}", path.display()),
            Endpoint::Tcp { host, port } => format!("tcp://{}", std::net::SocketAddr::new(*host, *port)),
            other => format!("{other:?}"),
        };
        tokio::spawn(streams::follow(endpoint.clone(), spiffe_id, sender));
        Self { told, endpoint: name.into() }
    }

    /// The SVID of now.
    pub fn svid(&self) -> Option<Arc<Svid>> {
        self.told.borrow().x509.last.as_ref()?.svid.clone()
    }

    /// The SVID, once there is one.
    ///
    /// # Errors
    /// There is none within `patience`; what the agent said last.
    pub async fn first_svid(&self, patience: Duration) -> Result<Arc<Svid>, WorkloadError> {
        let mut told = self.told.clone();
        let there = |told: &Told| told.x509.last.as_ref().is_some_and(|x509| x509.svid.is_some());
        // What it says in the end is told either way.
        let _ = tokio::time::timeout(patience, told.wait_for(there)).await;
        self.svid().ok_or_else(|| {
            let left_out = || self.told.borrow().x509.left_out.first().cloned();
            let why = self
                .trouble()
                .or_else(left_out)
                .unwrap_or_else(|| "it issues other SVIDs than the one that is named".into());
            self.error(format!("it gave no SVID within {} s: {why}", patience.as_secs()))
        })
    }

    /// Changes whenever the bundle of `domain` does; none before anything is known.
    pub fn revision(&self, domain: &str) -> Option<u64> {
        self.told.borrow().bundle(domain).map(|(revision, _)| revision)
    }

    /// The bundle of `domain` as the agent said last: an empty one if it has none.
    ///
    /// # Errors
    /// The agent is gone, or half of it, and the bundle is the one of the revision that is `held`.
    pub async fn bundle(&self, domain: &str, held: u64, patience: Duration) -> Result<Given, WorkloadError> {
        let mut told = self.told.clone();
        // What is settled by then is judged below.
        let _ = tokio::time::timeout(patience, told.wait_for(Told::is_settled)).await;
        let (bundle, trouble) = {
            let told = self.told.borrow();
            (told.bundle(domain), told.trouble().map(str::to_owned))
        };
        let doubt = trouble.map(|why| self.error(why));
        match (bundle, doubt) {
            (Some((revision, bundle)), doubt) if doubt.is_none() || held != revision => {
                Ok(Given { revision, bundle, doubt })
            }
            (_, doubt) => Err(doubt.unwrap_or_else(|| self.error("it has said nothing yet".to_owned()))),
        }
    }

    /// The authorities of `domain`, as last told.
    pub(super) fn authorities(&self, domain: &str) -> RootCertStore {
        let told = self.told.borrow().bundle(domain);
        let mut roots = RootCertStore::empty();
        for authority in told.iter().flat_map(|(_, bundle)| &bundle.authorities) {
            if let Err(error) = roots.add(authority.clone()) {
                tracing::debug!(domain, %error, "an authority cannot be used");
            }
        }
        roots
    }

    /// Why what is known may not be what the agent says now.
    pub fn trouble(&self) -> Option<String> {
        self.told.borrow().trouble().map(str::to_owned)
    }

    /// Shows the SVID of now to clients.
    pub fn server_certificate(&self) -> Arc<dyn ResolvesServerCert> {
        Arc::new(Shown(self.clone()))
    }

    /// Shows the SVID of now to servers.
    pub fn client_certificate(&self) -> Arc<dyn ResolvesClientCert> {
        Arc::new(Shown(self.clone()))
    }

    fn error(&self, why: String) -> WorkloadError {
        WorkloadError { endpoint: self.endpoint.to_string(), why }
    }
}

impl fmt::Debug for WorkloadApi {
    /// Without what it told.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadApi").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}
