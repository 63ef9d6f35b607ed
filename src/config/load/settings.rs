//! `tollgate.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use jiff::tz::TimeZone;

use super::known::{SourceName, WebhookName};
use super::{Around, operations, server, signing, source, store, telemetry, webhook};
use crate::config::reader::Reader;
use crate::config::{
    AuditSettings, BlockSettings, DenialDetail, FactSource, Limits, Operations, ServerSettings, Settings,
    SigningSettings, StoreSettings, TelemetrySettings, Webhook,
};
use crate::domain::TenantName;

/// `tollgate.toml` so far as it could be read.
#[derive(Default)]
pub(super) struct Draft {
    /// `[server]`.
    pub(super) server: Option<ServerSettings>,
    /// `[sources.<name>]`; a broken one is there without a value.
    pub(super) sources: BTreeMap<SourceName, Option<FactSource>>,
    store: Option<StoreSettings>,
    signing: Option<SigningSettings>,
    audit: AuditSettings,
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
            store: self.store?,
            signing: self.signing?,
            audit: self.audit,
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
    let server = r.section("server", "a table", |r| server::server(r, around)).flatten();
    let proxied = server.as_ref().is_some_and(|server| !server.trusted_proxies.is_empty());
    let draft = Draft {
        server,
        store: r.section("store", "a table", |r| store::store(r, around)).flatten(),
        signing: r.section("signing", "a table", |r| signing::signing(r, around)).flatten(),
        audit: r.section("audit", "a table", |r| audit(r, around)).unwrap_or_default(),
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
    draft
}

fn audit(r: &mut Reader<'_>, around: &Around<'_>) -> AuditSettings {
    let file = r.optional::<PathBuf>("file", "a path, such as \"/var/log/tollgate/audit.jsonl\"");
    AuditSettings { stdout: r.flag("stdout"), file: file.map(|file| around.directory.join(file)) }
}

fn limits(r: &mut Reader<'_>) -> Limits {
    let seconds = |from, to| Duration::from_secs(from)..=Duration::from_secs(to);
    let millis = |from, to| Duration::from_millis(from)..=Duration::from_millis(to);
    let number = "a whole number";
    Limits {
        concurrency: r.integer("concurrency", number, &(1..=65_536)).unwrap_or(256),
        connections: r.integer("connections", number, &(1..=1_000_000)).unwrap_or(4096),
        body_bytes: r.integer("body_bytes", number, &(1024..=1_048_576)).unwrap_or(65_536),
        request_timeout: r.duration("request_timeout", "\"30s\"", Duration::from_secs(30), &seconds(1, 300)),
        policy_timeout: r.duration(
            "policy_timeout",
            "\"200ms\"",
            Duration::from_millis(200),
            &millis(1, 10_000),
        ),
        refusals_per_minute: r.integer("refusals_per_minute", number, &(1..=100_000)).unwrap_or(60),
        exchanges_per_minute: r.integer("exchanges_per_minute", number, &(1..=1_000_000)).unwrap_or(120),
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
