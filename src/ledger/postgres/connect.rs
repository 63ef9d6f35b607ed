//! Connections: where to, how encrypted, and with which settings, read back.

use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use serde::Serialize;
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{ConnectOptions, PgConnection};

use super::background::Background;
use crate::config::{PostgresPlace, WorkloadApiSettings};
use crate::ledger::error::{LedgerError, Unavailable};
use crate::net::{Svid, WorkloadApi};

/// Variables that the driver would obey and nothing here can overrule; the others are overruled.
const VARIABLES: [&str; 3] = ["PGOPTIONS", "PGSSLCERT", "PGSSLKEY"];

/// Longest wait for a connection.
const PATIENCE: Duration = Duration::from_secs(8);

/// Statements kept prepared per connection; every one of ours fits.
const STATEMENTS: usize = 128;

/// Bounds every wait of a session. A transaction that its client forgot gives its locks back before whoever waits for them,
/// such as a block, gives up.
const BOUNDS: &str = "SET client_min_messages = 'warning'; SET lock_timeout = '5s'; SET statement_timeout = '10s'; \
                      SET idle_in_transaction_session_timeout = '4s'";

/// How durable a commit to a database server is, as it says itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerDurability {
    /// `fsync`: always `on`.
    pub fsync: String,
    /// `full_page_writes`: always `on`.
    pub full_page_writes: String,
    /// `synchronous_commit` of our session: `on` or `remote_apply`.
    pub synchronous_commit: String,
    /// `server_version`.
    pub server_version: String,
}

/// How to connect to a database now: the certificate that it is shown changes.
#[derive(Clone)]
pub(super) struct Way {
    options: PgConnectOptions,
    workload: Option<WorkloadApi>,
}

impl Way {
    /// The way to `place`. If it wants to see an SVID, the agent is followed on `background`.
    ///
    /// # Errors
    /// [`LedgerError::Environment`].
    pub(super) fn new(place: &PostgresPlace, background: &Background) -> Result<Self, LedgerError> {
        let follow = |WorkloadApiSettings { endpoint, spiffe_id }: &WorkloadApiSettings| {
            background.inside(|| WorkloadApi::follow(endpoint, spiffe_id.clone()))
        };
        Ok(Self { options: options(place)?, workload: place.client_certificate.as_ref().map(follow) })
    }

    /// The SVID of now, if one is to be shown.
    pub(super) fn svid(&self) -> Option<Arc<Svid>> {
        self.workload.as_ref()?.svid()
    }

    /// The options of now, without waiting; with `svid`, if one is shown.
    pub(super) fn options(&self, svid: Option<&Svid>) -> PgConnectOptions {
        let options = self.options.clone();
        match svid {
            Some(svid) => options
                .ssl_client_cert_from_pem(svid.chain_pem())
                .ssl_client_key_from_pem(svid.key_pem().expose_secret()),
            None => options,
        }
    }

    /// The options of now, once there is an SVID if one is to be shown.
    async fn now(&self) -> Result<PgConnectOptions, LedgerError> {
        let Some(workload) = &self.workload else { return Ok(self.options.clone()) };
        let svid = workload.first_svid(PATIENCE).await;
        let svid = svid.map_err(|error| Unavailable::Unreachable(error.to_string()))?;
        Ok(self.options(Some(&svid)))
    }
}

/// How to connect to `place`; nothing of it comes from the environment.
fn options(place: &PostgresPlace) -> Result<PgConnectOptions, LedgerError> {
    if let Some(set) = VARIABLES.into_iter().find(|name| std::env::var_os(name).is_some()) {
        return Err(LedgerError::Environment(set));
    }
    let tls = if place.is_encrypted() { PgSslMode::VerifyFull } else { PgSslMode::Disable };
    let password = place.password.as_ref().map_or("", ExposeSecret::expose_secret);
    let options = PgConnectOptions::new_without_pgpass()
        .host(&place.host)
        .port(place.port)
        .username(&place.user)
        .password(password)
        .database(&place.database)
        .application_name("tollgate")
        .statement_cache_capacity(STATEMENTS)
        .ssl_mode(tls)
        .disable_statement_logging();
    Ok(match &place.ca {
        Some(ca) => options.ssl_root_cert(ca),
        // An empty list takes the place of whatever the environment names.
        None => options.ssl_root_cert_from_pem(Vec::new()),
    })
}

/// Connects within a bounded time.
pub(super) async fn connect(way: &Way) -> Result<PgConnection, LedgerError> {
    let options = way.now().await?;
    let connected = tokio::time::timeout(PATIENCE, options.connect()).await;
    Ok(connected.map_err(|_| Unavailable::Unreachable("it does not answer".to_owned()))??)
}

/// Connects for writing; the settings that a commit's durability rests on are asserted.
pub(super) async fn writable(way: &Way) -> Result<(PgConnection, ServerDurability), LedgerError> {
    let mut connection = connect(way).await?;
    sqlx::raw_sql(BOUNDS).execute(&mut connection).await?;
    require(&mut connection, "server_encoding", "UTF8").await?;
    let fsync = require(&mut connection, "fsync", "on").await?;
    let full_page_writes = require(&mut connection, "full_page_writes", "on").await?;
    let mut synchronous_commit = setting(&mut connection, "synchronous_commit").await?;
    if synchronous_commit != "remote_apply" {
        sqlx::raw_sql("SET synchronous_commit = 'on'").execute(&mut connection).await?;
        synchronous_commit = require(&mut connection, "synchronous_commit", "on").await?;
    }
    let server_version = setting(&mut connection, "server_version").await?;
    Ok((connection, ServerDurability { fsync, full_page_writes, synchronous_commit, server_version }))
}

/// Makes a connection one for reading only.
pub(super) async fn for_reading(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::raw_sql(BOUNDS).execute(&mut *connection).await?;
    sqlx::raw_sql("SET default_transaction_read_only = 'on'").execute(connection).await?;
    Ok(())
}

async fn setting(connection: &mut PgConnection, name: &str) -> sqlx::Result<String> {
    sqlx::query_scalar("SELECT current_setting($1)").bind(name).fetch_one(connection).await
}

async fn require(
    connection: &mut PgConnection,
    name: &'static str,
    wanted: &'static str,
) -> Result<String, LedgerError> {
    let reported = setting(connection, name).await?;
    if reported == wanted {
        return Ok(reported);
    }
    Err(LedgerError::Setting { setting: name, wanted, reported })
}
