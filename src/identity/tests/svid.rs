//! A trust domain for tests: authorities, leaves, its bundle, and its JWT-SVIDs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use rustls::ProtocolVersion;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use super::harness::{AUDIENCE, NOW, entry};
use super::signer::Signer;
use crate::config::{Algorithm, BundleSource, Issuer, KeySource, Profile};
use crate::domain::Trust;
use crate::net::PeerCertificate;

pub(in crate::identity) const WORKLOAD: &str = "spiffe://acme.example/ns/shop/sa/deployer";

pub(in crate::identity) type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
    params
}

pub(in crate::identity) fn authority() -> Authority {
    CertifiedIssuer::self_signed(authority_params(), KeyPair::generate().unwrap()).unwrap()
}

/// An authority that `root` vouches for, changed by `change`.
pub(in crate::identity) fn intermediate(
    root: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> Authority {
    let mut params = authority_params();
    params.distinguished_name.push(rcgen::DnType::CommonName, "intermediate");
    change(&mut params);
    CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), root).unwrap()
}

pub(in crate::identity) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

/// A leaf of [`WORKLOAD`], changed by `change`.
pub(in crate::identity) fn leaf(
    authority: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    leaf_and_key(authority, change).0
}

/// The same with its key.
pub(in crate::identity) fn leaf_and_key(
    authority: &Authority,
    change: impl FnOnce(&mut CertificateParams),
) -> (CertificateDer<'static>, KeyPair) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![uri(WORKLOAD)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (date_time_ymd(2027, 1, 14), date_time_ymd(2027, 1, 17));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().der().clone(), key)
}

pub(in crate::identity) fn peer(chain: &[CertificateDer<'static>]) -> PeerCertificate {
    PeerCertificate::new(chain, ProtocolVersion::TLSv1_3).unwrap()
}

/// A bundle document.
pub(in crate::identity) fn bundle(authorities: &[&Authority], signers: &[&Signer]) -> Value {
    let x509 = authorities
        .iter()
        .map(|authority| json!({"kty": "EC", "use": "x509-svid", "x5c": [STANDARD.encode(authority.der())]}));
    let jwt = signers.iter().map(|signer| {
        let mut jwk = signer.jwk();
        jwk["use"] = "jwt-svid".into();
        jwk
    });
    json!({"spiffe_sequence": 1, "spiffe_refresh_hint": 300, "keys": x509.chain(jwt).collect::<Vec<_>>()})
}

/// An entry for `acme.example` whose bundle is in `file`.
pub(in crate::identity) fn domain(file: &std::path::Path) -> Issuer {
    Issuer {
        url: "spiffe://acme.example".parse().unwrap(),
        profile: Profile::Spiffe {
            paths: vec!["/ns/{namespace}/sa/{service_account}".parse().unwrap()],
            trust: Trust::Trusted,
        },
        keys: KeySource::Bundle(BundleSource::File(file.to_owned())),
        algorithms: vec![Algorithm::Rs256, Algorithm::Es256],
        ..entry("acme")
    }
}

/// Claims of a fresh JWT-SVID of [`WORKLOAD`].
pub(in crate::identity) fn svid_claims() -> Value {
    json!({"sub": WORKLOAD, "aud": [AUDIENCE], "iat": NOW - 10, "exp": NOW + 300})
}
