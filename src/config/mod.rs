//! Files straight into domain types: strict, every problem at once, each with file, line, key path and a fix.
//!
//! Loading never reaches the network and never starts anything. The environment changes server settings only.

pub mod attributes;
pub mod aws;
pub mod origin;
pub mod template;

mod duration;
mod files;
mod issuer;
mod jwks;
mod load;
mod problem;
mod reader;
mod retention;
mod role;
mod settings;
mod signing;
mod sink;
mod spiffe;
mod store;
mod table;
mod target;
mod telemetry;

pub use files::{Files, MAX_FILE_BYTES, MAX_FILES, MAX_TABLE_BYTES, MAX_TOTAL_BYTES};
pub use issuer::{
    Algorithm, AttributeRule, Issuer, IssuerKind, KeySource, Possession, Profile, Replay, Requirement,
    RunnerRules, SecurityEvents,
};
pub use jwks::{JWKS_LIMITS, MAX_BUNDLE_BYTES, MAX_JWKS_KEYS};
pub use problem::{Problem, Problems, Severity};
pub use retention::{InvalidRetention, Retention};
pub use role::{
    AwsRole, AwsScope, DeclaredKey, DeclaredType, JwtRole, LeaseTerms, ProviderRole, Role, RoleBudget,
    RunnerNeed, RunnerTerms, ScopeSpec, TableBinding, TtlLimits, VaultRole, VaultScope,
};
pub use settings::{
    AllowedClients, AuditSettings, BlockSettings, DenialDetail, FactSource, Limits, Operations,
    ServerSettings, Settings, SourceAuth, StoreSettings, TlsFiles, TlsSettings, Webhook, WebhookAuth,
};
pub use signing::{KmsSettings, SigningSettings, TransitSettings};
pub use sink::{ClientCertificate, ElasticSink, Reach, Sink, SinkFormat, SinkKind, SplunkSink, SyslogSink};
pub use spiffe::{BundleSource, EndpointServer, InvalidPathTemplate, PathTemplate, WorkloadApiSettings};
pub use store::{InvalidPlace, PostgresPlace, StorePlace};
pub use table::{Row, TargetTable};
pub use target::{AwsAccess, AwsTarget, JwtTarget, Target, TargetKind, VaultTarget};
pub use telemetry::{OtlpSettings, TelemetrySettings};

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use self::load::{Around, Secrets};
use crate::domain::{IssuerName, RoleName, TargetName};
use crate::secret::Fingerprint;

/// Everything that a configuration directory says, checked and cross-referenced.
#[derive(Debug)]
pub struct Config {
    /// `tollgate.toml`, with `TOLLGATE_SERVER__…` laid over its `[server]` section.
    pub settings: Settings,
    /// `issuers/*.toml`.
    pub issuers: BTreeMap<IssuerName, Arc<Issuer>>,
    /// `roles/**/*.toml`.
    pub roles: BTreeMap<RoleName, Arc<Role>>,
    /// `targets/*.toml`.
    pub targets: BTreeMap<TargetName, Arc<Target>>,
    /// `targets/*.csv`, by file stem.
    pub tables: BTreeMap<String, Arc<TargetTable>>,
    /// Digest over every file that was read, path and content, in order.
    pub revision: Fingerprint,
}

impl Config {
    /// True if callers may prove who they are by a client certificate.
    pub fn asks_for_svids(&self) -> bool {
        self.issuers.values().any(|issuer| issuer.url.trust_domain().is_some())
    }

    /// Reads `directory` and lays `environment` (`TOLLGATE_SERVER__…` only) over it.
    ///
    /// Returns the configuration with its warnings.
    ///
    /// # Errors
    /// Every problem found, in file and line order; nothing is loaded if one is an error.
    pub fn load(
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Problems), Problems> {
        Self::read(directory, environment, Secrets::Read)
    }

    /// The same without the secrets that lie outside the files; where each would come from is among the problems. What comes
    /// of it is to be looked at and never to be served.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub(crate) fn load_without_secrets(
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Problems), Problems> {
        Self::read(directory, environment, Secrets::PassedOver)
    }

    fn read(
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        secrets: Secrets,
    ) -> Result<(Self, Problems), Problems> {
        let mut problems = Problems::default();
        let misnamed = RefCell::new(Vec::new());
        let wanted = |path: &Path| load::wanted(path, &mut misnamed.borrow_mut());
        let files = Files::read(directory, wanted, &mut problems);
        misnamed.into_inner().into_iter().for_each(|problem| problems.push(problem));
        Self::build(&files, directory, environment, secrets, problems)
    }

    /// Reads `files` as if they lay in `directory`, where relative paths to other things start.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn from_files(
        files: &Files,
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<(Self, Problems), Problems> {
        Self::build(files, directory, environment, Secrets::Read, Problems::default())
    }

    fn build(
        files: &Files,
        directory: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        secrets: Secrets,
        mut problems: Problems,
    ) -> Result<(Self, Problems), Problems> {
        let environment = environment.into_iter().collect();
        let around = Around { directory, environment: &environment, files, secrets };
        let config = load::load(&around, &mut problems);
        problems.sort();
        match config {
            Some(config) if !problems.stop_the_load() => Ok((config, problems)),
            Some(_) | None => Err(problems),
        }
    }
}
