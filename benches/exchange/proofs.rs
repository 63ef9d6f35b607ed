//! A job's key, the tokens that are bound to it, and a proof for each (RFC 9449).

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::signer::Signer;
use crate::site::{Site, tokens};
use crate::{Fallible, load};

/// Where credentials are asked for.
const PATH: &str = "/v1/credentials";

/// `count` requests for `role` at `site`, each with a token of its own that is bound to one key, and a proof by the key.
/// The proofs serve for a minute.
pub(crate) fn requests(site: &Site, issuer: &Signer, role: &str, count: usize) -> Fallible<Vec<Vec<u8>>> {
    let (key, now) = (Signer::ec()?, Clock::system().now().as_second());
    let public = public(&key)?;
    let audience = format!("{}#jkt={}", site.url(), thumbprint(&public));
    let header = json!({ "typ": "dpop+jwt", "alg": key.algorithm(), "jwk": public });
    let body = json!({ "role": role }).to_string();
    let tokens = tokens(&audience, issuer, count)?;
    let request = |token: &String| -> Fallible<_> {
        let hash = hash(token.as_bytes());
        // The hash of a token that is used once is as unique as an id has to be.
        let claims = json!({ "jti": hash, "htm": "POST", "htu": format!("{}{PATH}", site.url()), "iat": now, "ath": hash });
        let proof = key.sign_with(&header, &claims)?;
        let headers = format!("authorization: DPoP {token}\r\ndpop: {proof}\r\n");
        Ok(load::post_with(PATH, &headers, &body))
    };
    tokens.iter().map(request).collect()
}

/// The members that a thumbprint is made of, and no others.
fn public(key: &Signer) -> Fallible<Value> {
    let Value::Object(mut jwk) = key.jwk()? else { return Err("no JWK".into()) };
    jwk.retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    Ok(jwk.into())
}

/// RFC 7638: the members in the order of their names.
fn thumbprint(public: &Value) -> String {
    let [crv, kty, x, y] = ["crv", "kty", "x", "y"].map(|name| &public[name]);
    hash(format!("{{\"crv\":{crv},\"kty\":{kty},\"x\":{x},\"y\":{y}}}").as_bytes())
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, bytes))
}
