//! What the tests of this module share: a point in time, keys, grants, and a server that answers as told.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};

use arc_swap::ArcSwap;
use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::task::JoinHandle;
use tracing_subscriber::fmt::MakeWriter;
use url::Url;

use super::federation::Federation;
use super::template::Values;
use crate::clock::Clock;
use crate::config::{
    AwsRole, AwsScope, AwsTarget, JwtTarget, ProviderRole, Role, ScopeSpec, TargetKind, VaultRole,
    VaultScope, VaultTarget,
};
use crate::domain::{AttributeName, PrincipalKey, ScopeName, TenantName, Ttl};
use crate::facts::testing::{ask, facts, plain_facts, role};
use crate::policy::Grant;
use crate::policy::testing::grant;
use crate::signing::{Keyring, Sealer, SharedKeyring, first_keys};

/// 2026-11-20T18:00:00Z.
pub(super) const NOW: i64 = 1_795_197_600;

pub(super) fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// One keyring for all tests: RSA keys take a while.
pub(super) fn keyring() -> SharedKeyring {
    static KEYRING: OnceLock<SharedKeyring> = OnceLock::new();
    let open = || {
        let sealer = Sealer::new(&STANDARD.encode([7; 32]).into()).unwrap();
        let records = first_keys(&[], &sealer, Timestamp::UNIX_EPOCH).unwrap();
        Arc::new(ArcSwap::from_pointee(Keyring::open(&records, &sealer, now()).unwrap()))
    };
    Arc::clone(KEYRING.get_or_init(open))
}

pub(super) fn federation(clock: Clock) -> Arc<Federation> {
    Arc::new(Federation::new(&"https://tollgate.example".parse().unwrap(), keyring(), clock))
}

/// Header and claims of a compact JWT, not verified.
pub(super) fn claims(token: &SecretString) -> (Value, Value) {
    let mut parts = token.expose_secret().split('.');
    let mut part = || {
        let bytes = URL_SAFE_NO_PAD.decode(parts.next().unwrap()).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    };
    (part(), part())
}

/// An identity with one attribute.
pub(super) struct Identity {
    attributes: BTreeMap<AttributeName, Value>,
    principal: PrincipalKey,
    tenant: TenantName,
}

impl Identity {
    pub(super) fn with(name: &str, value: Value) -> Self {
        let attributes = [(name.parse().unwrap(), value)].into();
        let principal = "github:repository:1234".parse().unwrap();
        Self { attributes, principal, tenant: "default".parse().unwrap() }
    }

    pub(super) fn values(&self) -> Values<'_> {
        Values { row: None, attributes: &self.attributes, principal: &self.principal, tenant: &self.tenant }
    }
}

pub(super) fn jwt_grant() -> Grant {
    grant(plain_facts("token", now()), BTreeMap::default())
}

/// `of` with these scopes, granted for `seconds` from `at`.
pub(super) fn grant_of(
    mut of: Role,
    scopes: impl IntoIterator<Item = (&'static str, ScopeSpec)>,
    target: TargetKind,
    seconds: u64,
    at: Timestamp,
) -> Grant {
    of.scopes = scopes.into_iter().map(|(name, spec)| (name.parse::<ScopeName>().unwrap(), spec)).collect();
    of.default_scopes = of.scopes.keys().cloned().collect::<BTreeSet<_>>();
    let mut asked = ask(&of);
    asked.ttl = Some(Ttl::from_secs(seconds).unwrap());
    grant(facts("token", at, of, target, asked), BTreeMap::default())
}

pub(super) fn aws_scope(actions: &[&str], resources: &[&str]) -> AwsScope {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    AwsScope { actions: own(actions), resources: own(resources), managed: Vec::new() }
}

pub(super) fn aws_role(role_arn: &str) -> Role {
    let settings = AwsRole { role_arn: role_arn.into(), external_id: None, tags: BTreeMap::default() };
    Role { target: "aws".parse().unwrap(), provider: ProviderRole::Aws(settings), ..role() }
}

pub(super) fn aws_target(endpoint: Url, access: crate::config::AwsAccess) -> AwsTarget {
    AwsTarget {
        partition: "aws".into(),
        region: "eu-west-1".into(),
        endpoint: Some(endpoint),
        client_endpoint: None,
        access,
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: true,
    }
}

pub(super) fn vault_role(settings: VaultRole) -> Role {
    Role { target: "vault".parse().unwrap(), provider: ProviderRole::Vault(settings), ..role() }
}

pub(super) fn vault_settings() -> VaultRole {
    VaultRole { login_role: "deploy".into(), uses: None, cidrs: Vec::new() }
}

pub(super) fn vault_target(address: Url) -> VaultTarget {
    VaultTarget {
        address,
        namespace: None,
        mount: "jwt".into(),
        audience: "https://vault.example".into(),
        ca_file: None,
        shows_svid: false,
        spiffe_id: None,
        allow_networks: Vec::new(),
        insecure_loopback: true,
    }
}

pub(super) fn vault_scope(policies: &[&str]) -> ScopeSpec {
    ScopeSpec::Vault(VaultScope { policies: policies.iter().map(|name| (*name).to_owned()).collect() })
}

/// A grant of one Vault scope with these policies, for 15 minutes.
pub(super) fn vault_grant(policies: &[&str]) -> Grant {
    let target = TargetKind::Vault(vault_target("http://127.0.0.1:1".parse().unwrap()));
    grant_of(vault_role(vault_settings()), [("read", vault_scope(policies))], target, 900, now())
}

pub(super) fn jwt_target() -> JwtTarget {
    JwtTarget { audience: "https://api.example".into() }
}

/// What a [`Stub`] was asked.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) headers: http::HeaderMap,
    pub(super) body: String,
}

/// What a [`Stub`] answers.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, &'static str)>,
    pub(super) body: String,
}

pub(super) fn answer(status: u16, body: impl Into<String>) -> Answer {
    Answer { status, headers: Vec::new(), body: body.into() }
}

/// A server on loopback that answers each request with the next of its answers, the last one for ever.
pub(super) struct Stub {
    pub(super) url: Url,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

impl Stub {
    pub(super) async fn start(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: Vec<Answer> = answers.into_iter().collect();
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let log = Arc::clone(&seen);
        let handler = move |request: Request| {
            let (log, answers) = (Arc::clone(&log), answers.clone());
            async move {
                let (parts, body) = request.into_parts();
                let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
                let mut log = log.lock().unwrap();
                let answer = &answers[log.len().min(answers.len() - 1)];
                log.push(Seen {
                    path: parts.uri.path().to_owned(),
                    headers: parts.headers,
                    body: String::from_utf8(body.to_vec()).unwrap(),
                });
                let response = Response::builder().status(answer.status);
                let response = answer.headers.iter().fold(response, |r, (key, value)| r.header(*key, *value));
                response.body(axum::body::Body::from(answer.body.clone())).unwrap()
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let server = tokio::spawn(async move {
            axum::serve(listener, Router::new().fallback(handler)).await.unwrap();
        });
        Self { url, seen, server }
    }

    /// All requests so far.
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Everything that is logged.
#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;
    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Runs `work` with tracing turned all the way up, and gives what was logged beside its output.
pub(super) async fn traced<T>(work: impl Future<Output = T>) -> (T, String) {
    let captured = Captured::default();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(captured.clone())
        .finish();
    // The runtime of a test has one thread: the guard covers the spawned tasks too.
    let guard = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log works");
    let output = work.await;
    drop(guard);
    let log = String::from_utf8_lossy(&captured.0.lock().unwrap()).into_owned();
    assert!(log.contains("the log works"));
    (output, log)
}
