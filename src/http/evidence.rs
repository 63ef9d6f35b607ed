//! What a request shows of who asks, of the key that it is bound to, and of where it runs: read from its head and its
//! connection, verified by the broker.
//!
//! What a proof must be for is built from the public URL of the configuration, never from the `Host` header.

use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use secrecy::{ExposeSecret, SecretString};

use super::Peer;
use super::bearer::{self, Scheme};
use super::fields::malformed;
use crate::domain::{Code, IssuerUrl, Refusal};
use crate::identity::{Evidence, Held, Proof};
use crate::net::PeerCertificate;
use crate::secret::LeaseSecret;

/// Holds a proof of possession (RFC 9449, section 4.1).
const DPOP: HeaderName = HeaderName::from_static("dpop");

/// The header with the runner's own token, beside the job's in `Authorization`.
const ACTOR_TOKEN: &str = "tollgate-actor-token";

/// Longest proof, bytes; checked before anything is decoded. One with an RSA key of 4096 bits has two thousand.
const MAX_PROOF_BYTES: usize = 4 * 1024;

/// The evidence in the head of a request to `url`, and of its connection. A header that is there and broken is refused,
/// whatever the connection shows.
///
/// # Errors
/// `token_missing`, `token_malformed`, `token_too_large`, `proof_missing`, `proof_invalid`; `request_malformed` for two actor
/// tokens.
pub(super) fn of(url: &IssuerUrl, parts: &Parts) -> Result<Evidence, Refusal> {
    let certificate = certificate(parts);
    let actor = actor(&parts.headers)?;
    if certificate.is_some()
        && !parts.headers.contains_key(AUTHORIZATION)
        && !parts.headers.contains_key(DPOP)
    {
        return Ok(Evidence { certificate, actor, ..Evidence::default() });
    }
    let (token, proof) = shown(url, parts)?;
    Ok(Evidence { token: Some(token), proof, certificate, actor })
}

/// The token of the runner, if one is shown.
///
/// # Errors
/// `token_malformed`, `token_too_large`; `request_malformed` for two.
pub(super) fn actor(headers: &HeaderMap) -> Result<Option<SecretString>, Refusal> {
    let mut lines = headers.get_all(ACTOR_TOKEN).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(malformed(format!("send one {ACTOR_TOKEN}")));
    }
    let token = SecretString::from(line.to_str().unwrap_or_default());
    bearer::check(&token)?;
    Ok(Some(token))
}

/// What the other end of the connection proved possession of.
fn certificate(parts: &Parts) -> Option<PeerCertificate> {
    parts.extensions.get::<Peer>().and_then(|peer| peer.certificate.clone())
}

/// The evidence of a token request (RFC 8693), whose `token` is a parameter.
///
/// # Errors
/// `proof_invalid`.
pub(super) fn of_token_request(
    url: &IssuerUrl,
    parts: &Parts,
    token: SecretString,
) -> Result<Evidence, Refusal> {
    let proof = proof(parts)?;
    let proof = proof.map(|text| Proof::of_token_request(text, parts.method.as_str(), target(url, parts)));
    Ok(Evidence { proof, certificate: certificate(parts), ..token.into() })
}

/// What proves a right over a lease.
pub(super) enum LeaseProof {
    /// Its own secret.
    Holder(Held),
    /// An identity, whose rights policy knows.
    Operator(Evidence),
}

/// What the request proves its right over a lease with. A text that begins like a lease secret is one, or a wrong one.
///
/// # Errors
/// As [`held`].
pub(super) fn of_lease(url: &IssuerUrl, parts: &Parts) -> Result<LeaseProof, Refusal> {
    let evidence = of(url, parts)?;
    match evidence.token {
        Some(token) if token.expose_secret().starts_with(LeaseSecret::PREFIX) => {
            let (proof, certificate) = (evidence.proof, evidence.certificate);
            Ok(LeaseProof::Holder(Held { secret: secret(&token)?, proof, certificate }))
        }
        token => Ok(LeaseProof::Operator(Evidence { token, ..evidence })),
    }
}

/// The lease secret of the request. A text that cannot be one is answered like a wrong one.
///
/// # Errors
/// As [`of`]; `lease_unknown`.
pub(super) fn held(url: &IssuerUrl, parts: &Parts) -> Result<Held, Refusal> {
    let (token, proof) = shown(url, parts)?;
    Ok(Held { secret: secret(&token)?, proof, certificate: certificate(parts) })
}

fn secret(token: &SecretString) -> Result<LeaseSecret, Refusal> {
    let unknown = |_| Refusal::new(Code::LeaseUnknown, "no lease has this id and secret");
    token.expose_secret().parse().map_err(unknown)
}

fn shown(url: &IssuerUrl, parts: &Parts) -> Result<(SecretString, Option<Proof>), Refusal> {
    let (scheme, token) = bearer::shown(&parts.headers)?;
    let proof = proof(parts)?;
    if scheme == Scheme::Dpop && proof.is_none() {
        return Err(Refusal::new(Code::ProofMissing, "Authorization: DPoP needs a proof in the header DPoP"));
    }
    let proof = proof.map(|text| Proof::beside_bearer(text, parts.method.as_str(), target(url, parts)));
    Ok((token, proof))
}

/// The one proof in the head (RFC 9449, section 4.3, item 1).
fn proof(parts: &Parts) -> Result<Option<SecretString>, Refusal> {
    let invalid = |message: &str| Refusal::new(Code::ProofInvalid, message);
    let mut lines = parts.headers.get_all(DPOP).iter();
    let Some(line) = lines.next() else { return Ok(None) };
    if lines.next().is_some() {
        return Err(invalid("send one DPoP header"));
    }
    if line.len() > MAX_PROOF_BYTES {
        return Err(invalid("the DPoP proof is longer than 4 KiB"));
    }
    let text = line.to_str().map_err(|_| invalid("the DPoP proof is not text"))?;
    Ok(Some(SecretString::from(text)))
}

/// The URL that a proof of this request names: the path as it was asked for, under the public URL.
fn target(url: &IssuerUrl, parts: &Parts) -> String {
    format!("{}{}", url.as_str().trim_end_matches('/'), parts.uri.path())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn parts(lines: &[(&str, &str)]) -> Parts {
        let mut request = Request::post("/v1/leases/x?a=b");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn evidence(lines: &[(&str, &str)]) -> Result<Evidence, Code> {
        of(&"https://tollgate.example/base/".parse().unwrap(), &parts(lines)).map_err(|refusal| refusal.code)
    }

    #[test]
    fn i_22_a_proof_comes_once_and_small_and_the_scheme_dpop_needs_one() {
        let bearer = ("authorization", "Bearer a");
        assert!(evidence(&[bearer]).unwrap().proof.is_none());
        assert!(evidence(&[bearer, ("dpop", "p")]).unwrap().proof.is_some());
        assert!(evidence(&[("authorization", "DPoP a"), ("dpop", "p")]).unwrap().proof.is_some());
        assert_eq!(evidence(&[("authorization", "DPoP a")]).unwrap_err(), Code::ProofMissing);
        assert_eq!(evidence(&[bearer, ("dpop", "p"), ("dpop", "p")]).unwrap_err(), Code::ProofInvalid);
        let long = "p".repeat(MAX_PROOF_BYTES + 1);
        assert_eq!(evidence(&[bearer, ("dpop", &long)]).unwrap_err(), Code::ProofInvalid);
        assert_eq!(evidence(&[("dpop", "p")]).unwrap_err(), Code::TokenMissing);
    }

    #[test]
    fn i_22_a_proof_is_for_the_public_url_whatever_host_says() {
        let url = "https://tollgate.example/base/".parse().unwrap();
        let parts = parts(&[("host", "evil.example")]);
        assert_eq!(target(&url, &parts), "https://tollgate.example/base/v1/leases/x");
    }

    #[test]
    fn c_07_a_malformed_lease_secret_is_answered_like_a_wrong_one() {
        let url = "https://tollgate.example".parse().unwrap();
        let refused = held(&url, &parts(&[("authorization", "Bearer guess")])).unwrap_err();
        assert_eq!(refused.code, Code::LeaseUnknown);
    }

    fn read(lines: &[&str]) -> Result<Option<String>, Code> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(ACTOR_TOKEN, line.parse().unwrap());
        }
        let actor = actor(&headers).map_err(|refusal| refusal.code)?;
        Ok(actor.map(|token| token.expose_secret().to_owned()))
    }

    #[test]
    fn reads_one_actor_token_or_none() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["a.b.c"]), Ok(Some("a.b.c".to_owned())));
        assert_eq!(read(&["a.b.c", "a.b.c"]), Err(Code::RequestMalformed));
        for none in ["", "Bearer a.b.c", "a,b", "é"] {
            assert_eq!(read(&[none]), Err(Code::TokenMalformed), "{none}");
        }
    }

    #[test]
    fn i_09_request_refuses_a_large_actor_token_by_its_size() {
        assert_eq!(read(&["a".repeat(bearer::MAX_TOKEN_BYTES + 1).as_str()]), Err(Code::TokenTooLarge));
    }
}
