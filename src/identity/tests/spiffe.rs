//! SVIDs of both kinds, from evidence to caller.

use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose, SanType, date_time_ymd};
use rustls_pki_types::CertificateDer;
use secrecy::SecretString;
use serde_json::{Value, json};
use spiffe::{JwtBundle, JwtBundleSet, JwtSvid, TrustDomain};

use super::harness::{AUDIENCE, Memory, NOW, at, code, identity, own_issuers};
use super::signer::Signer;
use super::svid::{
    Authority, WORKLOAD, authority, bundle, domain, intermediate, leaf, peer, svid_claims, uri,
};
use crate::clock::Clock;
use crate::config::{AttributeRule, Issuer, Replay, Requirement, RunnerRules};
use crate::domain::{Code, IssuerUrl, Scalar};
use crate::identity::{Caller, Evidence, Identity, RunnerEvidence};

/// A trust domain with one authority and one key for tokens, and an identity that knows it.
struct Scene {
    folder: tempfile::TempDir,
    authority: Authority,
    signer: Signer,
    clock: Clock,
    memory: Arc<Memory>,
    identity: Identity,
}

impl Scene {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Issuer)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (authority, signer) = (authority(), Signer::ec("k"));
        let file = folder.path().join("bundle.json");
        std::fs::write(&file, bundle(&[&authority], &[&signer]).to_string()).unwrap();
        let (clock, memory) = (Clock::manual(at(NOW)), Arc::<Memory>::default());
        let mut entry = domain(&file);
        change(&mut entry);
        let identity = identity(vec![entry], &memory, &clock);
        Self { folder, authority, signer, clock, memory, identity }
    }

    fn publish(&self, bundle: &Value) {
        std::fs::write(self.folder.path().join("bundle.json"), bundle.to_string()).unwrap();
    }

    /// The same domain after a reload.
    fn reloaded(&self) -> Identity {
        let entry = domain(&self.folder.path().join("bundle.json"));
        identity(vec![entry], &self.memory, &self.clock).succeed(&self.identity)
    }

    async fn shown(&self, chain: &[CertificateDer<'static>]) -> Result<Caller, Code> {
        self.identity.authenticate(&peer(chain).into()).await.map_err(|refusal| refusal.code)
    }

    async fn refused(&self, change: impl FnOnce(&mut CertificateParams)) -> Code {
        self.shown(&[leaf(&self.authority, change)]).await.unwrap_err()
    }

    async fn token(&self, change: Value) -> Result<(), Code> {
        code(&self.identity, self.signer.token(&changed(svid_claims(), &change))).await
    }
}

/// `claims` with some set, or removed by null.
fn changed(mut claims: Value, changes: &Value) -> Value {
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            claims.as_object_mut().unwrap().remove(name);
        } else {
            claims[name] = value.clone();
        }
    }
    claims
}

#[tokio::test]
async fn both_kinds_of_svid_are_one_identity() {
    let scene = Scene::new();
    let token = scene.signer.token(&svid_claims());
    let by_token = scene.identity.authenticate(&token.into()).await.unwrap();
    let by_certificate = scene.shown(&[leaf(&scene.authority, |_| {})]).await.unwrap();
    for caller in [&by_token, &by_certificate] {
        assert_eq!(caller.kind(), "spiffe");
        assert_eq!(caller.issuer_url().as_str(), "spiffe://acme.example");
        assert_eq!(caller.subject(), WORKLOAD);
        assert_eq!(caller.principal().as_str(), "spiffe:acme.example/ns/shop/sa/deployer");
        let attributes: Value = serde_json::to_value(caller.attributes().as_ref()).unwrap();
        let expected = json!({
            "spiffe_id": WORKLOAD, "trust_domain": "acme.example", "namespace": "shop", "service_account": "deployer",
        });
        assert_eq!(attributes, expected);
    }
    // A stolen token works where it is shown; a certificate works for the holder of its key.
    assert_eq!((by_token.replay(), by_certificate.replay()), (Replay::Once, Replay::Off));
    assert_eq!(by_token.claims()["aud"], json!([AUDIENCE]));
    let mut names: Vec<_> = by_certificate.claims().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["cnf", "exp", "nbf", "serial", "sub"]);
    assert_eq!(by_certificate.expires_at(), "2027-01-17T00:00:00Z".parse().unwrap());
}

#[tokio::test]
async fn what_is_recorded_of_either_is_the_same_identity_later() {
    let scene = Scene::new();
    let token = scene.identity.authenticate(&scene.signer.token(&svid_claims()).into()).await.unwrap();
    let certificate = scene.shown(&[leaf(&scene.authority, |_| {})]).await.unwrap();
    for caller in [token, certificate] {
        let again =
            scene.identity.recall_insecure(caller.claims().as_ref().clone(), caller.token(), None).unwrap();
        assert_eq!(again.principal(), caller.principal());
        assert!(!again.has_key(), "nothing shows a key now");
        assert_eq!(again.attributes(), caller.attributes());
        assert_eq!((again.issued_at(), again.expires_at()), (caller.issued_at(), caller.expires_at()));
        let nobody = identity(Vec::new(), &scene.memory, &scene.clock);
        let refused =
            nobody.recall_insecure(caller.claims().as_ref().clone(), caller.token(), None).unwrap_err();
        assert_eq!(refused.code, Code::IssuerUnknown);
    }
}

#[tokio::test]
async fn i_22_a_domain_of_runners_alone_is_nobody_by_either_svid_and_proves_them() {
    let scene = Scene::with(|entry| {
        let members = [("id".parse().unwrap(), "spiffe_id".parse().unwrap())].into();
        entry.runner = Some(RunnerRules { identities: false, members });
    });
    let names = vec![uri("spiffe://acme.example/ns/shop/sa/job")];
    let chain = [leaf(&scene.authority, |params| params.subject_alt_names = names)];
    assert_eq!(scene.token(json!({})).await.unwrap_err(), Code::RunnerNotIdentity);
    assert_eq!(scene.shown(&chain).await.unwrap_err(), Code::RunnerNotIdentity);
    let job = scene.reloaded().authenticate(&peer(&chain).into()).await.unwrap();
    let refused =
        scene.identity.recall_insecure(job.claims().as_ref().clone(), job.token(), None).unwrap_err();
    assert_eq!(refused.code, Code::RunnerNotIdentity);

    let actor = |changes: Value| scene.signer.token(&changed(svid_claims(), &changes)).into();
    let prove = async |actor: SecretString| {
        let shown = RunnerEvidence { actor: Some(&actor), certificate: None };
        scene.identity.prove_runner(shown, &job).await.map_err(|refusal| refusal.code)
    };
    assert_eq!(prove(actor(json!({}))).await.unwrap().unwrap().id(), WORKLOAD);
    // It comes without a proof of its own, so that one which needs a proof is of no use.
    let bound = json!({ "aud": [format!("{AUDIENCE}#jkt={}", "A".repeat(43))] });
    assert_eq!(prove(actor(bound)).await.unwrap_err(), Code::ProofMissing);
}

#[tokio::test]
async fn i_16_a_leaf_has_exactly_one_uri_and_signs_for_itself_alone() {
    let scene = Scene::new();
    let names = |names: Vec<SanType>| move |params: &mut CertificateParams| params.subject_alt_names = names;
    let usages =
        |usages: Vec<KeyUsagePurpose>| move |params: &mut CertificateParams| params.key_usages = usages;
    let invalid = Code::CertificateInvalid;
    let host = || SanType::DnsName("job.example".try_into().unwrap());
    assert_eq!(scene.refused(names(Vec::new())).await, invalid, "no name");
    assert_eq!(scene.refused(names(vec![host()])).await, invalid, "no URI");
    assert_eq!(
        scene.refused(names(vec![uri(WORKLOAD), uri("spiffe://acme.example/b")])).await,
        invalid,
        "two"
    );
    assert_eq!(
        scene.refused(names(vec![uri(WORKLOAD), uri("https://a.example")])).await,
        invalid,
        "two URIs"
    );
    for id in [
        "https://acme.example/ns/shop/sa/deployer",
        "spiffe://acme.example",
        "spiffe://Acme.example/ns/shop/sa/deployer",
        "SPIFFE://acme.example/ns/shop/sa/deployer",
        "spiffe://acme.example/ns/../sa/deployer",
        "spiffe://acme.example/ns//sa/deployer",
        "spiffe://acme.example/ns/shop/sa/deployer/",
        "spiffe://acme.example/ns/shop%2fsa/deployer",
    ] {
        assert_eq!(scene.refused(names(vec![uri(id)])).await, invalid, "{id}");
    }
    let long = format!("spiffe://acme.example/{}", "a".repeat(2048));
    assert_eq!(scene.refused(names(vec![uri(&long)])).await, invalid, "too long");
    let authority = |params: &mut CertificateParams| {
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    };
    assert_eq!(scene.refused(authority).await, invalid, "an authority");
    for bad in [
        vec![],
        vec![KeyUsagePurpose::KeyAgreement],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign],
        vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign],
    ] {
        let shown = format!("{bad:?}");
        assert_eq!(scene.refused(usages(bad)).await, invalid, "{shown}");
    }
    // A name of another kind beside the one URI is allowed.
    let beside = names(vec![host(), uri(WORKLOAD)]);
    assert!(scene.shown(&[leaf(&scene.authority, beside)]).await.is_ok());
}

#[tokio::test]
async fn i_16_only_the_bundle_of_the_leafs_own_domain_vouches_for_it() {
    let scene = Scene::new();
    let (other, untrusted) = (authority(), Code::CertificateUntrusted);
    assert_eq!(scene.shown(&[leaf(&other, |_| {})]).await.unwrap_err(), untrusted, "same names, another key");
    let renamed =
        |id: &'static str| move |params: &mut CertificateParams| params.subject_alt_names = vec![uri(id)];
    let stranger = leaf(&scene.authority, renamed("spiffe://evil.example/ns/shop/sa/deployer"));
    assert_eq!(
        scene.shown(&[stranger]).await.unwrap_err(),
        Code::IssuerUnknown,
        "its domain is nobody's here"
    );
    let elsewhere = leaf(&scene.authority, renamed("spiffe://acme.example/vm/7"));
    assert_eq!(
        scene.shown(&[elsewhere]).await.unwrap_err(),
        Code::IdentityNotAdmitted,
        "no form of path fits"
    );

    // Two domains: each is verified by its own.
    let file = scene.folder.path().join("other.json");
    std::fs::write(&file, bundle(&[&other], &[]).to_string()).unwrap();
    let second = Issuer {
        url: "spiffe://other.example".parse().unwrap(),
        name: "other".parse().unwrap(),
        ..domain(&file)
    };
    let both = vec![domain(&scene.folder.path().join("bundle.json")), second];
    let both = identity(both, &scene.memory, &scene.clock);
    let ours = Evidence::from(peer(&[leaf(&other, |_| {})]));
    let refused = both.authenticate(&ours).await.unwrap_err();
    assert_eq!(refused.code, untrusted, "the other domain's authority for our name");
    let theirs = renamed("spiffe://other.example/ns/shop/sa/deployer");
    assert!(both.authenticate(&peer(&[leaf(&other, theirs)]).into()).await.is_ok());
}

#[tokio::test]
async fn i_16_the_chain_is_whole_meant_for_clients_and_valid_now() {
    let scene = Scene::new();
    let middle = intermediate(&scene.authority, |_| {});
    let below = leaf(&middle, |_| {});
    let untrusted = Code::CertificateUntrusted;
    assert!(scene.shown(&[below.clone(), middle.der().clone()]).await.is_ok());
    assert_eq!(scene.shown(&[below]).await.unwrap_err(), untrusted, "the intermediate is missing");
    let server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(scene.refused(server).await, untrusted);
    assert_eq!(
        scene.refused(|params| params.not_after = date_time_ymd(2027, 1, 15)).await,
        untrusted,
        "expired"
    );
    assert_eq!(
        scene.refused(|params| params.not_before = date_time_ymd(2027, 1, 16)).await,
        untrusted,
        "not yet"
    );
    // A leaf that signed another leaf is no authority, whatever it says of itself.
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![uri("spiffe://acme.example/ns/shop/sa/signer")];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 14), date_time_ymd(2027, 1, 17));
    let signer = rcgen::CertifiedIssuer::signed_by(params, key, &scene.authority).unwrap();
    let forged = leaf(&signer, |_| {});
    assert_eq!(scene.shown(&[forged, signer.der().clone()]).await.unwrap_err(), untrusted);
}

#[tokio::test]
async fn i_16_a_connection_that_stays_is_verified_again_as_time_and_bundles_change() {
    let scene = Scene::new();
    let short = intermediate(&scene.authority, |params| params.not_after = date_time_ymd(2027, 1, 16));
    let chain = [leaf(&short, |_| {}), short.der().clone()];
    let direct = [leaf(&scene.authority, |_| {})];
    for _ in 0..2 {
        assert!(scene.shown(&chain).await.is_ok() && scene.shown(&direct).await.is_ok());
    }
    scene.clock.set(at(NOW + 24 * 3600));
    assert_eq!(
        scene.shown(&chain).await.unwrap_err(),
        Code::CertificateUntrusted,
        "its intermediate has expired"
    );
    assert!(scene.shown(&direct).await.is_ok());
    scene.clock.set(at(NOW));
    let successor = authority();
    scene.publish(&bundle(&[&successor], &[&scene.signer]));
    let reloaded = scene.reloaded();
    let refused = reloaded.authenticate(&peer(&direct).into()).await.unwrap_err();
    assert_eq!(refused.code, Code::CertificateUntrusted);
    assert!(reloaded.authenticate(&peer(&[leaf(&successor, |_| {})]).into()).await.is_ok());
    let gone = identity(Vec::new(), &scene.memory, &scene.clock);
    assert_eq!(gone.authenticate(&peer(&direct).into()).await.unwrap_err().code, Code::TokenMissing);
}

#[tokio::test]
async fn an_authority_that_is_new_is_found_without_a_reload_and_a_stranger_causes_one_look_per_pause() {
    let scene = Scene::new();
    assert!(scene.shown(&[leaf(&scene.authority, |_| {})]).await.is_ok());
    let successor = authority();
    scene.publish(&bundle(&[&scene.authority, &successor], &[&scene.signer]));
    let rotated = [leaf(&successor, |_| {})];
    assert_eq!(
        scene.shown(&rotated).await.unwrap_err(),
        Code::CertificateUntrusted,
        "it was read a moment ago"
    );
    scene.clock.set(at(NOW + 30));
    assert!(scene.shown(&rotated).await.is_ok());
}

#[tokio::test]
async fn the_last_good_bundle_is_remembered_and_an_older_one_refused() {
    let scene = Scene::new();
    assert!(scene.token(json!({})).await.is_ok());
    let issuer: IssuerUrl = "spiffe://acme.example".parse().unwrap();
    super::harness::until(|| scene.memory.kept(&issuer).is_some()).await;
    // Broken files change nothing, in this process and in the next.
    for broken in ["", "<html>", "{\"keys\":{}}"] {
        std::fs::write(scene.folder.path().join("bundle.json"), broken).unwrap();
        scene.clock.set(at(NOW + 310));
        assert!(scene.token(json!({})).await.is_ok(), "{broken}");
        let next =
            identity(vec![domain(&scene.folder.path().join("bundle.json"))], &scene.memory, &scene.clock);
        assert_eq!(code(&next, scene.signer.token(&svid_claims())).await, Ok(()), "{broken}");
    }
    let mut older = bundle(&[], &[]);
    older["spiffe_sequence"] = 0.into();
    scene.publish(&older);
    scene.clock.set(at(NOW + 3700));
    let fresh = changed(svid_claims(), &json!({"iat": NOW + 3690, "exp": NOW + 3900}));
    assert_eq!(code(&scene.identity, scene.signer.token(&fresh)).await, Ok(()));
    // A newer one is believed, also that it has nothing left.
    older["spiffe_sequence"] = 2.into();
    scene.publish(&older);
    scene.clock.set(at(NOW + 7400));
    let fresh = changed(svid_claims(), &json!({"iat": NOW + 7390, "exp": NOW + 7600}));
    assert_eq!(code(&scene.identity, scene.signer.token(&fresh)).await, Err(Code::TokenKeyUnknown));
}

#[tokio::test]
async fn i_16_a_jwt_svid_is_refused_for_what_it_lacks_or_has_too_much_of() {
    let scene = Scene::new();
    let claim = Code::TokenClaimInvalid;
    for (change, expected) in [
        (json!({"exp": null}), claim),
        (json!({"exp": "1"}), claim),
        (json!({"iat": null}), claim),
        (json!({"sub": null}), claim),
        (json!({"sub": 7}), claim),
        (json!({"sub": "spiffe://acme.example"}), claim),
        (json!({"sub": "spiffe://acme.example/a/../b"}), claim),
        (json!({"sub": "spiffe://acme.example/ns//sa/x"}), claim),
        (json!({"sub": "spiffe://acme.example/vm/7"}), Code::IdentityNotAdmitted),
        (json!({"sub": "spiffe://Acme.example/ns/shop/sa/deployer"}), Code::IssuerUnknown),
        (json!({"sub": "spiffe://evil.example/ns/shop/sa/deployer"}), Code::IssuerUnknown),
        (json!({"sub": "spiffe://acme.example:1/ns/shop/sa/deployer"}), Code::IssuerUnknown),
        (json!({"aud": [AUDIENCE, "https://other.example"]}), Code::TokenAudienceRefused),
        (json!({"aud": "https://other.example"}), Code::TokenAudienceRefused),
        (json!({"aud": []}), claim),
        (json!({"iat": NOW - 100, "exp": NOW - 40}), Code::TokenExpired),
        (json!({"nbf": NOW + 40}), Code::TokenNotYetValid),
        (json!({"iat": NOW - 700}), Code::TokenTooOld),
    ] {
        assert_eq!(scene.token(change.clone()).await, Err(expected), "{change}");
    }
    assert_eq!(scene.token(json!({"iat": null, "nbf": NOW - 10})).await, Ok(()));
    // An issuer that nobody configured says nothing: the trust domain's keys do.
    assert_eq!(scene.token(json!({"iss": "https://oidc.acme.example"})).await, Ok(()));
    assert_eq!(scene.token(json!({"iss": own_issuers()[0].as_str()})).await, Err(Code::TokenKindRefused));

    let with_header = |header: Value| {
        let token = scene.signer.token_of(&header, &svid_claims().to_string());
        code(&scene.identity, token)
    };
    for (header, expected) in [
        (json!({"alg": "ES256", "kid": "k", "typ": "JWT"}), Ok(())),
        (json!({"alg": "ES256", "kid": "k", "typ": "JOSE"}), Ok(())),
        (json!({"alg": "ES256", "kid": "k"}), Ok(())),
        (json!({"alg": "ES256", "kid": "other"}), Err(Code::TokenKeyUnknown)),
        (json!({"alg": "ES256"}), Err(Code::TokenHeaderRefused)),
        (json!({"alg": "ES256", "kid": "k", "jku": "https://evil.example"}), Err(Code::TokenHeaderRefused)),
        (json!({"alg": "ES256", "kid": "k", "typ": "at+jwt"}), Err(Code::TokenKindRefused)),
        (json!({"alg": "EdDSA", "kid": "k"}), Err(Code::TokenAlgorithmRefused)),
        (json!({"alg": "none", "kid": "k"}), Err(Code::TokenAlgorithmRefused)),
    ] {
        assert_eq!(with_header(header.clone()).await, expected, "{header}");
    }
    assert_eq!(
        code(&scene.identity, Signer::ec("k").token(&svid_claims())).await,
        Err(Code::TokenSignatureInvalid)
    );
}

#[tokio::test]
async fn rules_read_the_path_and_never_other_claims() {
    let scene = Scene::with(|entry| {
        entry.require =
            vec![Requirement { claim: "namespace".into(), any_of: vec![Scalar::Text("shop".into())] }];
        entry.tenant = AttributeRule::Claim("/namespace".into());
    });
    let caller = scene.identity.authenticate(&scene.signer.token(&svid_claims()).into()).await.unwrap();
    assert_eq!(caller.tenant().as_str(), "shop");
    let forged = json!({"sub": "spiffe://acme.example/ns/bank/sa/x", "namespace": "shop"});
    assert_eq!(scene.token(forged).await, Err(Code::IdentityNotAdmitted));
}

/// Ours differs from the crate's by the clock, by skew, and by what the issuer entry asks for beside.
#[tokio::test]
async fn i_16_a_jwt_svid_is_judged_as_the_spiffe_crate_judges_it() {
    let now = i64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bundle.json");
    let (ec, rsa) = (Signer::ec("ec"), Signer::rsa("rsa"));
    std::fs::write(&file, bundle(&[], &[&ec, &rsa]).to_string()).unwrap();
    let memory = Arc::<Memory>::default();
    let ours = identity(vec![domain(&file)], &memory, &Clock::manual(at(now)));
    let keys = json!({"keys": [ec.jwk(), rsa.jwk()]}).to_string();
    let mut theirs = JwtBundleSet::new();
    let trust_domain = TrustDomain::new("acme.example").unwrap();
    theirs.add_bundle(JwtBundle::from_jwt_authorities(trust_domain, keys.as_bytes()).unwrap());

    let base = json!({"sub": WORKLOAD, "aud": [AUDIENCE], "iat": now - 10, "exp": now + 300});
    let changes = [
        json!({}),
        json!({"aud": AUDIENCE}),
        json!({"aud": "https://other.example"}),
        json!({"exp": now - 120}),
        json!({"exp": null}),
        json!({"exp": 1.5}),
        json!({"nbf": now - 5}),
        json!({"nbf": now + 600}),
        json!({"sub": "spiffe://other.example/x"}),
        json!({"sub": "acme"}),
        json!({"sub": "spiffe://acme.example/ns/a/../b"}),
        json!({"private": {"a": [1, 2]}}),
    ];
    for signer in [&ec, &rsa] {
        for change in &changes {
            for more in [
                json!({}),
                json!({"typ": "JOSE"}),
                json!({"typ": "x"}),
                json!({"x5t": "a"}),
                json!({"kid": "no"}),
            ] {
                let header = changed(signer.header(), &more);
                let token = signer.token_of(&header, &changed(base.clone(), change).to_string());
                let their = JwtSvid::parse_and_validate(&token, &theirs, &[AUDIENCE]).is_ok();
                let our = code(&ours, token).await;
                assert_eq!(our.is_ok(), their, "{header} {change}: {our:?}");
            }
        }
    }
}
