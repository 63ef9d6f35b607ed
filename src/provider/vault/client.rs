//! Seven calls to a Vault or `OpenBao` server, on Tollgate's own HTTP client.
//!
//! The `vaultrs` crate was read and left out. Its functions run on its own `reqwest` client, which reads `VAULT_TOKEN` and
//! `VAULT_SKIP_VERIFY` from the environment and has no cap on an answer, and it keeps tokens as `String`s that `Debug`
//! prints; its endpoint types alone would bring `rustify`, `derive_builder` and a second `syn` to save these forms.

use std::collections::BTreeMap;

use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde::de::DeserializeOwned;
use url::Url;

use super::wire::{
    Accessor, Auth, Create, Envelope, Errors, Ignored, Login, Looked, Nothing, Renew, RenewAccessor,
};
use crate::domain::Refusal;
use crate::net::{self, NetError, Request, Response};
use crate::provider::upstream::{
    internal, quote, refused, retry_after, throttled, unavailable, unexpected, unreachable,
};

/// A client of one server, namespace and JWT-auth mount.
pub(super) struct Client {
    net: net::Client,
    address: Url,
    namespace: Option<String>,
    mount: Vec<String>,
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// No usable HTTP answer.
    #[error("no answer")]
    Net(#[from] NetError),
    /// Vault says no.
    #[error("status {status}: {text}")]
    Status {
        /// The HTTP status.
        status: StatusCode,
        /// Vault's own texts, without secrets.
        text: String,
        /// Seconds to wait.
        retry_after: Option<u32>,
    },
    /// A success that is not the documented JSON.
    #[error("the answer is not the documented one: {0}")]
    Shape(String),
    /// The request could not be written.
    #[error("the request cannot be written: {0}")]
    Request(String),
}

impl CallError {
    /// The refusal; `what` names the call.
    pub(super) fn refusal(&self, what: &str) -> Refusal {
        let detail = format!("{what}: {self}");
        match self {
            Self::Net(error) => {
                let refusal = unreachable(error);
                let cause = refusal.detail.clone().unwrap_or_default();
                refusal.with_detail(format!("{what}: {cause}"))
            }
            Self::Status { status, retry_after, .. } if *status == StatusCode::TOO_MANY_REQUESTS => {
                throttled(detail, *retry_after)
            }
            Self::Status { status, .. } if status.is_server_error() => unavailable(detail),
            Self::Status { status, .. } if status.is_client_error() => refused(detail),
            Self::Status { .. } | Self::Shape(_) => unexpected(detail),
            Self::Request(_) => internal(detail),
        }
    }

    /// True if the target says that no token has the accessor: it is dead already.
    ///
    /// `OpenBao` and newer Vaults answer 200 with a warning; older Vaults answer 400 or 403 with this text.
    fn means_unknown_accessor(&self) -> bool {
        match self {
            Self::Status { status, text, .. } => {
                matches!(status.as_u16(), 400 | 403) && text.contains("invalid accessor")
            }
            Self::Net(_) | Self::Shape(_) | Self::Request(_) => false,
        }
    }
}

impl Client {
    /// Puts the pieces together.
    pub(super) const fn new(
        net: net::Client,
        address: Url,
        namespace: Option<String>,
        mount: Vec<String>,
    ) -> Self {
        Self { net, address, namespace, mount }
    }

    /// Logs in with a federation token.
    pub(super) async fn login(&self, role: &str, jwt: &SecretString) -> Result<Auth, CallError> {
        let mut path = vec!["auth"];
        path.extend(self.mount.iter().map(String::as_str));
        path.push("login");
        let form = Login { role, jwt: jwt.expose_secret() };
        auth(self.call(&path, None, &form, &[jwt]).await?)
    }

    /// Extends a login to `increment`, such as `900s`, from now.
    pub(super) async fn renew_self(
        &self,
        token: &SecretString,
        increment: String,
    ) -> Result<Auth, CallError> {
        auth(self.call(&["auth", "token", "renew-self"], Some(token), &Renew { increment }, &[token]).await?)
    }

    /// Lets the token with this accessor live for `increment`, such as `900s`, from now.
    pub(super) async fn renew_accessor(
        &self,
        token: &SecretString,
        accessor: &str,
        increment: String,
    ) -> Result<Auth, CallError> {
        let form = RenewAccessor { accessor, increment };
        auth(self.call(&["auth", "token", "renew-accessor"], Some(token), &form, &[token]).await?)
    }

    /// Creates a child token, by the token role `token_role` if there is one.
    pub(super) async fn create(
        &self,
        token: &SecretString,
        token_role: Option<&str>,
        form: &Create<'_>,
    ) -> Result<Auth, CallError> {
        let mut path = vec!["auth", "token", "create"];
        path.extend(token_role);
        auth(self.call(&path, Some(token), form, &[token]).await?)
    }

    /// Networks that the token with this accessor works from.
    pub(super) async fn bound_cidrs(
        &self,
        token: &SecretString,
        accessor: &str,
    ) -> Result<Vec<String>, CallError> {
        let path = ["auth", "token", "lookup-accessor"];
        let found: Envelope<Looked> = self.call(&path, Some(token), &Accessor { accessor }, &[token]).await?;
        Ok(found.data.and_then(|data| data.bound_cidrs).unwrap_or_default())
    }

    /// Revokes a token and all that it created; one that is dead already counts as revoked.
    pub(super) async fn revoke_accessor(
        &self,
        token: &SecretString,
        accessor: &str,
    ) -> Result<(), CallError> {
        let path = ["auth", "token", "revoke-accessor"];
        match self.send(&path, Some(token), &Accessor { accessor }, &[token]).await {
            Ok(_) => Ok(()),
            Err(error) if error.means_unknown_accessor() => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Revokes the token itself and all that it created.
    pub(super) async fn revoke_self(&self, token: &SecretString) -> Result<(), CallError> {
        self.send(&["auth", "token", "revoke-self"], Some(token), &Nothing {}, &[token]).await.map(drop)
    }

    async fn call<D: DeserializeOwned>(
        &self,
        path: &[&str],
        token: Option<&SecretString>,
        form: &impl Serialize,
        secrets: &[&SecretString],
    ) -> Result<Envelope<D>, CallError> {
        let response = self.send(path, token, form, secrets).await?;
        // serde_json's texts name types and places, and for a string of the wrong type its value: only the place is kept.
        serde_json::from_slice(&response.body)
            .map_err(|error| CallError::Shape(format!("line {}, column {}", error.line(), error.column())))
    }

    async fn send(
        &self,
        path: &[&str],
        token: Option<&SecretString>,
        form: &impl Serialize,
        secrets: &[&SecretString],
    ) -> Result<Response, CallError> {
        let mut url = self.address.clone();
        url.path_segments_mut()
            .map_err(|()| CallError::Request("the address cannot have a path".to_owned()))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        let request = Request::post_json(url, form).map_err(|error| CallError::Request(error.to_string()))?;
        let mut request = request.header("x-vault-request", "true")?;
        if let Some(namespace) = &self.namespace {
            request = request.header("x-vault-namespace", namespace)?;
        }
        if let Some(token) = token {
            request = request.header("x-vault-token", token.expose_secret())?;
        }
        let response = self.net.send(request).await?;
        if response.status.is_success() { Ok(response) } else { Err(said_no(&response, secrets)) }
    }
}

fn auth(envelope: Envelope<Ignored>) -> Result<Auth, CallError> {
    envelope.auth.ok_or_else(|| CallError::Shape("no auth".to_owned()))
}

fn said_no(response: &Response, secrets: &[&SecretString]) -> CallError {
    let said: Option<Errors> = serde_json::from_slice(&response.body).ok();
    let text = said.map(|said| said.errors.join("; ")).filter(|text| !text.is_empty());
    let text = text.map_or_else(|| "no reason given".to_owned(), |text| quote(text.trim(), secrets));
    CallError::Status { status: response.status, text, retry_after: retry_after(&response.headers) }
}

/// What Vault's audit log shows beside every use of a child token.
pub(super) type Meta<'a> = BTreeMap<&'static str, &'a str>;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;
    use crate::domain::Code;

    fn status(status: u16, body: &'static str, secrets: &[&SecretString]) -> CallError {
        let response = Response {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: Bytes::from_static(body.as_bytes()),
        };
        said_no(&response, secrets)
    }

    #[test]
    fn maps_what_vault_answers_to_stable_codes() {
        for (code, expected) in [
            (400, Code::ProviderRefused),
            (403, Code::ProviderRefused),
            (404, Code::ProviderRefused),
            (429, Code::ProviderThrottled),
            (500, Code::ProviderUnavailable),
            (503, Code::ProviderUnavailable),
            (304, Code::ProviderAnswerUnexpected),
        ] {
            assert_eq!(status(code, "{}", &[]).refusal("login").code, expected, "{code}");
        }
        assert_eq!(CallError::Shape("x".into()).refusal("login").code, Code::ProviderAnswerUnexpected);
    }

    #[test]
    fn s_01_tells_the_record_what_vault_said_without_the_token() {
        let token = SecretString::from("s.SENTINEL");
        let error = status(403, r#"{"errors":["bad s.SENTINEL\n"]}"#, &[&token]);
        let refusal = error.refusal("login");
        assert_eq!(refusal.detail.unwrap(), "login: status 403 Forbidden: bad [secret]");
        assert!(!format!("{error:?}").contains("SENTINEL"));
    }

    #[test]
    fn only_the_documented_words_mean_that_an_accessor_is_unknown() {
        assert!(
            status(400, r#"{"errors":["1 error occurred:\n\t* invalid accessor\n\n"]}"#, &[])
                .means_unknown_accessor()
        );
        assert!(status(403, r#"{"errors":["invalid accessor"]}"#, &[]).means_unknown_accessor());
        assert!(!status(403, r#"{"errors":["permission denied"]}"#, &[]).means_unknown_accessor());
        assert!(!status(500, r#"{"errors":["invalid accessor"]}"#, &[]).means_unknown_accessor());
    }

    #[test]
    fn s_01_debug_of_an_answer_hides_the_token() {
        let text = r#"{"client_token":"s.SENTINEL","lease_duration":1,"renewable":true,"orphan":true}"#;
        let auth: Auth = serde_json::from_str(text).unwrap();
        assert_eq!(format!("{auth:?}"), "Auth(..)");
    }
}
