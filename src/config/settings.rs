//! `tollgate.toml`: the server, its store, and what applies to all roles.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::SecretString;

use super::sink::Sink;
use super::{Retention, SigningSettings, StorePlace, TelemetrySettings, WorkloadApiSettings};
use crate::domain::{BlockKind, FactKey, IssuerName, IssuerUrl, Operation, PackageName, TenantName};
use crate::net::{ClientAuthorities, ClientName};

/// The whole of `tollgate.toml`.
#[derive(Debug)]
pub struct Settings {
    /// `[server]`.
    pub server: ServerSettings,
    /// `[workload_api]`: the SPIFFE agent, if there is one.
    pub workload_api: Option<WorkloadApiSettings>,
    /// `[store]`.
    pub store: StoreSettings,
    /// `[signing.<purpose>]`.
    pub signing: SigningSettings,
    /// `[audit]`.
    pub audit: AuditSettings,
    /// `[telemetry]`.
    pub telemetry: TelemetrySettings,
    /// `[limits]`.
    pub limits: Limits,
    /// Time zone of `input.context.time`, an IANA name; UTC unless written.
    pub zone: jiff::tz::TimeZone,
    /// How much of a denial the caller sees; reasons unless written.
    pub denials: DenialDetail,
    /// Folder of Rego packages, `../policies` beside the configuration directory unless written.
    pub policies: PathBuf,
    /// `[operations]`.
    pub operations: Operations,
    /// `[sources.<name>]`: verified facts over HTTP.
    pub sources: BTreeMap<String, FactSource>,
    /// `[blocks]`.
    pub blocks: BlockSettings,
    /// `[webhooks.<name>]`: alerts that may set blocks.
    pub webhooks: BTreeMap<String, Webhook>,
}

impl Settings {
    /// The authorities that vouch for any client with a certificate.
    pub fn client_authorities(&self) -> impl Iterator<Item = &ClientAuthorities> {
        self.webhooks.values().filter_map(|webhook| match &webhook.auth {
            WebhookAuth::Certificate(clients) => Some(&clients.authorities),
            WebhookAuth::Hmac(_) | WebhookAuth::Bearer(_) => None,
        })
    }
}

/// `[server]`: the one section that `TOLLGATE_SERVER__…` may override.
#[derive(Debug)]
pub struct ServerSettings {
    /// The public URL: issuer of the credentials handed out; `{url}/federation` issues to targets.
    pub url: IssuerUrl,
    /// Address to listen on; `127.0.0.1:8420` unless written.
    pub listen: SocketAddr,
    /// Address for operators: metrics and the detailed readiness are then served there only.
    pub operations_listen: Option<SocketAddr>,
    /// Address at which the server shows its SVID, beside the other: what callers use is served at both.
    pub spiffe_listen: Option<SocketAddr>,
    /// Certificate and key; none serves plain HTTP, on loopback or behind a proxy that is named.
    pub tls: Option<TlsSettings>,
    /// Proxies whose `Forwarded`/`X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Tenant of roles and issuers that name none; `default` unless written.
    pub tenant: TenantName,
    /// Unix socket for administration; beside the SQLite file unless written, and needed with PostgreSQL.
    pub admin_socket: Option<PathBuf>,
}

impl ServerSettings {
    /// True if a listener shows the SVID.
    pub const fn shows_svid(&self) -> bool {
        self.spiffe_listen.is_some() || matches!(self.tls, Some(TlsSettings::WorkloadApi))
    }
}

/// A server certificate.
#[derive(Debug)]
pub enum TlsSettings {
    /// In files, read again on reload.
    Files(TlsFiles),
    /// The SVID that the Workload API gives, and each that follows it.
    WorkloadApi,
}

/// A certificate and its key in files.
#[derive(Debug)]
pub struct TlsFiles {
    /// PEM chain, leaf first.
    pub certificate: PathBuf,
    /// PEM private key.
    pub key: PathBuf,
}

/// `[store]`.
#[derive(Debug)]
pub struct StoreSettings {
    /// Where the ledger is kept.
    pub place: StorePlace,
    /// 32 random bytes, base64, that seal keys and handles in the store.
    pub key_encryption_key: SecretString,
    /// Former ones, which open what they sealed until `tollgate keys rewrap` has sealed it anew.
    pub previous_key_encryption_keys: Vec<SecretString>,
}

/// `[audit]`: the copies of the audit chain.
#[derive(Debug, Default)]
pub struct AuditSettings {
    /// Write each event to standard output.
    pub stdout: bool,
    /// Append each event to this file.
    pub file: Option<PathBuf>,
    /// How long the chain is kept, with what it is about; for ever unless written.
    pub retention: Option<Retention>,
    /// `[audit.sinks.<name>]`.
    pub sinks: BTreeMap<String, Sink>,
}

/// `[limits]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Requests in flight before the server sheds load; 256 unless written.
    pub concurrency: usize,
    /// Connections open at once; 4096 unless written.
    pub connections: usize,
    /// Largest request body, bytes; 65,536 unless written.
    pub body_bytes: usize,
    /// Longest a request may take; 30 s unless written.
    pub request_timeout: Duration,
    /// Longest a policy evaluation may take, all packages together; 200 ms unless written.
    pub policy_timeout: Duration,
    /// Refusal records per principal and minute, 60 unless written; more are aggregated.
    pub refusals_per_minute: u32,
    /// Exchanges per principal and minute; 120 unless written.
    pub exchanges_per_minute: u32,
    /// Exchanges per tenant and minute, without those of roles on call; 30,000 unless written.
    pub tenant_exchanges_per_minute: u32,
    /// Allowed exchanges per role and minute, where the role's file says nothing else; 6,000 unless written.
    pub role_exchanges_per_minute: u32,
    /// Allowed exchanges per tenant and minute for its roles on call together; 600 unless written.
    pub on_call_exchanges_per_minute: u32,
    /// Look-ups (`whoami`, decisions) per principal and minute; 120 unless written.
    pub lookups_per_minute: u32,
    /// Look-ups and requests about leases per address and minute, whoever asks; 6,000 unless written.
    pub peer_lookups_per_minute: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 256,
            connections: 4096,
            body_bytes: 65_536,
            request_timeout: Duration::from_secs(30),
            policy_timeout: Duration::from_millis(200),
            refusals_per_minute: 60,
            exchanges_per_minute: 120,
            tenant_exchanges_per_minute: 30_000,
            role_exchanges_per_minute: 6_000,
            on_call_exchanges_per_minute: 600,
            lookups_per_minute: 120,
            peer_lookups_per_minute: 6_000,
        }
    }
}

/// `[operations]`: who may do what else than ask for a credential.
#[derive(Debug, Default)]
pub struct Operations {
    /// The packages that decide each operation; one that is not here is denied to everybody.
    pub packages: BTreeMap<Operation, Vec<PackageName>>,
    /// Operations in which identities of `server.tenant` reach every tenant.
    pub all_tenants: BTreeSet<Operation>,
}

/// `[blocks]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BlockSettings {
    /// Tell a blocked caller the blocker's reason; false unless written.
    pub tell_reason: bool,
}

/// An alert's way in: who may send it, and what it may block.
#[derive(Debug)]
pub struct Webhook {
    /// Its name, the last part of its path.
    pub name: String,
    /// How the sender proves who it is.
    pub auth: WebhookAuth,
    /// What it may block, and the JSON pointer to the value of each in the alert.
    pub subjects: BTreeMap<BlockKind, String>,
    /// JSON pointer to the text that becomes the reason; none says only which webhook it was.
    pub reason: Option<String>,
    /// How long its blocks hold.
    pub duration: Duration,
    /// Where its blocks hold; none means in every tenant.
    pub tenant: Option<TenantName>,
}

/// How a webhook's sender proves who it is.
#[derive(Debug)]
pub enum WebhookAuth {
    /// HMAC-SHA256 over time and body by this secret: what is recorded on the way cannot be used for anything else, or later.
    Hmac(SecretString),
    /// The secret itself as a bearer token, for senders that cannot sign: whoever reads one message can write any.
    Bearer(SecretString),
    /// A client certificate: its key never leaves the sender.
    Certificate(AllowedClients),
}

/// Who may send with a client certificate.
#[derive(Debug)]
pub struct AllowedClients {
    /// Who vouches for them; nobody else does.
    pub authorities: ClientAuthorities,
    /// The names of which a certificate has to have one, exactly.
    pub names: BTreeSet<ClientName>,
}

/// How much of a denial the caller sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DenialDetail {
    /// Code and decision id.
    None,
    /// Also the authors' messages and fixes.
    Reasons,
    /// Also packages and rule ids.
    Full,
}

/// A verified fact source over HTTP.
#[derive(Debug)]
pub struct FactSource {
    /// URL template: `{attribute}` takes a verified attribute, `{declared.key}` a declared one, percent-encoded;
    /// `{attribute:path}` keeps its slashes.
    pub url: String,
    /// How Tollgate authenticates.
    pub auth: Option<SourceAuth>,
    /// Issuer entries whose identities it knows; it is asked about no others. All of them if not written.
    pub issuers: Option<BTreeSet<IssuerName>>,
    /// JSON pointer of each fact in the answer.
    pub facts: BTreeMap<FactKey, String>,
    /// Longest the source may take; 2 s unless written.
    pub timeout: Duration,
    /// Largest answer, bytes; 65,536 unless written.
    pub max_bytes: usize,
    /// How long an answer is kept; 30 s unless written.
    pub cache: Duration,
    /// PEM authorities that vouch for it beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Private networks that the URL may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

/// A header that authenticates Tollgate to a source.
#[derive(Debug)]
pub struct SourceAuth {
    /// Header name.
    pub header: String,
    /// Header value.
    pub value: SecretString,
}
