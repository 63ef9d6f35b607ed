//! The whole of `gather`, with real sources on loopback.

mod asks;
mod operations;
mod setup;
mod sources;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Facts, Gatherer, testing};
use crate::clock::{Clock, random_bytes};
use crate::config::{
    AuditSettings, Config, DenialDetail, FactSource, JwtTarget, Limits, Role, ServerSettings, Settings,
    SigningSettings, StorePlace, StoreSettings, Target, TargetKind, TargetTable, TelemetrySettings,
};
use crate::domain::{Ask, DecisionId, Refusal, Scalar};
use crate::identity::testing::caller;
use crate::secret::Fingerprint;

/// Friday, 23:30:15 in UTC; Saturday, 00:30 in Berlin.
fn friday_night() -> Timestamp {
    "2026-11-20T23:30:15.250Z".parse().unwrap()
}

/// A configuration with one target, `role` and `sources`.
fn config(role: Role, sources: BTreeMap<String, FactSource>) -> Config {
    let target = Target {
        name: role.target.clone(),
        kind: TargetKind::Jwt(JwtTarget { audience: "https://api.example".into() }),
        concurrency: None,
    };
    Config {
        settings: settings(sources),
        issuers: BTreeMap::new(),
        roles: [(role.name.clone(), Arc::new(role))].into(),
        targets: [(target.name.clone(), Arc::new(target))].into(),
        tables: BTreeMap::new(),
        revision: Fingerprint::of(b"configuration"),
    }
}

fn settings(sources: BTreeMap<String, FactSource>) -> Settings {
    Settings {
        workload_api: None,
        blocks: crate::config::BlockSettings::default(),
        webhooks: BTreeMap::default(),
        server: ServerSettings {
            url: "https://tollgate.example".parse().unwrap(),
            listen: "127.0.0.1:0".parse().unwrap(),
            operations_listen: None,
            spiffe_listen: None,
            tls: None,
            trusted_proxies: Vec::new(),
            tenant: "default".parse().unwrap(),
            admin_socket: None,
        },
        store: StoreSettings {
            place: StorePlace::Sqlite(PathBuf::new()),
            key_encryption_key: "".into(),
            previous_key_encryption_keys: Vec::new(),
        },
        signing: SigningSettings::default(),
        audit: AuditSettings::default(),
        telemetry: TelemetrySettings::default(),
        limits: Limits {
            concurrency: 1,
            connections: 1,
            body_bytes: 1,
            request_timeout: Duration::from_secs(1),
            policy_timeout: Duration::from_secs(1),
            refusals_per_minute: 1,
            exchanges_per_minute: 1,
            ..Limits::default()
        },
        zone: TimeZone::get("Europe/Berlin").unwrap(),
        denials: DenialDetail::Reasons,
        policies: PathBuf::new(),
        operations: crate::config::Operations::default(),
        sources,
    }
}

/// `config` with the one table `table`.
fn with_table(mut config: Config, table: TargetTable) -> Config {
    config.tables.insert(table.name.clone(), Arc::new(table));
    config
}

fn gatherer(config: &Config) -> Gatherer {
    Gatherer::new(config, Clock::manual(friday_night())).unwrap()
}

async fn gather(gatherer: &Gatherer, ask: &Ask) -> Result<Facts, Refusal> {
    let decision = DecisionId::new(0, &random_bytes().unwrap());
    let caller = caller("token", friday_night());
    gatherer.gather(caller, None, ask, decision).await.map_err(|failed| {
        assert_eq!(failed.caller.principal().as_str(), "github:repository:1234");
        failed.refusal
    })
}

/// Gathers for `ask` by a configuration that has nothing but `role`.
async fn gather_for(role: Role, ask: &Ask) -> Result<Facts, Refusal> {
    gather(&gatherer(&config(role, BTreeMap::new())), ask).await
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.into())
}

fn ask() -> Ask {
    testing::ask(&testing::role())
}
