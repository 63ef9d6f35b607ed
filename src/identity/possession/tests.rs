//! From a bound token and a proof to a caller or a refusal.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::{Proof, key};
use crate::clock::Clock;
use crate::config::{Issuer, KeySource, Possession};
use crate::domain::{Code, Thumbprint};
use crate::identity::tests::harness::{AUDIENCE, NOW, at, claims, entry, identity, key_set};
use crate::identity::tests::signer::Signer;
use crate::identity::{Caller, Evidence};
use crate::secret::Fingerprint;

const URL: &str = "https://tollgate.example/v1/credentials";

/// An issuer's key, a job's key, and the entry.
struct Case {
    issuer: Signer,
    job: Signer,
    entry: Issuer,
}

fn jkt(signer: &Signer) -> Thumbprint {
    key::thumbprint(signer.jwk().as_object().unwrap()).unwrap()
}

impl Case {
    fn new() -> Self {
        Self::of(Signer::ec("job"))
    }

    fn of(job: Signer) -> Self {
        let issuer = Signer::ec("k1");
        let keys = KeySource::Inline { jwks: key_set(&[&issuer]).to_string() };
        Self { entry: Issuer { keys, ..entry("acme") }, issuer, job }
    }

    fn token_for(&self, audience: &Value) -> String {
        let mut claims = claims(&self.entry);
        claims["aud"] = audience.clone();
        self.issuer.token(&claims)
    }

    fn bound(&self) -> String {
        self.token_for(&json!(format!("{AUDIENCE}#jkt={}", jkt(&self.job))))
    }

    /// A good proof beside `token`, with changed header and claims; `"absent"` removes.
    fn proof(&self, token: &str, header: &Value, claims: &Value) -> String {
        let ath = URL_SAFE_NO_PAD.encode(Fingerprint::of(token.as_bytes()).as_bytes());
        let mut good = [
            json!({"typ": "dpop+jwt", "alg": self.job.header()["alg"], "jwk": public(&self.job)}),
            json!({"jti": "once", "htm": "POST", "htu": URL, "iat": NOW, "ath": ath}),
        ];
        for (part, changes) in good.iter_mut().zip([header, claims]) {
            let part = part.as_object_mut().unwrap();
            part.extend(changes.as_object().unwrap().clone());
            part.retain(|_, value| value != "absent");
        }
        self.job.token_of(&good[0], &good[1].to_string())
    }

    async fn shown(&self, token: String, proof: Option<Proof>) -> Result<Caller, Code> {
        let identity = identity(vec![self.entry.clone()], &Arc::default(), &Clock::manual(at(NOW)));
        let evidence = Evidence { proof, ..Evidence::from(SecretString::from(token)) };
        identity.authenticate(&evidence).await.map_err(|refusal| refusal.code)
    }

    async fn with(&self, header: Value, claims: Value) -> Result<Caller, Code> {
        let token = self.bound();
        let proof = self.proof(&token, &header, &claims);
        self.shown(token, Some(beside(proof))).await
    }
}

/// The members that are part of the key, without the `kid` of the tests.
fn public(signer: &Signer) -> Value {
    let mut jwk = signer.jwk();
    jwk.as_object_mut().unwrap().remove("kid");
    jwk
}

fn beside(proof: String) -> Proof {
    Proof::beside_bearer(proof.into(), "POST", URL.into())
}

#[tokio::test]
async fn a_bound_token_with_a_proof_becomes_a_caller_that_is_bound() {
    for job in [Signer::ec("job"), Signer::ed("job"), Signer::rsa("job")] {
        let case = Case::of(job);
        let caller = case.with(json!({}), json!({})).await.unwrap();
        assert_eq!(caller.bound(), Some(jkt(&case.job)));
        assert!(caller.proof().unwrap().until > at(NOW + 60));
    }
    let case = Case::new();
    let plain = case.shown(case.token_for(&json!(AUDIENCE)), None).await.unwrap();
    assert_eq!((plain.bound(), plain.proof()), (None, None));
}

#[tokio::test]
async fn i_22_a_stolen_token_is_refused_without_its_key() {
    let case = Case::new();
    assert_eq!(case.shown(case.bound(), None).await.unwrap_err(), Code::ProofMissing);
    let thief = Case { job: Signer::ec("thief"), ..Case::new() };
    let token = case.bound();
    let proof = thief.proof(&token, &json!({}), &json!({}));
    assert_eq!(case.shown(token.clone(), Some(beside(proof))).await.unwrap_err(), Code::ProofInvalid);
    // The right public key in the header, and a signature by another one.
    let proof = thief.proof(&token, &json!({"jwk": public(&case.job)}), &json!({}));
    assert_eq!(case.shown(token, Some(beside(proof))).await.unwrap_err(), Code::ProofInvalid);
}

#[tokio::test]
async fn i_22_a_proof_serves_for_its_request_and_its_minute() {
    let case = Case::new();
    for good in [
        json!({"iat": NOW - 60}),
        json!({"iat": NOW + 30}),
        json!({"htu": "HTTPS://tollgate.example:443/v1/./credentials"}),
        json!({"exp": 1, "nonce": "x"}),
    ] {
        case.with(json!({}), good.clone()).await.unwrap_or_else(|code| panic!("{good}: {code}"));
    }
    for bad in [
        json!({"htm": "GET"}),
        json!({"htm": "post"}),
        json!({"htm": "absent"}),
        json!({"htu": "https://tollgate.example/token"}),
        json!({"htu": "http://tollgate.example/v1/credentials"}),
        json!({"htu": "https://evil.example/v1/credentials"}),
        json!({"htu": format!("{URL}?a=b")}),
        json!({"htu": "absent"}),
        json!({"iat": NOW - 61}),
        json!({"iat": NOW - 7 * 24 * 3600}),
        json!({"iat": NOW + 31}),
        json!({"iat": NOW.to_string()}),
        json!({"iat": "absent"}),
        json!({"jti": "absent"}),
        json!({"jti": ""}),
        json!({"jti": "j".repeat(257)}),
        json!({"ath": "absent"}),
        json!({"ath": URL_SAFE_NO_PAD.encode([0; 32])}),
    ] {
        assert_eq!(case.with(json!({}), bad.clone()).await.unwrap_err(), Code::ProofInvalid, "{bad}");
    }
}

#[tokio::test]
async fn i_22_a_proof_says_what_it_is_and_shows_a_public_key_only() {
    let case = Case::new();
    let with_private = |member: &str| {
        let mut jwk = public(&case.job);
        jwk[member] = json!("AA");
        json!({"jwk": jwk})
    };
    let mut bad = vec![
        json!({"typ": "JWT"}),
        json!({"typ": "absent"}),
        json!({"alg": "none"}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES384"}),
        json!({"alg": "RS256"}),
        json!({"alg": "absent"}),
        json!({"jwk": "absent"}),
        json!({"jwk": "key"}),
        json!({"jwk": {"kty": "oct", "k": "AA"}}),
        json!({"crit": ["exp"]}),
    ];
    bad.extend(["d", "p", "k", "oth"].map(with_private));
    for header in bad {
        assert_eq!(case.with(header.clone(), json!({})).await.unwrap_err(), Code::ProofInvalid, "{header}");
    }
    let token = case.bound();
    let proof = case.proof(&token, &json!({}), &json!({}));
    let (signed, _) = proof.rsplit_once('.').unwrap();
    for text in [String::new(), "a.b.c".into(), format!("{signed}."), token.clone()] {
        assert_eq!(case.shown(token.clone(), Some(beside(text))).await.unwrap_err(), Code::ProofInvalid);
    }
}

#[tokio::test]
async fn i_22_a_proof_beside_a_token_that_is_not_bound_is_refused() {
    let case = Case::new();
    let token = case.token_for(&json!(AUDIENCE));
    let proof = case.proof(&token, &json!({}), &json!({}));
    assert_eq!(case.shown(token, Some(beside(proof))).await.unwrap_err(), Code::ProofInvalid);
}

#[tokio::test]
async fn a_token_request_need_not_name_its_token_but_never_another() {
    let case = Case::new();
    let token = case.bound();
    let of_request = |ath: Value| {
        let proof = case.proof(&token, &json!({}), &json!({"ath": ath}));
        case.shown(token.clone(), Some(Proof::of_token_request(proof.into(), "POST", URL.into())))
    };
    of_request(json!("absent")).await.unwrap();
    assert_eq!(of_request(json!("AAAA")).await.unwrap_err(), Code::ProofInvalid);
}

#[tokio::test]
async fn i_06_an_audience_names_a_key_exactly_or_is_another_audience() {
    let mut case = Case::new();
    case.entry.audience_list = true;
    let bound = format!("{AUDIENCE}#jkt={}", jkt(&case.job));
    for refused in [
        json!(format!("{AUDIENCE}#jkt=")),
        json!(format!("{AUDIENCE}#jkt=AAAA")),
        json!(format!("{bound}=")),
        json!(format!("{AUDIENCE}#JKT={}", jkt(&case.job))),
        json!(format!("{AUDIENCE}#{}", jkt(&case.job))),
        json!(format!("{AUDIENCE}/#jkt={}", jkt(&case.job))),
        json!([AUDIENCE, bound]),
        json!(["https://other.example", bound]),
    ] {
        let shown = case.shown(case.token_for(&refused), None).await.unwrap_err();
        assert_eq!(shown, Code::TokenAudienceRefused, "{refused}");
    }
    assert_eq!(case.shown(case.token_for(&json!([bound])), None).await.unwrap_err(), Code::ProofMissing);
}

#[tokio::test]
async fn an_entry_takes_bound_tokens_only_or_none() {
    let mut case = Case::new();
    case.entry.possession = Possession::Required;
    let plain = case.token_for(&json!(AUDIENCE));
    assert_eq!(case.shown(plain, None).await.unwrap_err(), Code::PossessionRequired);
    case.with(json!({}), json!({})).await.unwrap();
    case.entry.possession = Possession::Refused;
    assert_eq!(case.with(json!({}), json!({})).await.unwrap_err(), Code::TokenAudienceRefused);
    case.shown(case.token_for(&json!(AUDIENCE)), None).await.unwrap();
}

#[test]
fn s_01_debug_hides_the_proof() {
    assert!(!format!("{:?}", beside("a.proof.text".into())).contains("proof.text"));
}
