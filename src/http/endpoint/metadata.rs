//! Metadata and public keys of both issuers: OpenID Connect Discovery 1.0, RFC 8414, RFC 7517.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;

use super::token::GRANT_TYPE;
use crate::http::Context;
use crate::secret::Fingerprint;
use crate::signing::Purpose;

/// Seconds that keys and metadata may be cached. A key is published at least this long before it signs.
pub const JWKS_MAX_AGE: u32 = 300;

/// What an issuer says of itself.
#[derive(Debug, Serialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    grant_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    token_endpoint_auth_methods_supported: Vec<&'static str>,
    response_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject_types_supported: Vec<&'static str>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    id_token_signing_alg_values_supported: BTreeSet<String>,
}

pub(super) async fn openid(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Credentials);
    document(&headers, &discovery(context.url.as_str().to_owned(), &jwks))
}

pub(super) async fn federation_openid(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Federation);
    document(&headers, &discovery(below(context.url.as_str(), "federation"), &jwks))
}

pub(super) async fn oauth(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    document(&headers, &authorization_server(context.url.as_str()))
}

pub(super) async fn jwks(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Credentials);
    cacheable(&headers, "application/jwk-set+json", jwks.as_bytes())
}

pub(super) async fn federation_jwks(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Federation);
    cacheable(&headers, "application/jwk-set+json", jwks.as_bytes())
}

/// OpenID Connect Discovery 1.0, section 3, for verifiers of our tokens; nobody logs in here.
fn discovery(issuer: String, jwks: &str) -> Metadata {
    Metadata {
        jwks_uri: below(&issuer, "jwks"),
        issuer,
        token_endpoint: None,
        grant_types_supported: Vec::new(),
        token_endpoint_auth_methods_supported: Vec::new(),
        response_types_supported: vec!["id_token"],
        subject_types_supported: vec!["public"],
        id_token_signing_alg_values_supported: algorithms(jwks),
    }
}

/// RFC 8414, section 2. There is no authorization endpoint, hence no response type.
fn authorization_server(url: &str) -> Metadata {
    Metadata {
        issuer: url.to_owned(),
        jwks_uri: below(url, "jwks"),
        token_endpoint: Some(below(url, "token")),
        grant_types_supported: vec![GRANT_TYPE],
        token_endpoint_auth_methods_supported: vec!["none"],
        response_types_supported: Vec::new(),
        subject_types_supported: Vec::new(),
        id_token_signing_alg_values_supported: BTreeSet::new(),
    }
}

/// The algorithms of the published keys.
fn algorithms(jwks: &str) -> BTreeSet<String> {
    let document: Value = serde_json::from_str(jwks).unwrap_or_default();
    let keys = document.get("keys").and_then(Value::as_array);
    let algorithm = |key: &Value| key.get("alg").and_then(Value::as_str).map(str::to_owned);
    keys.into_iter().flatten().filter_map(algorithm).collect()
}

/// `url` with one more path segment.
fn below(url: &str, segment: &str) -> String {
    format!("{}/{segment}", url.trim_end_matches('/'))
}

fn document(headers: &HeaderMap, metadata: &Metadata) -> Response {
    let body = serde_json::to_vec(metadata).unwrap_or_default();
    cacheable(headers, "application/json", &body)
}

/// `body`, or 304 if the client has it already (RFC 9110, section 13.1.2).
fn cacheable(headers: &HeaderMap, kind: &'static str, body: &[u8]) -> Response {
    let tag = format!("\"{}\"", Fingerprint::of(body));
    let caching = [(ETAG, tag.clone()), (CACHE_CONTROL, format!("public, max-age={JWKS_MAX_AGE}"))];
    let known = headers.get_all(IF_NONE_MATCH).iter().filter_map(|line| line.to_str().ok());
    let fits = |candidate: &str| candidate == "*" || candidate.trim_start_matches("W/") == tag;
    if known.flat_map(|line| line.split(',')).any(|candidate| fits(candidate.trim())) {
        return (StatusCode::NOT_MODIFIED, caching).into_response();
    }
    (caching, [(CONTENT_TYPE, kind)], body.to_vec()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &str = r#"{"keys":[{"kid":"a","alg":"ES256"},{"kid":"b","alg":"RS256"},{"kid":"c"}]}"#;

    fn text(metadata: &Metadata) -> String {
        serde_json::to_string_pretty(metadata).unwrap()
    }

    #[test]
    fn discovery_names_the_issuer_exactly_and_the_algorithms_of_its_keys() {
        insta::assert_snapshot!(text(&discovery("https://t.example/federation".into(), KEYS)));
        assert_eq!(discovery("https://t.example/".into(), KEYS).issuer, "https://t.example/");
        assert_eq!(discovery("https://t.example/".into(), KEYS).jwks_uri, "https://t.example/jwks");
    }

    #[test]
    fn s_13_authorization_server_metadata_names_no_role_or_scope() {
        insta::assert_snapshot!(text(&authorization_server("https://t.example")));
    }

    #[test]
    fn keys_are_cacheable_and_revalidate() {
        let first = cacheable(&HeaderMap::new(), "application/jwk-set+json", KEYS.as_bytes());
        assert_eq!(first.headers()[CACHE_CONTROL], "public, max-age=300");
        let mut headers = HeaderMap::new();
        headers.insert(
            IF_NONE_MATCH,
            format!("\"x\", W/{}", first.headers()[ETAG].to_str().unwrap()).parse().unwrap(),
        );
        let again = cacheable(&headers, "application/jwk-set+json", KEYS.as_bytes());
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let rotated = cacheable(&headers, "application/jwk-set+json", b"{\"keys\":[]}");
        assert_eq!(rotated.status(), StatusCode::OK);
    }
}
