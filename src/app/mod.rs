//! The composition root: the one place that names every concrete type and joins them into a running server.
//!
//! It starts nothing that `tollgate check` would refuse: configuration, policies and their smoke evaluation come before
//! the store is opened, and the store before any port is bound.

mod admin;
mod background;
mod error;
mod keys;
mod load;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use admin::{AdminAnswer, AdminRequest, admin_socket, call as call_admin};
pub use error::StartError;
pub use keys::{KeyReport, reports as key_reports};
pub use load::{Checked, Reviewed, check, review};

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::Problems;
use crate::http;
use crate::ledger::Ledger;
use crate::secret::Fingerprint;
use crate::signing::Sealer;
use crate::telemetry::Metrics;
use keys::Keys;

/// Where a server's configuration comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The configuration directory.
    pub directory: PathBuf,
    /// Environment variables; only `TOLLGATE_SERVER__…` are looked at.
    pub environment: Vec<(String, String)>,
}

/// What is shared by the surfaces and the background tasks.
struct Core {
    source: Source,
    clock: Clock,
    broker: Arc<Broker>,
    ledger: Arc<Ledger>,
    keys: Keys,
    tls: Option<Arc<http::Tls>>,
    /// One reload at a time: two would race for which is in force.
    reloading: tokio::sync::Mutex<()>,
}

/// A running server.
pub struct App {
    core: Arc<Core>,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl App {
    /// Loads, checks, opens the store and serves; returns once the port is bound.
    ///
    /// # Errors
    /// [`StartError`]; nothing is bound then.
    pub async fn start(source: Source, clock: Clock, metrics: Option<Metrics>) -> Result<Self, StartError> {
        let checked = check(&source)?;
        let settings = &checked.config.settings;
        let sealer = Arc::new(Sealer::new(&settings.store.key_encryption_key)?);
        let ledger = load::open_ledger(settings, Arc::clone(&sealer), clock.clone())?;
        let keys = Keys::open(Arc::clone(&ledger), sealer, clock.clone()).await?;
        let limits = settings.limits.clone();
        let listen = settings.server.listen;
        let tls = settings.server.tls.as_ref().map(http::Tls::load).transpose()?.map(Arc::new);
        let url = settings.server.url.clone();
        let trusted_proxies = settings.server.trusted_proxies.clone();
        let admin_socket = admin_socket(settings);

        let loaded = load::build(checked, &keys.shared(), &ledger, &clock, None)?;
        ledger.set_revision(loaded.config.revision, loaded.policy.revision()).await?;
        let broker = Arc::new(Broker::new(loaded, Arc::clone(&ledger), clock.clone()));

        let admin = admin::Listener::bind(&admin_socket)?;
        let server = http::Server::bind(listen, tls.clone(), http::Caps::new(&limits)).await?;
        let address = server.address();
        let context = Arc::new(http::Context {
            broker: Arc::clone(&broker),
            keyring: keys.shared(),
            metrics: Arc::new(move || metrics.as_ref().map(Metrics::render).unwrap_or_default()),
            url,
            limits,
            trusted_proxies,
            clock: clock.clone(),
        });
        let stop = CancellationToken::new();
        let reloading = tokio::sync::Mutex::new(());
        let core = Arc::new(Core { source, clock, broker, ledger, keys, tls, reloading });
        let serving = tokio::spawn(serve(Arc::clone(&core), server, context, admin, stop.clone()));
        Ok(Self { core, address, stop, serving })
    }

    /// The address that is served.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The broker.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.core.broker
    }

    /// Reads the configuration again and puts it in force if all of it is good; otherwise keeps the last good one.
    ///
    /// # Errors
    /// The problems.
    pub async fn reload(&self) -> Result<Fingerprint, Problems> {
        self.core.reload().await
    }

    /// Stops accepting, finishes what is in flight, and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Err(failed) = self.serving.await {
            tracing::error!(%failed, "the server did not end in order");
        }
    }
}

async fn serve(
    core: Arc<Core>,
    server: http::Server,
    context: Arc<http::Context>,
    admin: admin::Listener,
    stop: CancellationToken,
) {
    // The background goes on while requests finish: they may wait for it to write.
    let finished = CancellationToken::new();
    let background = tokio::spawn(background::run(Arc::clone(&core), finished.clone()));
    let administration = tokio::spawn(admin.serve(Arc::clone(&core), stop.clone()));
    http::serve(server, context, stop.cancelled_owned()).await;
    finished.cancel();
    for task in [administration, background] {
        if let Err(failed) = task.await {
            tracing::error!(%failed, "a background task did not end in order");
        }
    }
}

impl Core {
    /// Off the threads that serve requests: compiling many policies takes a while.
    async fn check(&self) -> Result<Checked, Problems> {
        let source = self.source.clone();
        let checked = tokio::task::spawn_blocking(move || check(&source)).await;
        match checked {
            Ok(checked) => checked.map_err(load::Refused::into_problems),
            Err(failed) => Err(load::broken(&failed.to_string())),
        }
    }

    async fn reload(&self) -> Result<Fingerprint, Problems> {
        let _one_at_a_time = self.reloading.lock().await;
        let checked = self.check().await?;
        let previous = self.broker.loaded();
        load::fits(&checked.config.settings, &previous.config.settings)?;
        let keyring = self.keys.shared();
        let loaded = load::build(checked, &keyring, &self.ledger, &self.clock, Some(&previous))
            .map_err(|error| load::as_problem(&error))?;
        let revision = loaded.config.revision;
        let certificate = loaded.config.settings.server.tls.as_ref().map(http::Tls::load).transpose();
        let certificate = certificate.map_err(|error| load::as_problem(&error.into()))?;
        // Recorded first: a decision under a configuration that the chain does not name could not be explained.
        self.ledger
            .set_revision(revision, loaded.policy.revision())
            .await
            .map_err(|error| load::as_problem(&error.into()))?;
        if let (Some(tls), Some(certificate)) = (&self.tls, certificate) {
            tls.replace(certificate);
        }
        self.broker.swap(loaded);
        tracing::info!(%revision, "a new configuration is in force");
        Ok(revision)
    }
}
