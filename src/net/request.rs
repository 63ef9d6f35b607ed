//! Requests and answers: plain values, whose bodies and header values never show in `Debug`.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use serde::Serialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::NetError;

/// One request.
pub struct Request {
    /// Method.
    pub method: Method,
    /// Target.
    pub url: Url,
    /// Headers; all are sent as sensitive.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// A whole answer, within the cap.
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Request {
    /// A `GET` that asks for JSON.
    pub fn get(url: Url) -> Self {
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
        Self { method: Method::GET, url, headers, body: Bytes::new() }
    }

    /// A `POST` of `body` as JSON.
    ///
    /// # Errors
    /// What `body`'s serialisation says.
    pub fn post_json(url: Url, body: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Self::post(url, "application/json", serde_json::to_vec(body)?))
    }

    /// A `POST` of `fields` as a form.
    pub fn post_form<'a>(url: Url, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        Self::post(url, "application/x-www-form-urlencoded", form.into_bytes())
    }

    /// A `POST` of `body`, which is of the media type `content_type`.
    pub fn post(url: Url, content_type: &'static str, body: Vec<u8>) -> Self {
        let mut request = Self { method: Method::POST, body: body.into(), ..Self::get(url) };
        request.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        request
    }

    /// Sets a header, such as the one that authenticates Tollgate.
    ///
    /// # Errors
    /// [`NetError::InvalidHeader`], with the name and never the value.
    pub fn header(mut self, name: &str, value: &str) -> Result<Self, NetError> {
        let invalid = || NetError::InvalidHeader(name.to_owned());
        let key = HeaderName::from_bytes(name.as_bytes()).map_err(|_| invalid())?;
        self.headers.insert(key, HeaderValue::from_str(value).map_err(|_| invalid())?);
        Ok(self)
    }

    /// The client library's form. Every header is marked sensitive, whatever its name: a fact source may authenticate by
    /// any header, and sensitive ones stay out of the library's `Debug` and of HPACK's tables (RFC 7541, section 7.1.3).
    pub(super) fn into_sent(mut self) -> reqwest::Request {
        self.headers.values_mut().for_each(|value| value.set_sensitive(true));
        let mut sent = reqwest::Request::new(self.method, self.url);
        *sent.headers_mut() = self.headers;
        *sent.body_mut() = Some(self.body.into());
        sent
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("host", &self.url.host_str())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url() -> Url {
        "https://vault.example/v1/auth?key=sentinel-query".parse().unwrap()
    }

    #[test]
    fn forms_and_json_are_encoded_and_typed() {
        let form = Request::post_form(url(), [("token", "a&b=c d"), ("x", "ü")]);
        assert_eq!(form.body, "token=a%26b%3Dc+d&x=%C3%BC");
        assert_eq!(form.headers[CONTENT_TYPE], "application/x-www-form-urlencoded");
        assert_eq!(form.method, Method::POST);
        let json = Request::post_json(url(), &serde_json::json!({"role": "r"})).unwrap();
        assert_eq!(json.body, r#"{"role":"r"}"#);
        assert_eq!(json.headers[CONTENT_TYPE], "application/json");
        assert_eq!(Request::get(url()).method, Method::GET);
    }

    #[test]
    fn refuses_headers_that_http_cannot_carry_without_repeating_the_value() {
        for (name, value) in [("x y", "v"), ("x", "sentinel\r\nevil: 1"), ("x", "sentinel\0")] {
            let refused = Request::get(url()).header(name, value).unwrap_err();
            assert!(matches!(refused, NetError::InvalidHeader(_)));
            assert!(!format!("{refused} {refused:?}").contains("sentinel"));
        }
    }

    #[test]
    fn s_01_debug_shows_no_query_header_or_body() {
        let request = Request::post_form(url(), [("token", "sentinel-body")])
            .header("x-key", "sentinel-header")
            .unwrap();
        assert!(!format!("{request:?}").contains("sentinel"));
        let sent = request.into_sent();
        assert!(sent.headers().values().all(HeaderValue::is_sensitive));
        let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("sentinel-header"))]);
        let response =
            Response { status: StatusCode::OK, headers, body: Bytes::from_static(b"sentinel-body") };
        assert!(!format!("{response:?}").contains("sentinel"));
    }
}
