//! A SPIFFE trust domain for tests: an authority that issues X.509-SVIDs and JWT-SVIDs, and its bundles.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// Lifetime of what it issues, seconds.
const LIFETIME: u64 = 600;
/// The name of its JWT key.
const KID: &str = "jwt-1";

/// The authorities of one trust domain.
pub(crate) struct TrustDomain {
    pub(crate) name: String,
    authority: CertifiedIssuer<'static, KeyPair>,
    jwt: KeyPair,
}

/// An X.509-SVID: its certificate and its key.
pub(crate) struct Svid {
    pub(crate) id: String,
    pub(crate) certificate: CertificateDer<'static>,
    key: KeyPair,
}

impl Svid {
    pub(crate) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    /// The certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> String {
        let lines = STANDARD.encode(&self.certificate);
        let lines: Vec<_> = lines.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    }

    /// The private key, PEM.
    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

impl TrustDomain {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.subject_alt_names = vec![SanType::URI(format!("spiffe://{name}").try_into().unwrap())];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { name: name.to_owned(), authority, jwt: KeyPair::generate().unwrap() }
    }

    /// The SPIFFE ID with this path.
    pub(crate) fn id(&self, path: &str) -> String {
        format!("spiffe://{}{path}", self.name)
    }

    /// The X.509 authority, DER.
    pub(crate) fn authority(&self) -> &CertificateDer<'static> {
        self.authority.der()
    }

    /// An X.509-SVID that lives for ten minutes from `now`.
    pub(crate) fn x509(&self, path: &str, now: Timestamp) -> Svid {
        self.x509_until(path, now, Duration::from_secs(LIFETIME))
    }

    /// An X.509-SVID that lives from a minute before `from`, for `lifetime` after it.
    pub(crate) fn x509_until(&self, path: &str, from: Timestamp, lifetime: Duration) -> Svid {
        let id = self.id(path);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::ExplicitNoCa;
        // Another name than the authority's: to OpenSSL it would have signed itself.
        params.distinguished_name.push(DnType::CommonName, "a workload");
        params.subject_alt_names = vec![SanType::URI(id.as_str().try_into().unwrap())];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let since_epoch = Duration::from_secs(from.as_second().try_into().unwrap());
        let from = date_time_ymd(1970, 1, 1) + since_epoch;
        (params.not_before, params.not_after) = (from - Duration::from_mins(1), from + lifetime);
        let certificate = params.signed_by(&key, &self.authority).unwrap().der().clone();
        Svid { id, certificate, key }
    }

    /// The Workload API's entry for an X.509-SVID of this trust domain.
    pub(crate) fn x509_entry(&self, svid: &Svid) -> Value {
        json!({ "id": svid.id, "chain": STANDARD.encode(&svid.certificate),
            "key": STANDARD.encode(svid.key.serialize_der()), "bundle": self.x509_bundle() })
    }

    /// The Workload API's entry for JWT-SVIDs of this trust domain, which live for five minutes.
    pub(crate) fn jwt_entry(&self, path: &str) -> Value {
        json!({ "id": self.id(path), "kid": KID, "alg": "ES256", "key": self.jwt.serialize_pem(), "seconds": 300 })
    }

    /// The X.509 bundle as the Workload API has it: DER, in base64.
    pub(crate) fn x509_bundle(&self) -> String {
        STANDARD.encode(self.authority())
    }

    /// The JWT bundle as the Workload API has it.
    pub(crate) fn jwt_bundle(&self) -> Value {
        json!({ "keys": [self.jwk()] })
    }

    /// Both bundles as one document (SPIFFE Trust Domain and Bundle, section 4).
    pub(crate) fn document(&self) -> Value {
        let x509 = json!({ "use": "x509-svid", "kty": "EC", "x5c": [self.x509_bundle()] });
        json!({ "keys": [x509, self.jwk()], "spiffe_refresh_hint": 60 })
    }

    /// What a Workload API serves to the workload `path`: identities of both kinds, and the bundles of this trust domain.
    pub(crate) fn workload(&self, path: &str, now: Timestamp) -> Value {
        json!({
            "x509": [self.x509_entry(&self.x509(path, now))],
            "jwt": [self.jwt_entry(path)],
            "x509_bundles": { self.id(""): self.x509_bundle() },
            "jwt_bundles": { self.id(""): self.jwt_bundle() },
        })
    }

    fn jwk(&self) -> Value {
        let point = self.jwt.public_key_raw();
        let coordinate = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
        json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "jwt-svid", "kid": KID,
            "x": coordinate(1..33), "y": coordinate(33..65) })
    }
}
