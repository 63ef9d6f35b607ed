//! A key that only this process has, and proofs by it (RFC 9449), so that a token that leaks is of no use to anybody.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::client::{bearer, beside};
use super::failure::{Failure, Status};
use crate::clock::{Clock, random_bytes};
use crate::identity::{BINDING, thumbprint};
use crate::net::Request;
use crate::secret::Fingerprint;

/// Coordinates of a P-256 point, after the byte that says that both follow (SEC 1, section 2.3.3).
const COORDINATE: usize = 32;

/// Whether the token is bound to a key that is made for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum Bind {
    /// Where the platform is known to make tokens for any audience: GitHub Actions.
    #[default]
    Auto,
    /// Always; a source that cannot make such a token is an error.
    Always,
    /// Never: whoever has the token can use it.
    Never,
}

/// A key pair that is made for one command.
pub(super) struct JobKey {
    pair: EcdsaKeyPair,
    jwk: Value,
    thumbprint: String,
}

impl JobKey {
    /// A fresh key on P-256.
    pub(super) fn generate() -> Result<Self, Failure> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| broken())?;
        Self::of(pair)
    }

    /// The key that [`Self::export`] wrote.
    pub(super) fn import(text: &SecretString) -> Result<Self, Failure> {
        let unreadable = || Failure::new(Status::Usage, "the lease's key cannot be read");
        let pkcs8 = URL_SAFE_NO_PAD.decode(text.expose_secret()).map_err(|_| unreadable())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8);
        Self::of(pair.map_err(|_| unreadable())?)
    }

    /// The whole key as text (PKCS #8, base64url), for another command of the same job.
    pub(super) fn export(&self) -> Result<SecretString, Failure> {
        let pkcs8 = self.pair.to_pkcs8v1().map_err(|_| broken())?;
        Ok(URL_SAFE_NO_PAD.encode(pkcs8.as_ref()).into())
    }

    fn of(pair: EcdsaKeyPair) -> Result<Self, Failure> {
        let point = pair.public_key().as_ref();
        let (_, coordinates) = point.split_first().ok_or_else(broken)?;
        let (x, y) = coordinates.split_at_checked(COORDINATE).ok_or_else(broken)?;
        let [x, y] = [x, y].map(|coordinate| URL_SAFE_NO_PAD.encode(coordinate));
        let jwk = json!({ "kty": "EC", "crv": "P-256", "x": x, "y": y });
        let thumbprint = jwk.as_object().and_then(thumbprint).ok_or_else(broken)?.to_string();
        Ok(Self { pair, jwk, thumbprint })
    }

    /// `audience` with this key named after it.
    pub(super) fn bind(&self, audience: &str) -> String {
        format!("{audience}{BINDING}{}", self.thumbprint)
    }

    /// True if `token` says that it is for `audience` and this key. A platform that ignores what it is asked for gives a
    /// token that is bound to nothing.
    pub(super) fn is_named_by(&self, token: &SecretString, audience: &str) -> bool {
        let payload = token.expose_secret().split('.').nth(1);
        let payload = payload.and_then(|payload| URL_SAFE_NO_PAD.decode(payload).ok());
        let claims: Option<Value> = payload.and_then(|payload| serde_json::from_slice(&payload).ok());
        let bound = self.bind(audience);
        claims.is_some_and(|claims| match claims.get("aud") {
            Some(Value::Array(list)) => list.iter().any(|one| *one == bound),
            Some(one) => *one == bound,
            None => false,
        })
    }

    /// A proof for one request that carries `token` (RFC 9449, section 4.2).
    fn proof(&self, request: &Request, token: &SecretString) -> Result<SecretString, Failure> {
        let mut url = request.url.clone();
        url.set_query(None);
        url.set_fragment(None);
        let jti: [u8; 16] = random_bytes().map_err(|_| broken())?;
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk });
        let claims = json!({
            "jti": URL_SAFE_NO_PAD.encode(jti),
            "htm": request.method.as_str(),
            "htu": url.as_str(),
            "iat": Clock::system().now().as_second(),
            "ath": URL_SAFE_NO_PAD.encode(Fingerprint::of(token.expose_secret().as_bytes()).as_bytes()),
        });
        let [header, claims] = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).map_err(|_| broken())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref())).into())
    }
}

impl fmt::Debug for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("JobKey").field(&self.thumbprint).finish()
    }
}

/// What is shown to the broker: a token or lease secret, with the key that it is bound to, and the runner's own token.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown {
    /// None where the certificate of the connection says who asks.
    pub(super) secret: Option<SecretString>,
    pub(super) key: Option<Arc<JobKey>>,
    /// Where the job runs, if its runner proves itself.
    pub(super) actor: Option<SecretString>,
}

impl Shown {
    /// `request` with this as proof of who asks.
    pub(super) fn on(&self, request: Request) -> Result<Request, Failure> {
        let request = beside(request, self.actor.as_ref())?;
        let Some(secret) = &self.secret else { return Ok(request) };
        let proof = self.key.as_deref().map(|key| key.proof(&request, secret)).transpose()?;
        let request = bearer(request, secret)?;
        match proof {
            Some(proof) => request.header("dpop", proof.expose_secret()).map_err(|_| broken()),
            None => Ok(request),
        }
    }
}

impl From<SecretString> for Shown {
    fn from(secret: SecretString) -> Self {
        Self { secret: Some(secret), key: None, actor: None }
    }
}

fn broken() -> Failure {
    Failure::new(Status::Failed, "no key could be made, or used")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &Value) -> SecretString {
        format!("e30.{}.AA", URL_SAFE_NO_PAD.encode(claims.to_string())).into()
    }

    #[test]
    fn a_key_knows_the_tokens_that_are_bound_to_it_and_survives_its_export() {
        let key = JobKey::generate().unwrap();
        let again = JobKey::import(&key.export().unwrap()).unwrap();
        let bound = again.bind("https://tollgate.example");
        for aud in [json!(bound), json!([bound])] {
            assert!(key.is_named_by(&token(&json!({ "aud": aud })), "https://tollgate.example"));
        }
        let other = JobKey::generate().unwrap().bind("https://tollgate.example");
        for aud in [json!("https://tollgate.example"), json!(other), json!(1)] {
            assert!(!key.is_named_by(&token(&json!({ "aud": aud })), "https://tollgate.example"));
        }
        assert!(!key.is_named_by(&"no token".to_owned().into(), "https://tollgate.example"));
    }

    #[test]
    fn s_01_debug_hides_the_private_key() {
        let key = JobKey::generate().unwrap();
        let exported = key.export().unwrap();
        assert!(!format!("{key:?}").contains(exported.expose_secret()));
    }
}
