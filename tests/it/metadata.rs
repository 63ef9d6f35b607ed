//! What Tollgate says of itself: keys, discovery, health, and what is not there.

use std::collections::BTreeSet;

use http::Method;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};

use crate::harness::Site;

/// The claims of `token` if a key of `jwks` signed it.
fn verified(token: &str, jwks: &Value) -> Option<Value> {
    let keys: JwkSet = serde_json::from_value(jwks.clone()).unwrap();
    let header = jsonwebtoken::decode_header(token).unwrap();
    let key = keys.find(header.kid.as_deref().unwrap())?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.algorithms = vec![header.alg];
    (rules.validate_exp, rules.validate_aud) = (false, false);
    let decoded = jsonwebtoken::decode::<Value>(token, &DecodingKey::from_jwk(key).unwrap(), &rules);
    Some(decoded.unwrap().claims)
}

#[tokio::test]
async fn a_credential_verifies_with_nothing_but_the_issuers_url() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let answer = site.api().deploy(&site.token()).await.ok();
    let token = answer["credential"]["token"].as_str().unwrap();
    let discovery = site.api().get("/.well-known/openid-configuration", None).await.ok();
    assert_eq!(discovery["issuer"], site.url);
    let path = discovery["jwks_uri"].as_str().unwrap().strip_prefix(&site.url).unwrap().to_owned();
    let jwks = site.api().get(&path, None).await.ok();
    let claims = verified(token, &jwks).expect("its key is published");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(site.url), &json!("https://api.example")));
    assert_eq!(claims["repository"], "acme/shop");
    app.stop().await;
}

#[tokio::test]
async fn c_10_the_federation_issuer_has_keys_of_its_own() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let kids = async |path: &str| -> BTreeSet<String> {
        let jwks = site.api().get(path, None).await.ok();
        let keys = jwks["keys"].as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let discovery = site.api().get("/federation/.well-known/openid-configuration", None).await.ok();
    assert_eq!(discovery["issuer"], format!("{}/federation", site.url));
    assert_eq!(discovery["jwks_uri"], format!("{}/federation/jwks", site.url));
    let (own, federation) = (kids("/jwks").await, kids("/federation/jwks").await);
    assert!(!own.is_empty() && !federation.is_empty() && own.is_disjoint(&federation));
    let answer = site.api().deploy(&site.token()).await.ok();
    let jwks = site.api().get("/federation/jwks", None).await.ok();
    assert_eq!(verified(answer["credential"]["token"].as_str().unwrap(), &jwks), None);
    app.stop().await;
}

#[tokio::test]
async fn c_11_what_is_published_is_public() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for path in ["/jwks", "/federation/jwks"] {
        let answer = site.api().get(path, None).await;
        assert_eq!(answer.headers["content-type"], "application/jwk-set+json");
        for key in answer.json["keys"].as_array().unwrap() {
            let members: BTreeSet<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            let secret = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
            assert!(secret.iter().all(|member| !members.contains(member)), "{path}: {members:?}");
        }
    }
    app.stop().await;
}

#[tokio::test]
async fn keys_stay_the_same_over_a_restart_and_may_be_cached() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let first = site.api().get("/jwks", None).await;
    assert_eq!(first.headers["cache-control"], "public, max-age=300");
    app.stop().await;
    let app = site.start().await;
    assert_eq!(site.api().get("/jwks", None).await.json, first.json);
    app.stop().await;
}

#[tokio::test]
async fn the_authorization_server_says_where_tokens_are_exchanged() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    let metadata = site.api().get("/.well-known/oauth-authorization-server", None).await.ok();
    assert_eq!(metadata["issuer"], site.url);
    assert_eq!(metadata["token_endpoint"], format!("{}/token", site.url));
    let grant = json!(["urn:ietf:params:oauth:grant-type:token-exchange"]);
    assert_eq!(metadata["grant_types_supported"], grant);
    app.stop().await;
}

#[tokio::test]
async fn health_says_what_an_operator_needs() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    assert_eq!(site.api().get("/livez", None).await.text, "ok\n");
    site.api().deploy(&site.token()).await.ok();
    let ready = site.api().get("/readyz", None).await.ok();
    assert_eq!((&ready["ready"], &ready["store"]), (&json!(true), &json!("ok")));
    assert_eq!(ready["issuers"], json!([{ "issuer": "ci", "keys_age_seconds": 0 }]));
    app.stop().await;
}

#[tokio::test]
async fn what_is_not_there_is_refused_with_a_code_and_the_methods_that_are() {
    let site = Site::new(&[]).await;
    let app = site.start().await;
    for path in
        ["/", "/v1", "/v1/credentials/", "/v2/credentials", "/v1/lease", "/%2e%2e/etc/passwd", "/admin"]
    {
        let answer = site.api().get(path, None).await;
        assert_eq!((answer.status, answer.code()), (404, "not_found"), "{path}");
    }
    for (method, path, allow) in [
        (Method::GET, "/token", "POST"),
        (Method::GET, "/v1/credentials", "POST"),
        (Method::POST, "/v1/whoami", "GET,HEAD"),
        (Method::PUT, "/v1/leases/x", "GET,HEAD,DELETE"),
        (Method::POST, "/jwks", "GET,HEAD"),
        (Method::OPTIONS, "/v1/credentials", "POST"),
    ] {
        let answer = site.api().send(method.clone(), path, &[], "").await;
        assert_eq!((answer.status, answer.code()), (405, "method_not_allowed"), "{method} {path}");
        assert_eq!(answer.headers["allow"], allow, "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    app.stop().await;
}
