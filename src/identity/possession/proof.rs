//! A DPoP proof (RFC 9449, section 4): what is checked of it, in the order of section 4.3.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::{key, target};
use crate::domain::{Code, Refusal, Thumbprint};
use crate::identity::keys;
use crate::identity::times;
use crate::identity::token::{TokenError, Unverified};
use crate::secret::Fingerprint;

/// Longest time since a proof was made, seconds.
const MAX_AGE: i64 = 60;
/// Furthest that its maker's clock may be ahead, seconds.
const MAX_AHEAD: i64 = 30;
/// A used proof is remembered that much longer than it would be accepted: the clocks of replicas differ.
const MARGIN: SignedDuration = SignedDuration::from_secs(60);
/// Longest `jti`, bytes.
const MAX_JTI: usize = 256;

/// A proof as it was sent, with what it must be for. Nothing of it is verified yet.
#[derive(Debug)]
pub struct Proof {
    text: SecretString,
    method: String,
    url: String,
    names_token: bool,
}

/// A proof that was good, by which it is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedProof {
    /// Hash of the key's thumbprint and the proof's id.
    pub id: Fingerprint,
    /// When nobody accepts it any more.
    pub until: Timestamp,
}

/// Why a proof is refused. Numbers are seconds.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum ProofError {
    #[error("it is not a signed JWT of type dpop+jwt ({0})")]
    Form(#[from] TokenError),
    #[error("the `jwk` in its header holds a private key, which others have seen now: make another key")]
    PrivateKey,
    #[error("the `jwk` in its header is not a public key for its algorithm")]
    Key,
    #[error("it is by another key than the one that the token or lease is bound to")]
    OtherKey,
    #[error("its claim `{0}` is missing or of the wrong form")]
    Claim(&'static str),
    #[error("it is for another method")]
    Method,
    #[error("it is for another URL than this request's under Tollgate's public URL")]
    Url,
    #[error("it was made {0} seconds ago; {MAX_AGE} are accepted")]
    Old(i64),
    #[error("it was made {0} seconds ahead of this server's clock")]
    Ahead(i64),
    #[error("its claim `ath` is not the hash of the token or secret that came with it")]
    OtherToken,
}

impl Proof {
    /// A proof that came beside a token or secret in the `Authorization` header of a request with `method` for `url`: it
    /// names the one that it came with (`ath`, RFC 9449, section 4.2).
    pub fn beside_bearer(text: SecretString, method: &str, url: String) -> Self {
        Self { text, method: method.to_owned(), url, names_token: true }
    }

    /// A proof of a token request (RFC 9449, section 5), whose token is a parameter, and need not be named.
    pub fn of_token_request(text: SecretString, method: &str, url: String) -> Self {
        Self { text, method: method.to_owned(), url, names_token: false }
    }

    /// That this is a proof by `bound`, for this request, of this minute, beside `shown`.
    pub(in crate::identity) fn check(
        &self,
        bound: Thumbprint,
        shown: &str,
        now: Timestamp,
    ) -> Result<UsedProof, ProofError> {
        let (unverified, jwk) = Unverified::parse_proof(self.text.expose_secret())?;
        if key::is_private(&jwk) {
            return Err(ProofError::PrivateKey);
        }
        if key::thumbprint(&jwk) != Some(bound) {
            return Err(ProofError::OtherKey);
        }
        let key = keys::embedded(&jwk, unverified.algorithm()).ok_or(ProofError::Key)?;
        let claims = unverified.verify(&key)?;
        self.is_for_this_request(&claims)?;
        let made = made(&claims, now)?;
        self.names(&claims, shown)?;
        let jti = text(&claims, "jti").filter(|jti| (1..=MAX_JTI).contains(&jti.len()));
        let jti = jti.ok_or(ProofError::Claim("jti"))?;
        let id = [b"tollgate/proof/1".as_slice(), bound.as_bytes(), jti.as_bytes()].concat();
        let until = made.saturating_add(SignedDuration::from_secs(MAX_AGE) + MARGIN);
        Ok(UsedProof { id: Fingerprint::of(&id), until: until.unwrap_or(Timestamp::MAX) })
    }

    fn is_for_this_request(&self, claims: &Map<String, Value>) -> Result<(), ProofError> {
        let method = text(claims, "htm").ok_or(ProofError::Claim("htm"))?;
        if method != self.method {
            return Err(ProofError::Method);
        }
        let url = text(claims, "htu").and_then(target::normal).ok_or(ProofError::Claim("htu"))?;
        if target::normal(&self.url) == Some(url) { Ok(()) } else { Err(ProofError::Url) }
    }

    fn names(&self, claims: &Map<String, Value>, shown: &str) -> Result<(), ProofError> {
        let hash = || URL_SAFE_NO_PAD.encode(Fingerprint::of(shown.as_bytes()).as_bytes());
        match claims.get("ath") {
            Some(ath) if *ath == hash() => Ok(()),
            Some(_) => Err(ProofError::OtherToken),
            None if self.names_token => Err(ProofError::Claim("ath")),
            None => Ok(()),
        }
    }
}

/// When the proof was made, which is now: within the clocks' difference and the time that a request takes.
fn made(claims: &Map<String, Value>, now: Timestamp) -> Result<Timestamp, ProofError> {
    let made = times::time(claims, "iat").ok().flatten().ok_or(ProofError::Claim("iat"))?;
    let age = now.as_second() - made;
    if age > MAX_AGE {
        return Err(ProofError::Old(age));
    }
    if -age > MAX_AHEAD {
        return Err(ProofError::Ahead(-age));
    }
    Timestamp::from_second(made).map_err(|_| ProofError::Claim("iat"))
}

fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

impl From<ProofError> for Refusal {
    fn from(error: ProofError) -> Self {
        Self::new(Code::ProofInvalid, format!("the DPoP proof is refused: {error}"))
    }
}
