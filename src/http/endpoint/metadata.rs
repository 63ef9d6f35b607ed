//! Metadata and public keys of both issuers: OpenID Connect Discovery 1.0, RFC 8414, RFC 7517.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use crate::http::Context;
use crate::identity::ALGORITHMS;
use crate::secret::Fingerprint;
use crate::signing::{Purpose, discovery};

/// Seconds that keys and metadata may be cached. A key is published at least this long before it signs.
pub const JWKS_MAX_AGE: u32 = 300;

pub(super) async fn openid(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let keyring = context.keyring.load();
    document(&headers, &discovery::credentials(&context.url, keyring.algorithms(Purpose::Credentials)))
}

pub(super) async fn federation_openid(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let keyring = context.keyring.load();
    document(&headers, &discovery::federation(&context.url, keyring.algorithms(Purpose::Federation)))
}

pub(super) async fn oauth(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    document(&headers, &discovery::authorization_server(&context.url, &ALGORITHMS))
}

pub(super) async fn jwks(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Credentials);
    cacheable(&headers, "application/jwk-set+json", jwks.as_bytes())
}

pub(super) async fn federation_jwks(State(context): State<Arc<Context>>, headers: HeaderMap) -> Response {
    let jwks = context.keyring.load().jwks(Purpose::Federation);
    cacheable(&headers, "application/jwk-set+json", jwks.as_bytes())
}

fn document(headers: &HeaderMap, text: &str) -> Response {
    cacheable(headers, "application/json", text.as_bytes())
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
