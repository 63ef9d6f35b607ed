//! A plain client of the HTTP API, which can also send what no client should.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};
use tollgate::net::{Client, NetError, Request, Rules};

/// An API to call.
#[derive(Clone)]
pub(crate) struct Api {
    url: String,
    http: Client,
}

/// One answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body as JSON; null if it is none.
    pub(crate) json: Value,
}

impl Answer {
    /// The stable code of a refusal.
    pub(crate) fn code(&self) -> &str {
        self.json["code"].as_str().unwrap_or_else(|| panic!("no code in {} {}", self.status, self.text))
    }

    /// The answer, which must be a success.
    #[track_caller]
    pub(crate) fn ok(self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json
    }
}

impl Api {
    pub(crate) fn new(url: &str) -> Self {
        let rules = Rules {
            allow_networks: Vec::new(),
            insecure_loopback: true,
            extra_roots: None,
            timeout: std::time::Duration::from_mins(1),
            max_bytes: 1 << 20,
        };
        Self { url: url.to_owned(), http: Client::new(rules).unwrap() }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Sends anything; the connection must not break.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.try_send(method, path, headers, body).await.unwrap()
    }

    /// Sends anything; an error if no whole answer came.
    pub(crate) async fn try_send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Answer, NetError> {
        let url = format!("{}{path}", self.url).parse().unwrap();
        let mut request =
            Request { method, body: Bytes::copy_from_slice(body.as_bytes()), ..Request::get(url) };
        request.headers.clear();
        for (name, value) in headers {
            request = request.header(name, value).unwrap();
        }
        let answer = self.http.send(request).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Ok(Answer { status: answer.status.as_u16(), headers: answer.headers, text, json })
    }

    /// `POST /v1/credentials` with a bearer token.
    pub(crate) async fn credentials(&self, token: &str, body: &Value) -> Answer {
        self.credentials_with(token, body, &[]).await
    }

    /// The same with more headers.
    pub(crate) async fn credentials_with(&self, token: &str, body: &Value, more: &[(&str, &str)]) -> Answer {
        let bearer = format!("Bearer {token}");
        let mut headers = vec![("authorization", bearer.as_str()), ("content-type", "application/json")];
        headers.extend(more);
        self.send(Method::POST, "/v1/credentials", &headers, &body.to_string()).await
    }

    /// Asks for the role `deploy` with all defaults.
    pub(crate) async fn deploy(&self, token: &str) -> Answer {
        self.credentials(token, &json!({ "role": "deploy" })).await
    }

    /// `POST /token` with the RFC 8693 parameters and `more`.
    pub(crate) async fn exchange(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", token),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ];
        form.extend(more);
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        self.send(Method::POST, "/token", &headers, &body).await
    }

    /// `GET path`, with a bearer if there is one.
    pub(crate) async fn get(&self, path: &str, bearer: Option<&str>) -> Answer {
        let bearer = bearer.map(|token| format!("Bearer {token}"));
        let headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        self.send(Method::GET, path, &headers, "").await
    }

    /// `POST /v1/leases/{id}/{what}` with the lease secret; without a body if it is null.
    pub(crate) async fn post_lease(&self, id: &str, what: &str, secret: &str, body: &Value) -> Answer {
        let bearer = format!("Bearer {secret}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let (headers, body) =
            if body.is_null() { (&headers[..1], String::new()) } else { (&headers[..], body.to_string()) };
        self.send(Method::POST, &format!("/v1/leases/{id}/{what}"), headers, &body).await
    }

    /// `DELETE /v1/leases/{id}` with the lease secret.
    pub(crate) async fn end(&self, id: &str, secret: &str) -> Answer {
        let bearer = format!("Bearer {secret}");
        self.send(Method::DELETE, &format!("/v1/leases/{id}"), &[("authorization", &bearer)], "").await
    }
}
