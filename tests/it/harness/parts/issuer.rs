//! An OIDC issuer that others wrote (`oauth2-mock-server`): RS256, discovery, several keys at once.

use http::Method;
use serde_json::{Value, json};

use super::{Part, node};
use crate::harness::Api;
use crate::harness::site::free_port;

/// A running issuer, with the key `k1`.
pub(crate) struct NpmIssuer {
    pub(crate) url: String,
    api: Api,
    _server: Part,
}

impl NpmIssuer {
    pub(crate) async fn start() -> Self {
        let port = free_port();
        let mut command = node(include_str!("../../../parts/issuer.mjs"));
        let server = Part::start(command.arg(port.to_string()), port).await;
        let url = format!("http://127.0.0.1:{port}");
        Self { api: Api::new(&url), url, _server: server }
    }

    /// A token with `claims`, by the newest key.
    pub(crate) async fn sign(&self, claims: &Value) -> String {
        self.control(Method::POST, "sign", &json!({ "claims": claims })).await
    }

    /// The same by the key `kid`, published or not.
    pub(crate) async fn sign_with(&self, kid: &str, claims: &Value) -> String {
        self.control(Method::POST, "sign", &json!({ "claims": claims, "kid": kid })).await
    }

    /// A new key signs from now on, and the others stay published.
    pub(crate) async fn rotate(&self, kid: &str) {
        self.control(Method::POST, &format!("keys/{kid}"), &json!({})).await;
    }

    /// The key is published no more.
    pub(crate) async fn remove(&self, kid: &str) {
        self.control(Method::DELETE, &format!("keys/{kid}"), &json!({})).await;
    }

    async fn control(&self, method: Method, path: &str, body: &Value) -> String {
        let answer = self.api.send(method, &format!("/test/{path}"), &[], &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.text
    }
}
