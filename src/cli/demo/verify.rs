//! What a service does that accepts Tollgate's tokens: discovery, keys, signature, issuer, time. It shares no state with
//! the broker and calls none of its code.

use std::io::Read;

use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde_json::Value;
use url::Url;

use crate::cli::client::http_client;
use crate::cli::failure::{Failure, Status};
use crate::cli::output::Output;
use crate::net::Request;

/// Reads a token from standard input and prints its claims if `issuer` vouches for it.
pub(super) async fn run(issuer: &str, output: Output) -> Result<(), Failure> {
    let mut token = String::new();
    std::io::stdin().lock().take(16 * 1024).read_to_string(&mut token)?;
    let claims = verify(issuer, token.trim()).await?;
    if output.is_json() {
        return Ok(Output::json(&claims)?);
    }
    super::super::whoami::print_members(&claims, output, 0)
}

async fn verify(issuer: &str, token: &str) -> Result<Value, Failure> {
    let refused = |why: String| Failure::new(Status::Denied, format!("the token is not good: {why}"));
    let discovery = get(&format!("{issuer}/.well-known/openid-configuration")).await?;
    if discovery.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(refused("the discovery document names another issuer".into()));
    }
    let jwks = get(discovery.get("jwks_uri").and_then(Value::as_str).unwrap_or_default()).await?;
    let jwks: JwkSet = serde_json::from_value(jwks).map_err(|error| refused(error.to_string()))?;
    let kid = decode_header(token).map_err(|error| refused(error.to_string()))?.kid.unwrap_or_default();
    let key = jwks.find(&kid).ok_or_else(|| refused("no such key".into()))?;
    let key = DecodingKey::from_jwk(key).map_err(|error| refused(error.to_string()))?;
    let mut rules = Validation::new(Algorithm::ES256);
    rules.set_issuer(&[issuer]);
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    // A service of its own would name itself here; this one only shows the audience.
    rules.validate_aud = false;
    let claims = decode::<Value>(token, &key, &rules).map_err(|error| refused(error.to_string()))?;
    Ok(claims.claims)
}

async fn get(url: &str) -> Result<Value, Failure> {
    let failed = |why: String| Failure::new(Status::Unavailable, format!("{url}: {why}"));
    let target = Url::parse(url).map_err(|error| failed(error.to_string()))?;
    let answer =
        http_client()?.send(Request::get(target)).await.map_err(|error| failed(error.to_string()))?;
    serde_json::from_slice(&answer.body).map_err(|error| failed(error.to_string()))
}
