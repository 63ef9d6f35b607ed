//! An OIDC issuer on loopback that really signs, with faults to switch on.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// What goes wrong at the issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// Answers 500.
    Down,
    /// Redirects to another host.
    Redirects,
    /// Answers a web page.
    Html,
    /// Answers after longer than anybody waits.
    Slow,
    /// Answers more than any cap.
    Oversize,
    /// Names another issuer in its discovery document.
    OtherIssuer,
}

struct Key {
    kid: String,
    private: EncodingKey,
    jwk: Value,
}

struct Shared {
    url: String,
    keys: Mutex<Vec<Key>>,
    fault: Mutex<Fault>,
    asked: AtomicUsize,
}

/// A running issuer.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<Shared>);

fn key(kid: &str) -> Key {
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref()).unwrap();
    let point = pair.public_key().as_ref();
    let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    Key {
        kid: kid.to_owned(),
        private: EncodingKey::from_ec_der(pkcs8.as_ref()),
        jwk: json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": kid,
            "x": coordinate(1..33), "y": coordinate(33..65) }),
    }
}

impl Issuer {
    /// Starts an issuer with one key, `k1`.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let shared = Arc::new(Shared {
            url: format!("http://{}", listener.local_addr().unwrap()),
            keys: Mutex::new(vec![key("k1")]),
            fault: Mutex::new(Fault::None),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(jwks))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self(shared)
    }

    pub(crate) fn url(&self) -> &str {
        &self.0.url
    }

    /// Requests for keys or discovery so far.
    pub(crate) fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        *self.0.fault.lock().unwrap() = fault;
    }

    /// Signs with a new key from now on; the old ones are no longer published.
    pub(crate) fn rotate(&self, kid: &str) {
        *self.0.keys.lock().unwrap() = vec![key(kid)];
    }

    /// Signs `claims` as they are with the newest key.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        let keys = self.0.keys.lock().unwrap();
        let newest = keys.last().unwrap();
        sign_with(&newest.private, &newest.kid, claims)
    }

    /// Signs `claims` as a security event token (RFC 8417).
    pub(crate) fn sign_event(&self, claims: &Value) -> String {
        let keys = self.0.keys.lock().unwrap();
        let newest = keys.last().unwrap();
        sign_as("secevent+jwt", &newest.private, &newest.kid, claims)
    }

    /// Signs `claims` under the published `kid` with a key that is not published.
    pub(crate) fn forge(&self, claims: &Value) -> String {
        let kid = self.0.keys.lock().unwrap().last().unwrap().kid.clone();
        sign_with(&key(&kid).private, &kid, claims)
    }

    /// Claims of a GitHub job of `acme/shop` on `main`, issued at `now` for `audience`.
    pub(crate) fn github(&self, audience: &str, now: i64) -> Value {
        static UNIQUE: AtomicUsize = AtomicUsize::new(0);
        json!({
            "iss": self.url(), "aud": audience, "sub": "repo:acme/shop:environment:production",
            "iat": now, "nbf": now, "exp": now + 300,
            "jti": UNIQUE.fetch_add(1, Ordering::SeqCst).to_string(),
            "repository": "acme/shop", "repository_id": "70107786",
            "repository_owner": "acme", "repository_owner_id": "65",
            "ref": "refs/heads/main", "ref_type": "branch", "sha": "0f3a1c5b7d9e2468ace013579bdf02468ace1357",
            "environment": "production", "event_name": "push", "actor": "robin", "actor_id": "12",
            "workflow": "deploy", "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
            "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
            "run_id": "2033", "run_attempt": "1", "runner_environment": "github-hosted",
            "repository_visibility": "private",
        })
    }
}

/// Claims of a projected token of the pod `pod` of service account `runners`, issued by `issuer` at `now` for `audience`
/// (Kubernetes documentation, "Managing Service Accounts").
pub(crate) fn pod(issuer: &Issuer, audience: &str, now: i64, pod: &str) -> Value {
    static UNIQUE: AtomicUsize = AtomicUsize::new(0);
    json!({
        "iss": issuer.url(), "aud": [audience], "sub": "system:serviceaccount:runners:runner",
        "iat": now, "nbf": now, "exp": now + 3600,
        "jti": UNIQUE.fetch_add(1, Ordering::SeqCst).to_string(),
        "kubernetes.io": {
            "namespace": "deploy", "serviceaccount": { "name": "runner", "uid": "0b6f3c1e-1" },
            "pod": { "name": pod, "uid": format!("uid-of-{pod}") }, "node": { "name": "node-1", "uid": "n-1" },
        },
    })
}

fn sign_with(private: &EncodingKey, kid: &str, claims: &Value) -> String {
    sign_as("JWT", private, kid, claims)
}

fn sign_as(typ: &str, private: &EncodingKey, kid: &str, claims: &Value) -> String {
    let header =
        Header { kid: Some(kid.to_owned()), typ: Some(typ.to_owned()), ..Header::new(Algorithm::ES256) };
    jsonwebtoken::encode(&header, claims, private).unwrap()
}

async fn faulty(shared: &Shared) -> Option<Response> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let fault = *shared.fault.lock().unwrap();
    match fault {
        Fault::None | Fault::OtherIssuer => None,
        Fault::Down => Some(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        Fault::Redirects => Some(Redirect::temporary("http://127.0.0.1:9/jwks").into_response()),
        Fault::Html => Some(axum::response::Html("<h1>Sign in</h1>").into_response()),
        Fault::Slow => {
            tokio::time::sleep(Duration::from_mins(2)).await;
            None
        }
        Fault::Oversize => Some("x".repeat(8 << 20).into_response()),
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(fault) = faulty(&shared).await {
        return fault;
    }
    let other = *shared.fault.lock().unwrap() == Fault::OtherIssuer;
    let issuer = if other { "http://127.0.0.1:9" } else { shared.url.as_str() };
    axum::Json(json!({ "issuer": issuer, "jwks_uri": format!("{}/jwks", shared.url) })).into_response()
}

async fn jwks(State(shared): State<Arc<Shared>>) -> Response {
    if let Some(fault) = faulty(&shared).await {
        return fault;
    }
    let keys: Vec<_> = shared.keys.lock().unwrap().iter().map(|key| key.jwk.clone()).collect();
    axum::Json(json!({ "keys": keys })).into_response()
}
