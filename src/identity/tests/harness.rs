//! An issuer entry, an issuer that answers over HTTP, and a memory.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::signer::Signer;
use crate::clock::Clock;
use crate::config::{Algorithm, AttributeRule, Issuer, KeySource, Possession, Profile, Replay};
use crate::domain::{Code, IssuerUrl, Scalar, Trust};
use crate::identity::{BoxFuture, Identity, Remembered};

pub(in crate::identity) const NOW: i64 = 1_800_000_000;
pub(in crate::identity) const AUDIENCE: &str = "https://tollgate.example";

pub(in crate::identity) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// An entry for `https://issuer.example` with no keys, skew 30 s, greatest age 600 s.
pub(in crate::identity) fn entry(name: &str) -> Issuer {
    Issuer {
        name: name.parse().unwrap(),
        url: "https://issuer.example".parse().unwrap(),
        audience: AUDIENCE.into(),
        audience_list: false,
        profile: Profile::Generic { principal_claim: "sub".into(), shared: false, trust: Trust::Unknown },
        keys: KeySource::Discovery { jwks_hosts: Vec::new() },
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        require: Vec::new(),
        tenant: AttributeRule::Constant(Scalar::Text("acme".into())),
        attributes: std::collections::BTreeMap::default(),
        replay: Replay::Once,
        possession: Possession::Accepted,
        max_age: Duration::from_mins(10),
        skew: Duration::from_secs(30),
        security_events: None,
        runner: None,
        ca_file: None,
        allow_networks: Vec::new(),
        insecure_loopback: false,
    }
}

/// Claims of a fresh token for `entry`.
pub(in crate::identity) fn claims(entry: &Issuer) -> Value {
    json!({
        "iss": entry.url.as_str(), "aud": entry.audience, "sub": "service-1",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300,
    })
}

pub(in crate::identity) fn key_set(signers: &[&Signer]) -> Value {
    json!({"keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>()})
}

pub(in crate::identity) fn own_issuers() -> [IssuerUrl; 2] {
    ["https://tollgate.example", "https://tollgate.example/federation"].map(|url| url.parse().unwrap())
}

pub(in crate::identity) fn identity(entries: Vec<Issuer>, memory: &Arc<Memory>, clock: &Clock) -> Identity {
    let remembered: Arc<dyn Remembered> = Arc::<Memory>::clone(memory);
    Identity::new(entries.into_iter().map(Arc::new), own_issuers(), remembered, clock.clone(), None).unwrap()
}

pub(in crate::identity) async fn code(identity: &Identity, token: String) -> Result<(), Code> {
    identity.authenticate(&token.into()).await.map(|_| ()).map_err(|refusal| refusal.code)
}

/// Lets other tasks run until `reached`; panics if that takes ten seconds, so that a broken rule fails and does not hang.
pub(in crate::identity) async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("reached in time");
}

/// Last good keys in memory.
#[derive(Default)]
pub(in crate::identity) struct Memory(Mutex<HashMap<IssuerUrl, (String, Timestamp)>>);

impl Remembered for Memory {
    fn last_keys<'a>(&'a self, issuer: &'a IssuerUrl) -> BoxFuture<'a, Option<(String, Timestamp)>> {
        let known = self.0.lock().unwrap().get(issuer).cloned();
        Box::pin(std::future::ready(known))
    }

    fn keep_keys<'a>(
        &'a self,
        issuer: &'a IssuerUrl,
        jwks: &'a str,
        fetched: Timestamp,
    ) -> BoxFuture<'a, bool> {
        self.0.lock().unwrap().insert(issuer.clone(), (jwks.to_owned(), fetched));
        Box::pin(std::future::ready(true))
    }
}

impl Memory {
    pub(in crate::identity) fn kept(&self, issuer: &IssuerUrl) -> Option<(String, Timestamp)> {
        self.0.lock().unwrap().get(issuer).cloned()
    }
}

/// How the issuer answers.
#[derive(Debug, Clone)]
pub(in crate::identity) enum Mode {
    Good,
    Down,
    Html,
    Huge,
    /// Answers nothing until the mode changes.
    Hang,
    OtherIssuer,
    RedirectDiscovery(String),
    RedirectKeys(String),
    JwksUri(String),
}

/// A running issuer; it ends with the test's runtime.
pub(in crate::identity) struct Server {
    pub(in crate::identity) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    url: String,
    keys: Mutex<Value>,
    mode: tokio::sync::watch::Sender<Mode>,
    discoveries: AtomicUsize,
    key_sets: AtomicUsize,
}

impl Server {
    pub(in crate::identity) async fn start(signers: &[&Signer]) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tenant", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            url: url.clone(),
            keys: Mutex::new(key_set(signers)),
            mode: tokio::sync::watch::Sender::new(Mode::Good),
            discoveries: AtomicUsize::new(0),
            key_sets: AtomicUsize::new(0),
        });
        let app = axum::Router::new()
            .route("/tenant/.well-known/openid-configuration", get(discovery))
            .route("/tenant/keys", get(keys))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, shared }
    }

    pub(in crate::identity) fn publish(&self, signers: &[&Signer]) {
        *self.shared.keys.lock().unwrap() = key_set(signers);
    }

    pub(in crate::identity) fn set(&self, mode: Mode) {
        self.shared.mode.send_replace(mode);
    }

    /// Requests for the discovery document and for the key set.
    pub(in crate::identity) fn asked(&self) -> (usize, usize) {
        (self.shared.discoveries.load(Ordering::SeqCst), self.shared.key_sets.load(Ordering::SeqCst))
    }

    /// An entry for this issuer.
    pub(in crate::identity) fn entry(&self, name: &str) -> Issuer {
        Issuer { url: self.url.parse().unwrap(), insecure_loopback: true, ..entry(name) }
    }
}

impl Shared {
    /// The mode, once it is one that answers.
    async fn answering(&self) -> Mode {
        let mut mode = self.mode.subscribe();
        mode.wait_for(|mode| !matches!(mode, Mode::Hang)).await.unwrap().clone()
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    shared.discoveries.fetch_add(1, Ordering::SeqCst);
    let own = json!({"issuer": shared.url, "jwks_uri": format!("{}/keys", shared.url)});
    match shared.answering().await {
        Mode::Down => http::StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Mode::Html => axum::response::Html("<html><body>Sign in</body></html>").into_response(),
        Mode::Huge => " ".repeat(1024 * 1024).into_response(),
        Mode::RedirectDiscovery(to) => Redirect::temporary(&to).into_response(),
        Mode::OtherIssuer => {
            axum::Json(json!({"issuer": "https://evil.example", "jwks_uri": own["jwks_uri"]})).into_response()
        }
        Mode::JwksUri(uri) => axum::Json(json!({"issuer": shared.url, "jwks_uri": uri})).into_response(),
        Mode::Good | Mode::Hang | Mode::RedirectKeys(_) => axum::Json(own).into_response(),
    }
}

async fn keys(State(shared): State<Arc<Shared>>) -> Response {
    shared.key_sets.fetch_add(1, Ordering::SeqCst);
    if let Mode::RedirectKeys(to) = shared.answering().await {
        return Redirect::temporary(&to).into_response();
    }
    let keys = shared.keys.lock().unwrap().clone();
    axum::Json(keys).into_response()
}
