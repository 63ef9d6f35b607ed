//! From a token to a caller or a refusal, with inline keys: nobody is asked.

use std::sync::Arc;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::harness::*;
use super::signer::Signer;
use crate::clock::Clock;
use crate::config::{Algorithm, AttributeRule, Issuer, KeySource, Profile, Requirement};
use crate::domain::{Code, Scalar, Trust};
use crate::identity::{Caller, Identity, IdentityError, MAX_SUBJECT};
use crate::secret::Fingerprint;

/// One RSA key, one entry, and the identity that knows them.
struct Case {
    signer: Signer,
    entry: Issuer,
}

impl Case {
    fn new() -> Self {
        let signer = Signer::rsa("k1");
        let keys = KeySource::Inline { jwks: key_set(&[&signer]).to_string() };
        Self { entry: Issuer { keys, ..entry("acme") }, signer }
    }

    fn identity(&self) -> Identity {
        identity(vec![self.entry.clone()], &Arc::default(), &Clock::manual(at(NOW)))
    }

    /// Good claims, changed.
    fn claims(&self, changes: Value) -> Value {
        let Value::Object(changes) = changes else { panic!("an object") };
        let mut claims = claims(&self.entry);
        claims.as_object_mut().unwrap().extend(changes);
        claims.as_object_mut().unwrap().retain(|_, value| value != "absent");
        claims
    }

    async fn with_claims(&self, changes: Value) -> Result<(), Code> {
        code(&self.identity(), self.signer.token(&self.claims(changes))).await
    }

    async fn with_header(&self, header: Value) -> Result<(), Code> {
        let payload = self.claims(json!({})).to_string();
        code(&self.identity(), self.signer.token_of(&header, &payload)).await
    }

    async fn caller(&self, changes: Value) -> Caller {
        let token = self.signer.token(&self.claims(changes));
        self.identity().authenticate(&token.into()).await.unwrap()
    }
}

#[tokio::test]
async fn a_good_token_becomes_a_caller() {
    let case = Case::new();
    let token = case.signer.token(&case.claims(json!({})));
    let caller = case.identity().authenticate(&token.clone().into()).await.unwrap();
    assert_eq!(caller.issuer().as_str(), "acme");
    assert_eq!(caller.issuer_url(), &case.entry.url);
    assert_eq!((caller.kind(), caller.subject()), ("generic", "service-1"));
    assert_eq!(caller.principal().as_str(), "generic:acme:service-1");
    assert_eq!(caller.tenant().as_str(), "acme");
    assert_eq!(caller.trust(), Trust::Unknown);
    let (signed, _) = token.rsplit_once('.').unwrap();
    assert_eq!(caller.token(), Fingerprint::of(signed.as_bytes()));
    assert_eq!((caller.issued_at(), caller.expires_at()), (at(NOW - 10), at(NOW + 300)));
    assert_eq!(caller.claims()["aud"], AUDIENCE);
}

#[tokio::test]
async fn reads_the_profile_the_extra_attributes_and_the_tenant() {
    let mut case = Case::new();
    case.entry.url = "https://token.actions.githubusercontent.com".parse().unwrap();
    case.entry.profile = Profile::GitHub;
    case.entry.tenant = AttributeRule::Table {
        claim: "/repository_owner_id".into(),
        values: [("65".to_owned(), Scalar::Text("shop".into()))].into(),
    };
    case.entry.attributes =
        [("run_number".parse().unwrap(), AttributeRule::Claim("/run_number".into()))].into();
    case.entry.require =
        vec![Requirement { claim: "repository_owner_id".into(), any_of: vec![Scalar::Text("65".into())] }];
    let mut changes: Value =
        serde_json::from_str(include_str!("../profile/fixtures/github_push.json")).unwrap();
    changes["aud"] = json!(AUDIENCE);
    let caller = case.caller(changes.clone()).await;
    assert_eq!(caller.principal().as_str(), "github:repository:74001");
    assert_eq!((caller.tenant().as_str(), caller.trust()), ("shop", Trust::Trusted));
    assert_eq!(
        (&caller.attributes()["branch"], &caller.attributes()["run_number"]),
        (&json!("main"), &json!("42"))
    );

    changes["repository_owner_id"] = json!("66");
    assert_eq!(case.with_claims(changes.clone()).await, Err(Code::IdentityNotAdmitted));
    case.entry.require[0].any_of.push(Scalar::Text("66".into()));
    assert_eq!(case.with_claims(changes).await, Err(Code::TokenClaimInvalid), "no tenant for this owner");
}

#[tokio::test]
async fn i_01_an_unknown_issuer_is_refused() {
    let case = Case::new();
    for issuer in
        ["https://evil.example", "https://issuer.example/", "https://ISSUER.example", "http://127.0.0.1:1"]
    {
        assert_eq!(case.with_claims(json!({"iss": issuer})).await, Err(Code::IssuerUnknown), "{issuer}");
    }
    for issuer in [json!(1), json!(["https://issuer.example"]), json!("absent")] {
        assert_eq!(case.with_claims(json!({"iss": issuer})).await, Err(Code::TokenClaimInvalid), "{issuer}");
    }
}

#[tokio::test]
async fn i_03_rejects_algorithm_taken_from_token() {
    let case = Case::new();
    // Signed by the right key, with an algorithm that the issuer's entry does not list.
    for alg in ["PS256", "RS384"] {
        let refused = case.with_header(json!({"alg": alg, "kid": "k1"})).await;
        assert_eq!(refused, Err(Code::TokenAlgorithmRefused), "{alg}");
    }
    // Listed, and not this key's.
    assert_eq!(case.with_header(json!({"alg": "ES256", "kid": "k1"})).await, Err(Code::TokenKeyUnknown));
    assert_eq!(case.with_header(json!({"alg": "none", "kid": "k1"})).await, Err(Code::TokenAlgorithmRefused));
}

#[tokio::test]
async fn i_03_rejects_a_public_key_used_as_hmac_secret() {
    let case = Case::new();
    let header = json!({"alg": "HS256", "typ": "JWT", "kid": "k1"}).to_string();
    let signed =
        [header, case.claims(json!({})).to_string()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
    let jwk = case.signer.jwk();
    let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
    for secret in [modulus, jwk.to_string().into_bytes()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &secret), signed.as_bytes());
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        assert_eq!(code(&case.identity(), token).await, Err(Code::TokenAlgorithmRefused));
    }
}

#[tokio::test]
async fn i_04_ignores_a_key_in_the_header() {
    let case = Case::new();
    let stranger = Signer::ec("k1");
    let mut header = stranger.header();
    header["jwk"] = stranger.jwk();
    header["jku"] = json!("https://evil.example/keys");
    let token = stranger.token_of(&header, &case.claims(json!({})).to_string());
    assert_eq!(code(&case.identity(), token).await, Err(Code::TokenKeyUnknown));

    let with_own_key = json!({"alg": "RS256", "kid": "k1", "jwk": stranger.jwk(), "x5c": ["AAAA"]});
    assert_eq!(case.with_header(with_own_key).await, Ok(()), "ignored, not obeyed");
    let critical = json!({"alg": "RS256", "kid": "k1", "crit": ["exp"], "exp": 1});
    assert_eq!(case.with_header(critical).await, Err(Code::TokenHeaderRefused));
}

#[tokio::test]
async fn i_05_a_key_id_is_only_looked_up() {
    let case = Case::new();
    for kid in ["../../../etc/passwd", "k1' OR 1=1 --", "https://evil.example/k1", "K1", "k1\0", ""] {
        let refused = case.with_header(json!({"alg": "RS256", "kid": kid})).await;
        assert_eq!(refused, Err(Code::TokenKeyUnknown), "{kid:?}");
    }
    assert_eq!(case.with_header(json!({"alg": "RS256"})).await, Ok(()), "the only key needs no name");
}

#[tokio::test]
async fn i_06_accepts_exactly_the_configured_audience() {
    let mut case = Case::new();
    for (audience, expected) in [
        (json!(AUDIENCE), Ok(())),
        (json!([AUDIENCE]), Ok(())),
        (json!([AUDIENCE, "other"]), Err(Code::TokenAudienceRefused)),
        (json!([AUDIENCE, AUDIENCE]), Err(Code::TokenAudienceRefused)),
        (json!(format!("{AUDIENCE}/")), Err(Code::TokenAudienceRefused)),
        (json!(format!("x{AUDIENCE}")), Err(Code::TokenAudienceRefused)),
        (json!(""), Err(Code::TokenAudienceRefused)),
        (json!("absent"), Err(Code::TokenClaimInvalid)),
        (json!(42), Err(Code::TokenClaimInvalid)),
        (json!([]), Err(Code::TokenClaimInvalid)),
        (json!(null), Err(Code::TokenClaimInvalid)),
        (json!([AUDIENCE, 42]), Err(Code::TokenClaimInvalid)),
    ] {
        assert_eq!(case.with_claims(json!({"aud": audience})).await, expected, "{audience}");
    }
    case.entry.audience_list = true;
    assert_eq!(case.with_claims(json!({"aud": [AUDIENCE, "other"]})).await, Ok(()));
    assert_eq!(case.with_claims(json!({"aud": ["another", "other"]})).await, Err(Code::TokenAudienceRefused));
}

#[tokio::test]
async fn i_06_the_audience_selects_among_entries_of_one_issuer() {
    let case = Case::new();
    let with_audience = |name: &str, audience: &str| Issuer {
        name: name.parse().unwrap(),
        audience: audience.into(),
        audience_list: true,
        ..case.entry.clone()
    };
    let entries =
        vec![with_audience("one", "https://one.example"), with_audience("two", "https://two.example")];
    let identity = identity(entries, &Arc::default(), &Clock::manual(at(NOW)));
    let ask = async |audience: Value| {
        let token = case.signer.token(&case.claims(json!({"aud": audience})));
        let caller = identity.authenticate(&token.into()).await;
        caller.map(|caller| caller.issuer().to_string()).map_err(|refusal| refusal.code)
    };
    assert_eq!(ask(json!("https://one.example")).await, Ok("one".into()));
    assert_eq!(ask(json!(["https://two.example", "x"])).await, Ok("two".into()));
    let both = ask(json!(["https://one.example", "https://two.example"])).await;
    assert_eq!(both, Err(Code::TokenAudienceRefused), "a token for both selects neither");
}

#[tokio::test]
async fn i_07_refuses_claims_of_the_wrong_type() {
    let mut case = Case::new();
    for exp in [json!("1"), json!(NOW.to_string()), json!(1.5), json!(1e23), json!("absent"), json!(null)] {
        assert_eq!(case.with_claims(json!({"exp": exp})).await, Err(Code::TokenClaimInvalid), "{exp}");
    }
    case.entry.profile =
        Profile::Generic { principal_claim: "iss".into(), shared: false, trust: Trust::Unknown };
    for subject in [json!("absent"), json!(1), json!(""), json!("s".repeat(MAX_SUBJECT + 1)), json!(["s"])] {
        assert_eq!(
            case.with_claims(json!({"sub": subject})).await,
            Err(Code::TokenClaimInvalid),
            "{subject}"
        );
    }
}

#[tokio::test]
async fn i_08_refuses_duplicate_keys_in_a_signed_token() {
    let case = Case::new();
    let claims = case.claims(json!({})).to_string();
    for extra in [r#""sub":"service-2""#, r#""s\u0075b":"service-2""#, r#""x":{"a":1,"a":2}"#] {
        let payload = format!("{},{extra}}}", claims.strip_suffix('}').unwrap());
        let token = case.signer.token_of(&case.signer.header(), &payload);
        assert_eq!(code(&case.identity(), token).await, Err(Code::TokenDuplicateKey), "{extra}");
    }
}

#[tokio::test]
async fn i_09_refuses_large_tokens() {
    let case = Case::new();
    let megabyte = case.with_claims(json!({"x": "x".repeat(1024 * 1024)})).await;
    assert_eq!(megabyte, Err(Code::TokenTooLarge));
    let many = case.with_claims(json!({"aud": vec!["a"; 1000]})).await;
    assert_eq!(many, Err(Code::TokenMalformed));
    let mut deep = json!(1);
    for _ in 0..20 {
        deep = json!([deep]);
    }
    assert_eq!(case.with_claims(json!({"x": deep})).await, Err(Code::TokenMalformed));
    assert_eq!(code(&case.identity(), String::new()).await, Err(Code::TokenMissing));
}

#[tokio::test]
async fn i_10_the_fingerprint_is_of_all_that_is_signed() {
    let case = Case::new();
    let (one, other) = (case.caller(json!({})).await, case.caller(json!({"jti": "2"})).await);
    assert_ne!(one.token(), other.token());
    assert_eq!(one.token(), case.caller(json!({})).await.token(), "an RSA signature is deterministic");
}

#[tokio::test]
async fn i_10_an_ecdsa_signature_turned_over_does_not_make_another_token() {
    let mut case = Case::new();
    case.signer = Signer::ec("k1");
    case.entry.keys = KeySource::Inline { jwks: key_set(&[&case.signer]).to_string() };
    let token = case.signer.token(&case.claims(json!({})));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut turned = URL_SAFE_NO_PAD.decode(signature).unwrap();
    turn_over(&mut turned[32..]);
    let turned = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(turned));
    assert_ne!(token, turned);
    let identity = case.identity();
    let first = identity.authenticate(&token.into()).await.unwrap();
    let second = identity.authenticate(&turned.into()).await.unwrap();
    assert_eq!(first.token(), second.token());
}

/// `s` becomes `n - s`, with the order of P-256 (FIPS 186-5), big-endian.
fn turn_over(s: &mut [u8]) {
    const ORDER: u128 = 0xffff_ffff_0000_0000_ffff_ffff_ffff_ffff;
    const LOWER: u128 = 0xbce6_faad_a717_9e84_f3b9_cac2_fc63_2551;
    let (upper, lower) = s.split_at_mut(16);
    let (high, low) =
        (u128::from_be_bytes(upper.try_into().unwrap()), u128::from_be_bytes(lower.try_into().unwrap()));
    let (rest, borrow) = LOWER.overflowing_sub(low);
    lower.copy_from_slice(&rest.to_be_bytes());
    upper.copy_from_slice(&(ORDER - high - u128::from(borrow)).to_be_bytes());
}

#[tokio::test]
async fn i_11_refuses_an_old_token_that_has_not_expired() {
    let case = Case::new();
    let old = json!({"iat": NOW - 3600, "nbf": NOW - 3600, "exp": NOW + 3600});
    assert_eq!(case.with_claims(old).await, Err(Code::TokenTooOld));
}

#[tokio::test]
async fn i_12_refuses_tokens_of_other_kinds_and_its_own() {
    let case = Case::new();
    for typ in ["at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "tollgate-federation+jwt"] {
        let refused = case.with_header(json!({"alg": "RS256", "kid": "k1", "typ": typ})).await;
        assert_eq!(refused, Err(Code::TokenKindRefused), "{typ}");
    }
    for own in own_issuers() {
        assert_eq!(case.with_claims(json!({"iss": own})).await, Err(Code::TokenKindRefused), "{own}");
        let entry = Issuer { url: own, ..case.entry.clone() };
        let memory: Arc<Memory> = Arc::default();
        let refused =
            Identity::new([Arc::new(entry)], own_issuers(), memory, Clock::manual(at(NOW)), None).err();
        assert!(matches!(refused, Some(IdentityError::OwnIssuer { .. })));
    }
}

#[tokio::test]
async fn i_18_a_clock_an_hour_off_refuses() {
    let case = Case::new();
    let token = case.signer.token(&case.claims(json!({})));
    let clock = Clock::manual(at(NOW));
    let identity = identity(vec![case.entry.clone()], &Arc::default(), &clock);
    for (now, expected) in [
        (NOW, Ok(())),
        (NOW + 3600, Err(Code::TokenExpired)),
        (NOW - 3600, Err(Code::TokenNotYetValid)),
        (NOW + 329, Ok(())),
        (NOW + 330, Err(Code::TokenExpired)),
    ] {
        clock.set(at(now));
        assert_eq!(code(&identity, token.clone()).await, expected, "{now}");
    }
}

#[tokio::test]
async fn refuses_a_changed_header_payload_or_signature() {
    let case = Case::new();
    let token = case.signer.token(&case.claims(json!({})));
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let other = case.signer.token(&case.claims(json!({"sub": "service-2"})));
    let other: Vec<_> = other.split('.').collect();
    let stranger = Signer::ec("k1").token(&case.claims(json!({})));
    let (_, cut) = stranger.rsplit_once('.').unwrap();
    for forged in [
        format!("{header}.{}.{signature}", other[1]),
        format!("{header}.{payload}.{}", other[2]),
        format!("{header}.{payload}.{cut}"),
        format!("{header}.{payload}."),
        format!("{}.{payload}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256","kid":"k1"}"#)),
    ] {
        assert_eq!(code(&case.identity(), forged).await, Err(Code::TokenSignatureInvalid));
    }
}

#[tokio::test]
async fn accepts_every_configured_algorithm() {
    let mut case = Case::new();
    let (ec, ed) = (Signer::ec("k2"), Signer::ed("k3"));
    case.entry.keys = KeySource::Inline { jwks: key_set(&[&case.signer, &ec, &ed]).to_string() };
    case.entry.algorithms =
        vec![Algorithm::Rs256, Algorithm::Rs384, Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa];
    for alg in ["RS256", "RS384", "PS256"] {
        assert_eq!(case.with_header(json!({"alg": alg, "kid": "k1"})).await, Ok(()), "{alg}");
    }
    for signer in [ec, ed] {
        assert_eq!(code(&case.identity(), signer.token(&case.claims(json!({})))).await, Ok(()));
    }
}

#[tokio::test]
async fn refusals_hold_no_part_of_the_token() {
    let case = Case::new();
    let changes = [
        json!({"exp": "sentinel"}),
        json!({"sub": ["sentinel"]}),
        json!({"aud": "sentinel"}),
        json!({"iss": "sentinel"}),
    ];
    for changes in changes {
        let token = case.signer.token(&case.claims(changes));
        let refusal = case.identity().authenticate(&token.clone().into()).await.unwrap_err();
        let text = format!("{refusal:?}");
        assert!(!text.contains("sentinel"), "{text}");
        assert!(token.split('.').all(|part| !text.contains(part)), "{text}");
    }
}

#[test]
fn i_19_does_not_start_with_entries_that_admit_the_planet_or_contradict_each_other() {
    let case = Case::new();
    let start = |entries: Vec<Issuer>| {
        let memory: Arc<Memory> = Arc::default();
        Identity::new(entries.into_iter().map(Arc::new), own_issuers(), memory, Clock::manual(at(NOW)), None)
            .err()
    };
    let with =
        |url: &str, profile: Profile| Issuer { url: url.parse().unwrap(), profile, ..case.entry.clone() };
    let anybody = Profile::Generic { principal_claim: "sub".into(), shared: true, trust: Trust::Unknown };
    for shared in [
        with("https://token.actions.githubusercontent.com", Profile::GitHub),
        with("https://gitlab.com", Profile::GitLab),
        with("https://login.example", anybody),
    ] {
        assert!(matches!(start(vec![shared]), Some(IdentityError::Unrestricted { .. })));
    }
    assert!(start(vec![with("https://token.actions.githubusercontent.com/acme", Profile::GitHub)]).is_none());
    assert!(start(vec![with("https://gitlab.acme.example", Profile::GitLab)]).is_none());

    let twice = vec![case.entry.clone(), case.entry.clone()];
    assert!(matches!(start(twice), Some(IdentityError::Ambiguous { .. })));
    for taken in ["repository", "branch", "tenant", "claims"] {
        let mut entry = with("https://gitlab.acme.example", Profile::GitLab);
        entry.attributes = [(taken.parse().unwrap(), AttributeRule::Claim("/x".into()))].into();
        assert!(matches!(start(vec![entry]), Some(IdentityError::AttributeTaken { .. })), "{taken}");
    }
    for jwks in ["<html>", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#] {
        let entry = Issuer { keys: KeySource::Inline { jwks: jwks.into() }, ..case.entry.clone() };
        assert!(matches!(start(vec![entry]), Some(IdentityError::InlineKeys { .. })), "{jwks}");
    }
}
