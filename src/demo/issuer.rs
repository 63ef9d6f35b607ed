//! An OIDC issuer for the demo: it really signs CI-shaped tokens, on a loopback port, with a key made at start.
//!
//! It vouches for anybody who asks: never configure it anywhere else.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Json, Router};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::DemoError;
use crate::clock::{Clock, random_bytes};
use crate::signing::{Keyring, Purpose, Sealer, SigningAlgorithm, first_keys};

/// How long its tokens live, seconds; as GitHub's do.
const TOKEN_SECONDS: i64 = 300;

/// A platform whose tokens the issuer imitates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum TokenProfile {
    /// A GitHub Actions job.
    #[value(name = "github")]
    GitHub,
    /// A GitLab CI job.
    #[value(name = "gitlab")]
    GitLab,
    /// A Kubernetes service account.
    Kubernetes,
}

/// What to put into a token.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// Whose shape.
    pub profile: TokenProfile,
    /// The audience.
    pub audience: String,
    /// Claims that replace or add to the profile's.
    #[serde(default)]
    pub claims: Map<String, Value>,
}

struct Issuer {
    url: String,
    keyring: Keyring,
    clock: Clock,
}

/// Starts the issuer on a loopback port, 0 for any free one, and gives its URL.
///
/// # Errors
/// The port is taken, or there is no key.
pub(super) async fn start(port: u16, clock: Clock) -> Result<String, DemoError> {
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let keyring = fresh_keyring(&clock)?;
    let issuer = Arc::new(Issuer { url: url.clone(), keyring, clock });
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(jwks))
        .route("/token", post(token))
        .layer(from_fn_with_state(Arc::clone(&issuer), own_host))
        .with_state(issuer);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the demo issuer stopped");
        }
    });
    Ok(url)
}

/// A keyring of the issuer's own; it shares nothing with the broker's.
fn fresh_keyring(clock: &Clock) -> Result<Keyring, DemoError> {
    use base64::Engine;
    let secret = base64::engine::general_purpose::STANDARD.encode(random_bytes::<32>()?);
    let sealer = Sealer::new(&secret.into())?;
    let now = clock.now();
    Ok(Keyring::open(&first_keys(&[], &sealer, now)?, &sealer, now)?)
}

/// Answers only to its own address: a web page whose name was made to resolve to this machine (DNS rebinding) sends
/// that name, and must not get tokens by the browser's hand.
async fn own_host(
    State(issuer): State<Arc<Issuer>>,
    request: Request,
    next: Next,
) -> Result<Response, StatusCode> {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    if host.is_some() && host == issuer.url.strip_prefix("http://") {
        Ok(next.run(request).await)
    } else {
        Err(StatusCode::MISDIRECTED_REQUEST)
    }
}

async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Json(json!({ "issuer": issuer.url, "jwks_uri": format!("{}/jwks", issuer.url) }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>) -> String {
    issuer.keyring.jwks(Purpose::Credentials).to_string()
}

async fn token(
    State(issuer): State<Arc<Issuer>>,
    Json(request): Json<TokenRequest>,
) -> Result<String, StatusCode> {
    let now = issuer.clock.now().as_second();
    let unique: [u8; 8] = random_bytes().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    let mut claims = claims(request.profile);
    let standard = json!({
        "iss": issuer.url, "aud": request.audience, "iat": now, "nbf": now, "exp": now + TOKEN_SECONDS,
        "jti": format!("{:016x}", u64::from_be_bytes(unique)),
    });
    for layer in [standard, Value::Object(request.claims)] {
        if let Value::Object(layer) = layer {
            claims.extend(layer);
        }
    }
    let (purpose, algorithm) = (Purpose::Credentials, SigningAlgorithm::Rs256);
    let signed = issuer.keyring.sign_jwt_with(purpose, algorithm, "JWT", &claims).await;
    signed.map(|token| token.expose_secret().to_owned()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Claims as the platform documents them, of an organisation that does not exist.
fn claims(profile: TokenProfile) -> Map<String, Value> {
    let claims = match profile {
        TokenProfile::GitHub => json!({
            "sub": "repo:acme/shop:environment:preview",
            "repository": "acme/shop", "repository_id": "70107786",
            "repository_owner": "acme", "repository_owner_id": "65",
            "repository_visibility": "private",
            "ref": "refs/heads/main", "ref_type": "branch", "sha": "0f3a1c5b7d9e2468ace013579bdf02468ace1357",
            "environment": "preview",
            "workflow": "deploy", "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
            "job_workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
            "actor": "robin", "actor_id": "12", "event_name": "push",
            "run_id": "2033", "run_number": "10", "run_attempt": "1", "runner_environment": "github-hosted",
        }),
        TokenProfile::GitLab => json!({
            "sub": "project_path:acme/shop:ref_type:branch:ref:main",
            "namespace_id": "72", "namespace_path": "acme",
            "project_id": "20", "project_path": "acme/shop", "project_visibility": "private",
            "user_id": "1", "user_login": "robin", "pipeline_id": "574", "pipeline_source": "push", "job_id": "302",
            "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
            "environment": "preview", "environment_protected": "false",
            "runner_id": 1, "runner_environment": "self-hosted",
            "sha": "0f3a1c5b7d9e2468ace013579bdf02468ace1357",
            "ci_config_ref_uri": "gitlab.example/acme/shop//.gitlab-ci.yml@refs/heads/main",
        }),
        TokenProfile::Kubernetes => json!({
            "sub": "system:serviceaccount:shop:deployer",
            "kubernetes.io": {
                "namespace": "shop",
                "serviceaccount": { "name": "deployer", "uid": "0b0b1c52-9b1f-4c0d-8f0e-3a5a2a1f7d11" },
                "pod": { "name": "deployer-7c9d", "uid": "9d6f1f70-2f0e-4f6a-9c60-5a0a3c1b8e22" },
            },
        }),
    };
    match claims {
        Value::Object(claims) => claims,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn asked_as(host: &str, url: &str) -> String {
        let address = url.strip_prefix("http://").unwrap();
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let body = r#"{"profile":"github","audience":"https://tollgate.example"}"#;
        let head = format!(
            "POST /token HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
             connection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn s_05_a_page_rebound_to_this_machine_gets_no_token() {
        let url = start(0, Clock::system()).await.unwrap();
        let own = url.strip_prefix("http://").unwrap();
        assert!(asked_as(own, &url).await.starts_with("HTTP/1.1 200"));
        let port = own.rsplit(':').next().unwrap();
        for other in [format!("evil.example:{port}"), format!("localhost:{port}"), "127.0.0.1".to_owned()] {
            assert!(asked_as(&other, &url).await.starts_with("HTTP/1.1 421"), "{other}");
        }
    }
}
