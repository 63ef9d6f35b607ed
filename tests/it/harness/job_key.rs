//! A key that a job holds, and proofs of it (RFC 9449), made apart from the program's own.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Method;
use serde_json::{Value, json};

use super::api::Answer;
use super::{Api, Site};

pub(crate) struct JobKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}

impl JobKey {
    pub(crate) fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        Self { pair, x, y }
    }

    /// RFC 7638: the members in the order of their names.
    pub(crate) fn thumbprint(&self) -> String {
        hash(format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, self.x, self.y).as_bytes())
    }

    /// A fresh token of a trusted job that is bound to this key.
    pub(crate) fn token(&self, site: &Site) -> String {
        site.token_with(&json!({ "aud": format!("{}#jkt={}", site.url, self.thumbprint()) }))
    }

    /// A proof for a request with `method` to `path` of the site, beside `token`; `changes` replace claims.
    pub(crate) fn proof(
        &self,
        site: &Site,
        method: &str,
        path: &str,
        token: &str,
        changes: &Value,
    ) -> String {
        static UNIQUE: AtomicUsize = AtomicUsize::new(0);
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256",
            "jwk": { "kty": "EC", "crv": "P-256", "x": self.x, "y": self.y } });
        let mut claims = json!({
            "jti": UNIQUE.fetch_add(1, Ordering::SeqCst).to_string(),
            "htm": method, "htu": format!("{}{path}", site.url), "iat": site.now().as_second(),
            "ath": hash(token.as_bytes()),
        });
        claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    /// Asks `api` for the role `deploy` with a good proof.
    pub(crate) async fn deploy(&self, site: &Site, api: &Api, token: &str) -> Answer {
        let proof = self.proof(site, "POST", "/v1/credentials", token, &json!({}));
        api.credentials_with(token, &json!({ "role": "deploy" }), &[("dpop", &proof)]).await
    }

    /// Sends anything with a good proof.
    pub(crate) async fn send(&self, site: &Site, method: Method, path: &str, token: &str) -> Answer {
        let proof = self.proof(site, method.as_str(), path, token, &json!({}));
        let bearer = format!("DPoP {token}");
        site.api().send(method, path, &[("authorization", &bearer), ("dpop", &proof)], "").await
    }
}
