//! `tollgate.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::known::{SinkName, SourceName, WebhookName};
use super::workload::Agent;
use super::{Around, operations, server, signing, sink, source, store, telemetry, webhook, workload};
use crate::config::reader::Reader;
use crate::config::{
    AuditSettings, BlockSettings, DenialDetail, FactSource, Limits, Operations, Retention, ServerSettings,
    Settings, SigningSettings, Sink, StoreSettings, TelemetrySettings, Webhook, WebhookAuth,
};
use crate::domain::TenantName;

/// Most sinks: each reads the store and holds a batch of records.
const MAX_SINKS: usize = 8;
/// Most of anything per minute.
pub(super) const MOST: i64 = 10_000_000;

/// `tollgate.toml` so far as it could be read.
#[derive(Default)]
pub(super) struct Draft {
    /// `[server]`.
    pub(super) server: Option<ServerSettings>,
    /// `[sources.<name>]`; a broken one is there without a value.
    pub(super) sources: BTreeMap<SourceName, Option<FactSource>>,
    /// `[workload_api]`.
    pub(super) agent: Agent,
    store: Option<StoreSettings>,
    signing: Option<SigningSettings>,
    audit: Option<AuditSettings>,
    telemetry: Option<TelemetrySettings>,
    limits: Option<Limits>,
    zone: Option<TimeZone>,
    denials: Option<DenialDetail>,
    policies: PathBuf,
    operations: Operations,
    blocks: BlockSettings,
    webhooks: BTreeMap<WebhookName, Option<Webhook>>,
}

impl Draft {
    /// The default tenant.
    pub(super) fn tenant(&self) -> Option<TenantName> {
        let written = self.server.as_ref().map(|server| server.tenant.clone());
        written.or_else(server::default_tenant)
    }

    /// The settings, if nothing that they need is broken.
    pub(super) fn finish(self) -> Option<Settings> {
        Some(Settings {
            server: self.server?,
            workload_api: match self.agent {
                Agent::Absent => None,
                Agent::Broken => return None,
                Agent::Known(settings) => Some(settings),
            },
            store: self.store?,
            signing: self.signing?,
            audit: self.audit?,
            telemetry: self.telemetry?,
            limits: self.limits?,
            zone: self.zone?,
            denials: self.denials.unwrap_or(DenialDetail::Reasons),
            policies: self.policies,
            operations: self.operations,
            sources: self
                .sources
                .into_iter()
                .map(|(name, source)| Some((name.into(), source?)))
                .collect::<Option<_>>()?,
            blocks: self.blocks,
            webhooks: self
                .webhooks
                .into_iter()
                .map(|(name, webhook)| Some((name.into(), webhook?)))
                .collect::<Option<_>>()?,
        })
    }
}

/// Reads `tollgate.toml`.
pub(super) fn settings(r: &mut Reader<'_>, around: &Around<'_>) -> Draft {
    let policies = r.optional::<PathBuf>("policies", "a path, such as \"../policies\"");
    let expected = "a table, such as [sources.commits]";
    let agent = workload::agent(r);
    let server = r.section("server", "a table", |r| server::server(r, around, agent.is_written())).flatten();
    let store = r.section("store", "a table", |r| store::store(r, around, &agent)).flatten();
    let proxied = server.as_ref().is_some_and(|server| !server.trusted_proxies.is_empty());
    let draft = Draft {
        server,
        agent,
        store,
        signing: r.section("signing", "a table", |r| signing::signing(r, around)).flatten(),
        audit: r.section("audit", "a table", |r| audit(r, around)).flatten(),
        telemetry: r.section("telemetry", "a table", |r| telemetry::telemetry(r, around, proxied)).flatten(),
        limits: r.section("limits", "a table", limits),
        zone: r.section("time", "a table", zone).flatten(),
        denials: r.section("denials", "a table", denials).flatten(),
        policies: around.directory.join(policies.unwrap_or_else(|| "../policies".into())),
        operations: r.section("operations", "a table", operations::operations).unwrap_or_default(),
        sources: r
            .map("sources", expected, |_, field| Some(field.table(|r| source::source(r, around)).flatten())),
        blocks: r
            .section("blocks", "a table", |r| BlockSettings { tell_reason: r.flag("tell_reason") })
            .unwrap_or_default(),
        webhooks: r.map("webhooks", "a table, such as [webhooks.siem]", |name: &WebhookName, field| {
            Some(field.table(|r| webhook::webhook(name.as_str(), r, around)).flatten())
        }),
    };
    if let (Some(server), Some(store)) = (&draft.server, &draft.store)
        && server.admin_socket.is_none()
        && store.place.file().is_none()
    {
        let message = "with PostgreSQL there is no file that the administration socket could lie beside";
        let fix = "write admin_socket = \"/run/tollgate/admin.sock\" into [server]";
        r.refuse("server", "missing_key", message, fix);
    }
    let asks = |(_, webhook): (_, &Option<Webhook>)| {
        webhook.as_ref().is_some_and(|webhook| matches!(webhook.auth, WebhookAuth::Certificate(_)))
    };
    let no_tls = |server: &ServerSettings| server.tls.is_none() && server.spiffe_listen.is_none();
    if draft.server.as_ref().is_some_and(no_tls) && draft.webhooks.iter().any(asks) {
        let message = "client certificates are shown to whoever ends TLS, and that is not this server";
        let fix =
            "add tls = { certificate = \"…\", key = \"…\" } to [server], or another auth to the webhook";
        r.refuse("webhooks", "mtls_without_tls", message, fix);
    }
    draft
}

fn audit(r: &mut Reader<'_>, around: &Around<'_>) -> Option<AuditSettings> {
    let file = r.optional::<PathBuf>("file", "a path, such as \"/var/log/tollgate/audit.jsonl\"");
    let stdout = r.flag("stdout");
    let retention = r.optional::<Retention>("retention", "a time, such as \"400d\"");
    let expected = "a table, such as [audit.sinks.siem]";
    let sinks: BTreeMap<SinkName, Option<Sink>> =
        r.map("sinks", expected, |_, field| Some(field.table(|r| sink::sink(r, around)).flatten()));
    if sinks.len() > MAX_SINKS {
        let message = format!("{} sinks are more than the {MAX_SINKS} that one server feeds", sinks.len());
        r.refuse("sinks", "too_many", &message, "let one receiver pass the records on");
    }
    // A broken sink is not an absent one.
    let sinks = sinks
        .into_iter()
        .map(|(name, sink)| Some((name.as_str().to_owned(), sink?)))
        .collect::<Option<_>>()?;
    Some(AuditSettings { stdout, file: file.map(|file| around.directory.join(file)), retention, sinks })
}

fn limits(r: &mut Reader<'_>) -> Limits {
    let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let millis = |from, to| Duration::from_millis(from)..=Duration::from_millis(to);
    let usual = Limits::default();
    let number = "a whole number";
    let mut per_minute = |key, most, usual| r.integer(key, number, &(1..=most)).unwrap_or(usual);
    let refusals_per_minute = per_minute("refusals_per_minute", 100_000, usual.refusals_per_minute);
    let exchanges_per_minute = per_minute("exchanges_per_minute", MOST, usual.exchanges_per_minute);
    let tenant_exchanges_per_minute =
        per_minute("tenant_exchanges_per_minute", MOST, usual.tenant_exchanges_per_minute);
    let role_exchanges_per_minute =
        per_minute("role_exchanges_per_minute", MOST, usual.role_exchanges_per_minute);
    let on_call_exchanges_per_minute =
        per_minute("on_call_exchanges_per_minute", MOST, usual.on_call_exchanges_per_minute);
    let lookups_per_minute = per_minute("lookups_per_minute", MOST, usual.lookups_per_minute);
    let peer_lookups_per_minute = per_minute("peer_lookups_per_minute", MOST, usual.peer_lookups_per_minute);
    let (request, policy) = (usual.request_timeout, usual.policy_timeout);
    Limits {
        concurrency: r.integer("concurrency", number, &(1..=65_536)).unwrap_or(usual.concurrency),
        connections: r.integer("connections", number, &(1..=1_000_000)).unwrap_or(usual.connections),
        body_bytes: r.integer("body_bytes", number, &(1024..=1_048_576)).unwrap_or(usual.body_bytes),
        request_timeout: r.duration("request_timeout", "\"30s\"", request, &seconds(1, 300)),
        policy_timeout: r.duration("policy_timeout", "\"200ms\"", policy, &millis(1, 10_000)),
        refusals_per_minute,
        exchanges_per_minute,
        tenant_exchanges_per_minute,
        role_exchanges_per_minute,
        on_call_exchanges_per_minute,
        lookups_per_minute,
        peer_lookups_per_minute,
    }
}

/// An IANA time zone.
struct Zone(TimeZone);

/// A name that the machine's time zone database does not have.
struct UnknownZone;

impl fmt::Display for UnknownZone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this machine's time zone database does not have it")
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;
    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        TimeZone::get(text).map(Self).map_err(|_| UnknownZone)
    }
}

fn zone(r: &mut Reader<'_>) -> Option<TimeZone> {
    match r.get("zone", "an IANA time zone, such as \"Europe/Berlin\"") {
        Some(field) => field.parse().map(|Zone(zone)| zone),
        None => Some(TimeZone::UTC),
    }
}

fn denials(r: &mut Reader<'_>) -> Option<DenialDetail> {
    let words =
        [("none", DenialDetail::None), ("reasons", DenialDetail::Reasons), ("full", DenialDetail::Full)];
    r.choice("detail", "\"reasons\"", &words)
}
