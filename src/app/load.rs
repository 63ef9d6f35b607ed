//! From files to a broker's parts: check everything first, then build; the same path for start, reload and `check`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{Source, StartError};
use crate::broker::Loaded;
use crate::causes;
use crate::clock::Clock;
use crate::config::{Config, Limits, OtlpSettings, PostgresPlace, Problem, Problems, Settings, StorePlace};
use crate::facts::Gatherer;
use crate::identity::{Identity, Remembered};
use crate::ledger::{Durability, Ledger, LedgerSettings, Rewrapped};
use crate::net::WorkloadApi;
use crate::policy::Policy;
use crate::provider::Providers;
use crate::secret::Fingerprint;
use crate::signing::discovery::federation_issuer;
use crate::signing::{Sealer, SharedKeyring, SigningError};

/// A configuration without errors, its policies compiled, linted and smoke-evaluated.
pub struct Checked {
    /// The files.
    pub config: Config,
    /// The policies.
    pub policy: Policy,
    /// What is legal and risky.
    pub warnings: Problems,
}

/// All problems, of which at least one stops the load.
#[derive(Debug)]
pub struct Refused(Problems);

impl Refused {
    /// The problems.
    pub fn into_problems(self) -> Problems {
        self.0
    }
}

impl From<Refused> for StartError {
    fn from(refused: Refused) -> Self {
        Self::Config(refused.0)
    }
}

/// The same without the secrets that lie outside its files. No server can be made of it: nobody gets it out of here.
pub struct Reviewed(Checked);

impl Reviewed {
    /// What was checked, to look at.
    pub const fn checked(&self) -> &Checked {
        &self.0
    }
}

/// Loads everything that a server would, and starts nothing.
///
/// # Errors
/// Every problem found.
pub fn check(source: &Source) -> Result<Checked, Refused> {
    with_policies(Config::load(&source.directory, source.environment.iter().cloned()))
}

/// The same for whoever does not have the secrets, such as a reviewer's CI job. Where each secret would come from is among
/// the warnings.
///
/// # Errors
/// Every problem found.
pub fn review(source: &Source) -> Result<Reviewed, Refused> {
    let environment = source.environment.iter().cloned();
    with_policies(Config::load_without_secrets(&source.directory, environment)).map(Reviewed)
}

fn with_policies(loaded: Result<(Config, Problems), Problems>) -> Result<Checked, Refused> {
    let (config, mut problems) = loaded.map_err(Refused)?;
    match Policy::load(&config) {
        Ok((policy, found)) => {
            problems.extend(found);
            problems.extend(policy.smoke(&config));
            if problems.stop_the_load() {
                return Err(Refused(problems));
            }
            Ok(Checked { config, policy, warnings: problems })
        }
        Err(found) => {
            problems.extend(found);
            Err(Refused(problems))
        }
    }
}

/// Builds what a broker needs; contacts nobody. `previous` hands over the keys of issuers that did not change.
pub(super) fn build(
    checked: Checked,
    keyring: &SharedKeyring,
    ledger: &Arc<Ledger>,
    clock: &Clock,
    workload: Option<&WorkloadApi>,
    previous: Option<&Loaded>,
) -> Result<Loaded, StartError> {
    for warning in &checked.warnings {
        tracing::warn!(code = warning.code, file = %warning.file.display(), "{}", warning.message);
    }
    let config = Arc::new(checked.config);
    let url = &config.settings.server.url;
    let own = [url.clone(), federation_issuer(url).parse().map_err(StartError::Url)?];
    let remembered = Arc::clone(ledger) as Arc<dyn Remembered>;
    let issuers = config.issuers.values().cloned();
    let identity = Identity::new(issuers, own, remembered, clock.clone(), workload.cloned())?;
    let identity = match previous {
        Some(previous) => identity.succeed(&previous.identity),
        None => identity,
    };
    let gatherer = Gatherer::new(&config, clock.clone())?;
    let providers = Providers::new(&config, Arc::clone(keyring), clock.clone(), workload.cloned())?;
    Ok(Loaded { config, identity, gatherer, policy: checked.policy, providers })
}

/// What seals and opens by the keys of the settings.
///
/// # Errors
/// [`SigningError::KeyEncryptionKey`].
pub fn sealer_of(settings: &Settings) -> Result<Sealer, SigningError> {
    Sealer::with_former(&settings.store.key_encryption_key, &settings.store.previous_key_encryption_keys)
}

/// Seals everything in the store by the current key-encryption key that can be, without a server.
///
/// # Errors
/// A server uses the store; it cannot be read or written; a signing key does not open.
pub async fn rewrap_offline(settings: &Settings) -> Result<Rewrapped, StartError> {
    let ledger = open_ledger(settings, Arc::new(sealer_of(settings)?), Clock::system())?;
    Ok(ledger.rewrap().await?)
}

/// Opens the ledger that the settings name.
pub(super) fn open_ledger(
    settings: &Settings,
    sealer: Arc<Sealer>,
    clock: Clock,
) -> Result<Arc<Ledger>, StartError> {
    let ledger_settings = LedgerSettings {
        refusals_per_minute: settings.limits.refusals_per_minute,
        tell_block_reasons: settings.blocks.tell_reason,
        events_stdout: settings.audit.stdout,
        events_file: settings.audit.file.clone(),
        ..LedgerSettings::new(settings.store.place.clone())
    };
    let ledger = Ledger::open(&ledger_settings, sealer, clock)?;
    match ledger.durability() {
        Durability::Sqlite(file) if !file.is_durable() => {
            let file_system = file.file_system.as_str();
            tracing::warn!(
                file_system,
                "the store may lose its last records with the power: use a disk's file system"
            );
        }
        Durability::Sqlite(_) => {}
        Durability::Postgres(server) => {
            let (version, commit) = (&server.server_version, &server.synchronous_commit);
            tracing::info!(%version, synchronous_commit = %commit, "the database keeps what it commits");
        }
    }
    Ok(Arc::new(ledger))
}

/// Refuses a configuration that a running server cannot put in force whole: what is read only at start must be the same.
pub(super) fn fits(new: &Settings, old: &Settings) -> Result<(), Problems> {
    let limits = |limits: &Limits| Limits { policy_timeout: Duration::ZERO, ..limits.clone() };
    let print = |secret: &SecretString| Fingerprint::of(secret.expose_secret().as_bytes());
    let keys = |settings: &Settings| {
        let former = &settings.store.previous_key_encryption_keys;
        let all = std::iter::once(&settings.store.key_encryption_key).chain(former);
        all.map(print).collect::<Vec<_>>()
    };
    let tls = |settings: &Settings| settings.server.tls.as_ref().map(std::mem::discriminant);
    let proxies = |settings: &Settings| settings.server.proxy.as_ref().map(|proxy| proxy.listen);
    let otlp = |settings: &Settings| settings.telemetry.otlp.as_ref().map(OtlpSettings::fingerprint);
    let sinks = |settings: &Settings| -> Vec<(String, Fingerprint)> {
        settings.audit.sinks.iter().map(|(name, sink)| (name.clone(), sink.revision())).collect()
    };
    let same = [
        ("server.url", new.server.url == old.server.url),
        ("server.listen", new.server.listen == old.server.listen),
        ("server.operations_listen", new.server.operations_listen == old.server.operations_listen),
        // Without the section nobody is let in where proxies were: that works at once.
        ("server.proxy.listen", proxies(new).is_none() || proxies(new) == proxies(old)),
        ("server.spiffe_listen", new.server.spiffe_listen == old.server.spiffe_listen),
        ("server.tls, but for its files,", tls(new) == tls(old)),
        ("server.trusted_proxies", new.server.trusted_proxies == old.server.trusted_proxies),
        ("server.admin_socket", new.server.admin_socket == old.server.admin_socket),
        ("workload_api", new.workload_api == old.workload_api),
        ("store.sqlite or store.postgres", same_place(&new.store.place, &old.store.place)),
        ("store.key_encryption_key, or a previous one,", keys(new) == keys(old)),
        ("signing (all but tokens)", new.signing.is_like(&old.signing)),
        ("audit", (new.audit.stdout, &new.audit.file) == (old.audit.stdout, &old.audit.file)),
        ("blocks", new.blocks == old.blocks),
        ("telemetry.otlp", otlp(new) == otlp(old)),
        ("telemetry.exemplars", new.telemetry.exemplars == old.telemetry.exemplars),
        ("audit.sinks", sinks(new) == sinks(old)),
        ("limits (all but policy_timeout)", limits(&new.limits) == limits(&old.limits)),
    ];
    let mut problems = Problems::default();
    for (key, _) in same.iter().filter(|(_, same)| !same) {
        let message = format!("{key} is read only at start, and has changed");
        let fix = "restart the server, or write the former value again";
        problems.push(Problem::error(Path::new("tollgate.toml"), "needs_restart", &message, fix));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// True if both are one place, reached in one way.
fn same_place(new: &StorePlace, old: &StorePlace) -> bool {
    let way = |place: &StorePlace| match place {
        StorePlace::Sqlite(_) => None,
        StorePlace::Postgres(PostgresPlace { password, ca, client_certificate, pool, .. }) => {
            let password =
                password.as_ref().map(|password| Fingerprint::of(password.expose_secret().as_bytes()));
            Some((password, ca.clone(), client_certificate.clone(), *pool))
        }
    };
    new.to_string() == old.to_string() && way(new) == way(old)
}

/// A failure while building, as a problem of the whole configuration.
pub(super) fn as_problem(error: &StartError) -> Problems {
    broken(&causes::in_full(error))
}

/// One problem of the configuration as a whole.
pub(super) fn broken(message: &str) -> Problems {
    let mut problems = Problems::default();
    problems.push(Problem::error(Path::new("."), "cannot_build", message, "mend it and reload"));
    problems
}
