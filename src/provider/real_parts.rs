//! Real servers for tests: an `OpenBao` and an AWS that enforces its policies, each started for one test and ended with it.
//!
//! A test that needs one and cannot have it fails: what is skipped is not tested.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::{HeaderMap, Method};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;

use super::testing::{Stub, answer, keyring};
use crate::clock::Clock;
use crate::domain::AwsKeys;
use crate::net::{Client, Request, Response, Rules};
use crate::signing::Purpose;

/// Longest wait for a server's first good answer.
const START: Duration = Duration::from_secs(30);

/// A process that ends with its test; by its own id, so that no other is hit.
struct Part(Child);

impl Drop for Part {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The part's program: where `variable` says, or where `tests/run` puts it.
fn program(variable: &str, name: &str) -> PathBuf {
    let default = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/parts/bin").join(name);
    let path = std::env::var_os(variable).map_or(default, PathBuf::from);
    assert!(path.exists(), "no {name} at {}: run tests/run once, or set {variable}", path.display());
    path
}

/// A port that is free now; whoever starts on it may lose it to another, and then fails loudly.
fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn start(command: &mut Command) -> Part {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    Part(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

fn client() -> Client {
    let rules = Rules {
        allow_networks: Vec::new(),
        insecure_loopback: true,
        extra_roots: None,
        timeout: Duration::from_secs(20),
        max_bytes: 1 << 20,
    };
    Client::new(rules).unwrap()
}

async fn ready(client: &Client, url: Url) {
    let answers = async {
        while client.send(Request::get(url.clone())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(START, answers)
        .await
        .unwrap_or_else(|_| panic!("no answer from {url} in {START:?}"));
}

/// An unsealed `OpenBao` that trusts Tollgate's federation keys at the mount `jwt`, as published at a live JWKS.
pub(super) struct Bao {
    pub(super) url: Url,
    root: String,
    client: Client,
    jwks: Stub,
    _server: Part,
    _folder: TempDir,
}

impl Bao {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, cluster) = (free_port(), free_port());
        let config = folder.path().join("bao.hcl");
        let text = format!(
            "storage \"inmem\" {{}}\ndisable_mlock = true\napi_addr = \"http://127.0.0.1:{port}\"\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  tls_disable = true\n}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program("TOLLGATE_TEST_BAO", "bao"));
        let server = start(command.arg("server").arg("-config").arg(&config).env("HOME", folder.path()));
        let url: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let client = client();
        ready(&client, url.join("/v1/sys/health").unwrap()).await;
        let jwks = Stub::start([answer(200, keyring().load().jwks(Purpose::Federation).to_string())]).await;
        let mut bao = Self { url, root: String::new(), client, jwks, _server: server, _folder: folder };
        bao.unseal().await;
        bao.trust_tollgate().await;
        bao
    }

    async fn unseal(&mut self) {
        let keys = self.write("sys/init", json!({"secret_shares": 1, "secret_threshold": 1})).await;
        self.root = keys["root_token"].as_str().unwrap().to_owned();
        self.write("sys/unseal", json!({"key": keys["keys"][0]})).await;
    }

    async fn trust_tollgate(&self) {
        self.write("sys/mounts/secret", json!({"type": "kv"})).await;
        self.write("sys/auth/jwt", json!({"type": "jwt"})).await;
        let jwks_url = self.jwks.url.join("/jwks").unwrap();
        let config = json!({"jwks_url": jwks_url, "bound_issuer": "https://tollgate.example/federation"});
        self.write("auth/jwt/config", config).await;
    }

    /// An ACL policy.
    pub(super) async fn policy(&self, name: &str, rules: &[(&str, &str)]) {
        let rule = |(path, can): &(&str, &str)| format!("path \"{path}\" {{ capabilities = [\"{can}\"] }}\n");
        let policy: String = rules.iter().map(rule).collect();
        self.write(&format!("sys/policies/acl/{name}"), json!({"policy": policy})).await;
    }

    /// Writes as root; panics unless it succeeds.
    pub(super) async fn write(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, &self.root, Some(body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Any call as any token: status and body.
    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: Option<Value>,
    ) -> (u16, Value) {
        let url = self.url.join(&format!("/v1/{path}")).unwrap();
        let mut request = match &body {
            Some(body) => Request::post_json(url, body).unwrap(),
            None => Request::get(url),
        };
        request.method = method;
        if !token.is_empty() {
            request = request.header("x-vault-token", token).unwrap();
        }
        let response = self.client.send(request).await.unwrap();
        (response.status.as_u16(), serde_json::from_slice(&response.body).unwrap_or(Value::Null))
    }

    /// How many tokens live, the root token among them.
    pub(super) async fn living_tokens(&self) -> usize {
        let list = Method::from_bytes(b"LIST").unwrap();
        let (status, found) = self.call(list, "auth/token/accessors", &self.root, None).await;
        assert_eq!(status, 200);
        found["data"]["keys"].as_array().unwrap().len()
    }
}

/// An AWS whose STS, IAM and S3 enforce trust, role and session policies. Its root keys are `test` and `test`.
pub(super) struct Aws {
    pub(super) url: Url,
    client: Client,
    _server: Part,
}

/// Keys to sign with.
pub(super) struct Signer(Credentials);

impl Signer {
    pub(super) fn root() -> Self {
        Self(Credentials::new("test", "test", None, None, "test"))
    }

    pub(super) fn of(keys: &AwsKeys) -> Self {
        let secret = keys.secret_access_key.expose_secret();
        let token = keys.session_token.expose_secret().to_owned();
        Self(Credentials::new(&keys.access_key_id, secret, Some(token), None, "test"))
    }
}

impl Aws {
    pub(super) async fn start() -> Self {
        let port = free_port();
        let mut command = Command::new(program("TOLLGATE_TEST_MINISTACK", "ministack"));
        command
            .env("AUTH", "true")
            .env("BIND_HOST", "127.0.0.1")
            .env("MINISTACK_HOST", "localhost")
            .env("GATEWAY_PORT", port.to_string())
            // Its MQTT listener would bind a fixed port on every interface.
            .env("IOT_MTLS_ENABLED", "0");
        let server = start(&mut command);
        let url: Url = format!("http://127.0.0.1:{port}").parse().unwrap();
        let client = client();
        ready(&client, url.join("/_ministack/health").unwrap()).await;
        Self { url, client, _server: server }
    }

    /// A call of a query API (IAM, STS): status and body.
    pub(super) async fn query(
        &self,
        service: &str,
        signer: &Signer,
        fields: &[(&str, &str)],
    ) -> (u16, String) {
        let request = Request::post_form(self.url.clone(), fields.iter().copied());
        self.send(service, signer, request).await
    }

    /// An S3 call on `path`: status and body.
    pub(super) async fn s3(&self, signer: &Signer, method: Method, path: &str) -> (u16, String) {
        let url = self.url.join(path).unwrap();
        let request = Request { method, url, headers: HeaderMap::new(), body: Bytes::from_static(b"hello") };
        let body = if request.method == Method::GET { Bytes::new() } else { request.body };
        self.send("s3", signer, Request { body, ..request }).await
    }

    /// As [`Self::query`] by root; panics unless it succeeds.
    pub(super) async fn set_up(&self, fields: &[(&str, &str)]) {
        let (status, body) = self.query("iam", &Signer::root(), fields).await;
        assert_eq!(status, 200, "{body}");
    }

    async fn send(&self, service: &str, signer: &Signer, mut request: Request) -> (u16, String) {
        let identity = signer.0.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let time =
            std::time::UNIX_EPOCH + Duration::from_secs(Clock::system().now().as_second().unsigned_abs());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(time)
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let headers: Vec<(String, String)> = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect();
        let signable = SignableRequest::new(
            request.method.as_str(),
            request.url.as_str(),
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str())),
            SignableBody::Bytes(&request.body),
        );
        let (instructions, _) = sign(signable.unwrap(), &params).unwrap().into_parts();
        for (name, value) in instructions.headers() {
            request = request.header(name, value).unwrap();
        }
        let Response { status, body, .. } = self.client.send(request).await.unwrap();
        (status.as_u16(), String::from_utf8_lossy(&body).into_owned())
    }
}
