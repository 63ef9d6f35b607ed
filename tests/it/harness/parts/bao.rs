//! A real `OpenBao` that trusts one Tollgate's federation issuer.

use std::process::Command;

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Part, program};
use crate::harness::site::free_port;
use crate::harness::{Api, Site};

/// Audience of the federation tokens.
const AUDIENCE: &str = "https://vault.example";
/// The role `vault/app` of Tollgate.
pub(crate) const ROLE: &str = r#"
description = "secrets of the application"
environment = "production"
target = "bao"
ttl = { default = "15m", max = "1h" }
policies = ["ci.test"]
default_scopes = ["read"]

[vault]
login_role = "app"

[scopes.read]
policies = ["read-app"]

[scopes.other]
policies = ["read-other"]
"#;

/// A running, unsealed `OpenBao` with two secrets, a policy to read each, and one that lets Tollgate's logins work.
pub(crate) struct Bao {
    pub(crate) url: String,
    api: Api,
    root: String,
    key: Value,
    server: Part,
    _folder: TempDir,
}

/// A living token.
#[derive(Debug)]
pub(crate) struct Token {
    pub(crate) accessor: String,
    /// The decision in its metadata, as the credentials that Tollgate hands out carry it.
    pub(crate) decision: Option<String>,
    /// The principal in its metadata, likewise.
    pub(crate) principal: Option<String>,
    /// Seconds left.
    pub(crate) ttl: u64,
}

impl Bao {
    pub(crate) async fn start() -> Self {
        Self::with("").await
    }

    /// The same with `more` listeners.
    pub(crate) async fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (port, cluster) = (free_port(), free_port());
        let config = folder.path().join("bao.hcl");
        let text = format!(
            "storage \"inmem\" {{}}\ndisable_mlock = true\napi_addr = \"http://127.0.0.1:{port}\"\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
             cluster_address = \"127.0.0.1:{cluster}\"\n  tls_disable = true\n}}\n{more}"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(program("bao"));
        command.arg("server").arg("-config").arg(&config).env("HOME", folder.path());
        let server = Part::start(&mut command, port).await;
        let url = format!("http://127.0.0.1:{port}");
        let (root, key) = (String::new(), Value::Null);
        let mut bao = Self { api: Api::new(&url), url, root, key, server, _folder: folder };
        let keys = bao.write("sys/init", json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
        bao.root = keys["root_token"].as_str().unwrap().to_owned();
        bao.key = keys["keys"][0].clone();
        bao.unseal().await;
        bao.fill().await;
        bao
    }

    async fn fill(&self) {
        self.write("sys/mounts/secret", json!({ "type": "kv" })).await;
        self.write("sys/auth/jwt", json!({ "type": "jwt" })).await;
        for name in ["app", "other"] {
            self.write(&format!("secret/{name}"), json!({ "value": name })).await;
            self.policy(&format!("read-{name}"), &[&format!("secret/{name}")], "read").await;
        }
        let own = [
            "create",
            "renew-self",
            "renew-accessor",
            "revoke-self",
            "revoke-accessor",
            "lookup-accessor",
            "create/app",
        ]
        .map(|call| format!("auth/token/{call}"));
        self.policy("tollgate-login", &own.each_ref().map(String::as_str), "update").await;
    }

    async fn policy(&self, name: &str, paths: &[&str], can: &str) {
        let rules = paths.iter().map(|path| format!("path \"{path}\" {{ capabilities = [\"{can}\"] }}\n"));
        let policy: String = rules.collect();
        self.write(&format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
    }

    /// A Tollgate whose role `vault/app` mints here; `extra` files are laid over it. On the machine's clock, which is the
    /// one that `OpenBao` reads.
    pub(crate) async fn site(&self, extra: &[(&str, &str)]) -> Site {
        let target = format!(
            "provider = \"vault\"\naddress = \"{}\"\nmount = \"jwt\"\naudience = \"{AUDIENCE}\"\n\
             insecure_loopback = true\n",
            self.url
        );
        let files = [("config/targets/bao.toml", target.as_str()), ("config/roles/vault/app.toml", ROLE)];
        let site = Site::of_process(&files).await;
        for (path, text) in extra {
            site.write(path, text);
        }
        site
    }

    /// Trusts the federation issuer of the running `site` by its discovery document.
    pub(crate) async fn trust(&self, site: &Site) {
        let issuer = format!("{}/federation", site.url);
        self.write("auth/jwt/config", json!({ "oidc_discovery_url": issuer, "bound_issuer": issuer })).await;
        self.login_role("app", json!({})).await;
    }

    /// The login role of `vault/app`, with `changes`.
    pub(crate) async fn login_role(&self, name: &str, changes: Value) {
        let mut role = json!({
            "role_type": "jwt", "user_claim": "sub", "bound_audiences": [AUDIENCE],
            "bound_subject": "role:default:vault/app", "token_policies": ["tollgate-login", "read-app"],
            "token_no_default_policy": true, "token_type": "service", "token_ttl": "60s", "token_max_ttl": "12h",
        });
        for (key, value) in changes.as_object().unwrap() {
            role[key] = value.clone();
        }
        self.write(&format!("auth/jwt/role/{name}"), role).await;
    }

    /// Writes as root; panics unless it succeeds.
    pub(crate) async fn write(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(Method::POST, path, &self.root, &body).await;
        assert!((200..300).contains(&status), "{path}: {status} {answer}");
        answer
    }

    /// Reads as `token`: the status and the data.
    pub(crate) async fn read(&self, path: &str, token: &str) -> (u16, Value) {
        let (status, answer) = self.call(Method::GET, path, token, &Value::Null).await;
        (status, answer["data"].clone())
    }

    async fn call(&self, method: Method, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let headers = [("x-vault-token", token)];
        let sent = if token.is_empty() { &headers[1..] } else { &headers[..] };
        let answer = self.api.send(method, &format!("/v1/{path}"), sent, &body).await;
        (answer.status, answer.json)
    }

    /// What `OpenBao` knows of a token; none if it is dead.
    pub(crate) async fn lookup(&self, token: &str) -> Option<Value> {
        let (status, found) =
            self.call(Method::POST, "auth/token/lookup", &self.root, &json!({ "token": token })).await;
        (status == 200).then(|| found["data"].clone())
    }

    /// Every living token but root's.
    pub(crate) async fn living(&self) -> Vec<Token> {
        let list = Method::from_bytes(b"LIST").unwrap();
        let (status, listed) = self.call(list, "auth/token/accessors", &self.root, &Value::Null).await;
        assert_eq!(status, 200, "{listed}");
        let accessors: Vec<String> = serde_json::from_value(listed["data"]["keys"].clone()).unwrap();
        let mut living = Vec::new();
        for accessor in accessors {
            let ask = json!({ "accessor": accessor });
            let (status, found) =
                self.call(Method::POST, "auth/token/lookup-accessor", &self.root, &ask).await;
            let data = &found["data"];
            // It may have died since it was listed.
            if status != 200 || data["path"] == "auth/token/root" {
                continue;
            }
            let meta = |name: &str| data["meta"][name].as_str().map(ToOwned::to_owned);
            let (decision, principal) = (meta("decision"), meta("principal"));
            living.push(Token { accessor, decision, principal, ttl: data["ttl"].as_u64().unwrap() });
        }
        living
    }

    /// Root's token.
    pub(crate) fn root(&self) -> &str {
        &self.root
    }

    pub(crate) async fn seal(&self) {
        self.write("sys/seal", json!({})).await;
    }

    pub(crate) async fn unseal(&self) {
        self.write("sys/unseal", json!({ "key": self.key })).await;
    }

    pub(crate) fn stop(&mut self) {
        self.server.stop();
    }
}
