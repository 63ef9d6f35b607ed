//! The composition root: the one place that names every concrete type and joins them into a running server.
//!
//! It starts nothing that `tollgate check` would refuse: configuration, policies and their smoke evaluation come before
//! the store is opened, and the store before any port is bound.

mod admin;
mod background;
mod blocks;
mod error;
mod keys;
mod listeners;
mod load;
mod traces;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use admin::{AdminAnswer, AdminRequest, admin_socket, call as call_admin};
pub use blocks::{BlockAnswer, BlockRequest};
pub use error::StartError;
pub use keys::{KeyReport, NextState, reports as key_reports};
pub use load::{Checked, Reviewed, check, review, rewrap_offline, sealer_of};
pub use traces::traces;

use crate::broker::Broker;
use crate::clock::Clock;
use crate::config::{Problems, WorkloadApiSettings};
use crate::http;
use crate::ledger::{Ledger, RunningSinks, Sinks};
use crate::net::WorkloadApi;
use crate::secret::Fingerprint;
use crate::signing::{Kms, SigningError};
use crate::telemetry::{self, Exposition, Metrics};
use keys::Keys;
use listeners::{Addresses, Tls};

/// Longest that a start waits for the SVID that a listener shows: long enough to tell an agent that hangs from one that is slow.
const FIRST_SVID: Duration = Duration::from_secs(15);

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
    tls: Tls,
    workload: Option<WorkloadApi>,
    /// One reload at a time: two would race for which is in force.
    reloading: tokio::sync::Mutex<()>,
}

/// A running server.
pub struct App {
    core: Arc<Core>,
    address: SocketAddr,
    spiffe_address: Option<SocketAddr>,
    operations_address: Option<SocketAddr>,
    proxies_address: Option<SocketAddr>,
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
        Self::start_checked(source, checked, clock, metrics).await
    }

    /// The same with what [`check`] gave for `source`.
    ///
    /// # Errors
    /// [`StartError`]; nothing is bound then.
    pub async fn start_checked(
        source: Source,
        checked: Checked,
        clock: Clock,
        metrics: Option<Metrics>,
    ) -> Result<Self, StartError> {
        let settings = &checked.config.settings;
        let workload = settings.workload_api.as_ref().map(workload_api);
        if let Some(workload) = workload.as_ref().filter(|_| settings.server.shows_svid()) {
            workload.first_svid(FIRST_SVID).await?;
        }
        let sealer = Arc::new(sealer_of(settings)?);
        let kms = Kms::new(&settings.signing, &clock).map_err(SigningError::from)?;
        let ledger = load::open_ledger(settings, Arc::clone(&sealer), clock.clone())?;
        let keys = Keys::open(Arc::clone(&ledger), sealer, kms, clock.clone()).await?;
        let limits = settings.limits.clone();
        let addresses = Addresses::of(&settings.server);
        let tls = Tls::load(&checked.config, &clock, workload.as_ref())?;
        let url = settings.server.url.clone();
        let trusted_proxies = settings.server.trusted_proxies.clone();
        let trust_traceparent = settings.telemetry.otlp.as_ref().is_some_and(|otlp| otlp.trust_traceparent);
        let admin_socket = admin_socket(settings);

        let loaded = load::build(checked, &keys.shared(), &ledger, &clock, workload.as_ref(), None)?;
        ledger.set_revision(loaded.config.revision, loaded.policy.revision()).await?;
        let broker = Arc::new(Broker::new(loaded, Arc::clone(&ledger), clock.clone()));

        let sinks = Sinks::new(&broker.loaded().config.settings, &ledger)?;
        let admin = admin::Listener::bind(&admin_socket)?;
        let listeners = addresses.bind(&tls, &limits).await?;
        let address = listeners.callers.address();
        let operations_address = listeners.operators.as_ref().map(http::Server::address);
        let spiffe_address = listeners.spiffe.as_ref().map(http::Server::address);
        let proxies_address = listeners.proxies.as_ref().map(http::Server::address);
        let context = Arc::new(http::Context {
            broker: Arc::clone(&broker),
            keyring: keys.shared(),
            metrics: Arc::new(move |open| match &metrics {
                Some(metrics) => metrics.expose(open),
                None => Exposition::plain(String::new()),
            }),
            url,
            followers: http::Followers::new(&limits),
            limits,
            trusted_proxies,
            trust_traceparent,
            clock: clock.clone(),
        });
        let sinks = sinks.start();
        let stop = CancellationToken::new();
        let reloading = tokio::sync::Mutex::new(());
        let core = Arc::new(Core { source, clock, broker, ledger, keys, tls, workload, reloading });
        let serving = tokio::spawn(serve(Arc::clone(&core), listeners, context, admin, sinks, stop.clone()));
        Ok(Self { core, address, spiffe_address, operations_address, proxies_address, stop, serving })
    }

    /// The address that is served.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address at which the SVID is shown beside it, if there is one.
    pub const fn spiffe_address(&self) -> Option<SocketAddr> {
        self.spiffe_address
    }

    /// The address that is served to operators alone, if there is one.
    pub const fn operations_address(&self) -> Option<SocketAddr> {
        self.operations_address
    }

    /// The address that is served to proxies alone, if there is one.
    pub const fn proxies_address(&self) -> Option<SocketAddr> {
        self.proxies_address
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

/// The agent beside this server, followed from now on.
fn workload_api(settings: &WorkloadApiSettings) -> WorkloadApi {
    WorkloadApi::follow(&settings.endpoint, settings.spiffe_id.clone())
}

async fn serve(
    core: Arc<Core>,
    listeners: http::Listeners,
    context: Arc<http::Context>,
    admin: admin::Listener,
    sinks: RunningSinks,
    stop: CancellationToken,
) {
    // The background goes on while requests finish: they may wait for it to write.
    let finished = CancellationToken::new();
    let background = tokio::spawn(background::run(Arc::clone(&core), finished.clone()));
    let administration = tokio::spawn(admin.serve(Arc::clone(&core), stop.clone()));
    http::serve(listeners, context, stop.cancelled_owned()).await;
    finished.cancel();
    for task in [administration, background] {
        if let Err(failed) = task.await {
            tracing::error!(%failed, "a background task did not end in order");
        }
    }
    // After the last record and the last checkpoint.
    sinks.stop().await;
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
        let reloaded = self.take_new().await;
        telemetry::configuration_reloaded(reloaded.is_ok());
        reloaded
    }

    async fn take_new(&self) -> Result<Fingerprint, Problems> {
        let checked = self.check().await?;
        let previous = self.broker.loaded();
        load::fits(&checked.config.settings, &previous.config.settings)?;
        let keyring = self.keys.shared();
        let loaded = load::build(
            checked,
            &keyring,
            &self.ledger,
            &self.clock,
            self.workload.as_ref(),
            Some(&previous),
        )
        .map_err(|error| load::as_problem(&error))?;
        let revision = loaded.config.revision;
        let tls = Tls::load(&loaded.config, &self.clock, self.workload.as_ref());
        let tls = tls.map_err(|error| load::as_problem(&error.into()))?;
        // Recorded first: a decision under a configuration that the chain does not name could not be explained.
        self.ledger
            .set_revision(revision, loaded.policy.revision())
            .await
            .map_err(|error| load::as_problem(&error.into()))?;
        self.tls.replace(&tls);
        self.keys.replace_tokens(&loaded.config.settings.signing);
        self.broker.swap(loaded);
        tracing::info!(%revision, "a new configuration is in force");
        Ok(revision)
    }
}
