//! A real `OpenBao` that trusts the federation keys that a running Tollgate publishes.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::Api;
use super::site::free_port;

/// Longest wait for the server's first good answer.
const START: Duration = Duration::from_secs(30);

/// Seconds that a login lives which nobody extended: how long a crash may leave one that no record knows.
pub(crate) const LOGIN_TTL: u64 = 6;

/// A running, unsealed server; ended by its own id when dropped.
pub(crate) struct Bao {
    pub(crate) url: String,
    root: String,
    api: Api,
    server: Child,
    _folder: TempDir,
}

/// A living token.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) accessor: String,
    /// The decision in its metadata, as the credentials that Tollgate hands out carry it.
    pub(crate) decision: Option<String>,
    /// Seconds left.
    pub(crate) ttl: u64,
}

impl Bao {
    /// Starts a server that knows nobody yet.
    pub(crate) async fn start() -> Self {
        let program = std::env::var_os("TOLLGATE_TEST_BAO").map_or_else(
            || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/parts/bin/bao"),
            PathBuf::from,
        );
        assert!(program.exists(), "no OpenBao at {}: run tests/run once", program.display());
        let folder = tempfile::tempdir().unwrap();
        let (port, cluster) = (free_port(), free_port());
        let config = folder.path().join("bao.hcl");
        let text = format!(
            "storage \"inmem\" {{}}\ndisable_mlock = true\napi_addr = \"http://127.0.0.1:{port}\"\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  cluster_address = \"127.0.0.1:{cluster}\"\n  \
             tls_disable = true\n}}\n"
        );
        std::fs::write(&config, text).unwrap();
        let server = Command::new(program)
            .args(["server", "-config"])
            .arg(&config)
            .env("HOME", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let api = Api::new(&url);
        let mut bao = Self { url, root: String::new(), api, server, _folder: folder };
        bao.unseal().await;
        bao
    }

    async fn unseal(&mut self) {
        let started = Instant::now();
        while self.api.try_send(Method::GET, "/v1/sys/health", &[], "").await.is_err() {
            assert!(started.elapsed() < START, "OpenBao does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let keys = self.write("sys/init", &json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        self.root = keys["root_token"].as_str().unwrap().to_owned();
        self.write("sys/unseal", &json!({ "key": keys["keys"][0] })).await;
    }

    /// Trusts the Tollgate that answers at `url` now: its role `app` may log in and read `secret/app`.
    pub(crate) async fn trust(&self, url: &str) {
        self.write("sys/mounts/secret", &json!({ "type": "kv" })).await;
        self.write("secret/app", &json!({ "value": "42" })).await;
        let policy = "path \"secret/app\" { capabilities = [\"read\"] }";
        self.write("sys/policies/acl/read-app", &json!({ "policy": policy })).await;
        let own = ["create", "renew-self", "revoke-self", "revoke-accessor", "lookup-accessor"];
        let own = own
            .map(|call| format!("path \"auth/token/{call}\" {{ capabilities = [\"update\"] }}\n"))
            .concat();
        self.write("sys/policies/acl/tollgate-login", &json!({ "policy": own })).await;
        self.write("sys/auth/jwt", &json!({ "type": "jwt" })).await;
        let keys = json!({ "jwks_url": format!("{url}/federation/jwks"), "bound_issuer": format!("{url}/federation") });
        self.write("auth/jwt/config", &keys).await;
        let role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE],
            "bound_subject": "role:default:app", "token_policies": ["tollgate-login", "read-app"],
            "token_no_default_policy": true, "token_type": "service",
            "token_ttl": format!("{LOGIN_TTL}s"), "token_max_ttl": "12h",
        });
        self.write("auth/jwt/role/app", &role).await;
    }

    /// The files of a Tollgate that mints here: the target `bao` and the role `app`.
    pub(crate) fn files(&self) -> [(String, String); 2] {
        let target = format!(
            "provider = \"vault\"\naddress = \"{}\"\nmount = \"jwt\"\naudience = \"{AUDIENCE}\"\ninsecure_loopback = true\n",
            self.url
        );
        [("config/targets/bao.toml".into(), target), ("config/roles/app.toml".into(), ROLE.into())]
    }

    /// Writes as root; must succeed.
    pub(crate) async fn write(&self, path: &str, body: &Value) -> Value {
        let answer = self.call(Method::POST, path, &self.root, &body.to_string()).await;
        assert!((200..300).contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
        answer.json
    }

    /// Any call as any token.
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: &str,
        body: &str,
    ) -> super::api::Answer {
        let headers = [("x-vault-token", token)];
        let headers = if token.is_empty() { &[][..] } else { &headers[..] };
        self.api.send(method, &format!("/v1/{path}"), headers, body).await
    }

    /// Every living token but the root's.
    pub(crate) async fn living(&self) -> Vec<Token> {
        let list = Method::from_bytes(b"LIST").unwrap();
        let listed = self.call(list, "auth/token/accessors", &self.root, "").await.ok();
        let accessors: BTreeSet<String> = serde_json::from_value(listed["data"]["keys"].clone()).unwrap();
        let mut living = Vec::new();
        for accessor in accessors {
            let body = json!({ "accessor": accessor }).to_string();
            let found = self.call(Method::POST, "auth/token/lookup-accessor", &self.root, &body).await;
            // It may have died since it was listed.
            if found.status != 200 || found.json["data"]["path"] == "auth/token/root" {
                continue;
            }
            let data = &found.json["data"];
            living.push(Token {
                accessor,
                decision: data["meta"]["decision"].as_str().map(ToOwned::to_owned),
                ttl: data["ttl"].as_u64().unwrap(),
            });
        }
        living
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

const AUDIENCE: &str = "https://vault.example";

const ROLE: &str = r#"
description = "a child token that reads secret/app"
environment = "production"
target = "bao"
ttl = { default = "15m", max = "1h" }
policies = ["ci.test"]

[vault]
login_role = "app"

[scopes.read]
policies = ["read-app"]
"#;
