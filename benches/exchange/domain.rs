//! A SPIFFE trust domain with workloads, and a server of it that ends TLS itself.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio_rustls::TlsConnector;
use tollgate::clock::Clock;

use crate::Fallible;
use crate::signer::Signer;
use crate::site::Site;

/// Its name.
pub(crate) const NAME: &str = "bench.example";

/// The authority of the trust domain, which vouches for the server's host name too.
pub(crate) struct Domain(CertifiedIssuer<'static, KeyPair>);

impl Domain {
    pub(crate) fn new() -> Fallible<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?))
    }

    /// Makes `site` a broker of this trust domain that ends TLS itself; `bundle` says where the bundle comes from, and
    /// `more` are further sections of the settings.
    pub(crate) fn serve_by(&self, site: &Site, bundle: &str, more: &str) -> Fallible<()> {
        let (certificate, key) = self.certify(SanType::DnsName("localhost".try_into()?))?;
        site.put("tls.pem", &certificate.pem())?;
        site.put("tls.key", &key.serialize_pem())?;
        site.put("bundle.pem", &self.0.pem())?;
        site.end_tls("tls.pem", "tls.key", more)?;
        let entry = format!(
            "profile = \"spiffe\"\ntrust_domain = \"{NAME}\"\naudience = \"https://unused.example\"\n\
             bundle = {bundle}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\ntrust = \"trusted\"\n"
        );
        site.put("config/issuers/mesh.toml", &entry)
    }

    /// The bundle that [`Self::serve_by`] leaves beside the configuration.
    pub(crate) const FILE: &str = "{ file = \"../bundle.pem\" }";

    /// What an agent serves of this trust domain to Tollgate, as the tests' part takes it, with the authority of `another` too.
    pub(crate) fn state(&self, another: Option<&Self>) -> Fallible<Value> {
        let id = format!("spiffe://{NAME}/tollgate");
        let (certificate, key) = self.certify(SanType::URI(id.as_str().try_into()?))?;
        let mut bundle = self.0.der().to_vec();
        bundle.extend(another.into_iter().flat_map(|another| another.0.der().iter()));
        let (chain, key) = (STANDARD.encode(certificate.der()), STANDARD.encode(key.serialize_der()));
        let Value::Object(mut jwk) = Signer::ec()?.jwk()? else { return Err("no JWK".into()) };
        jwk.insert("use".to_owned(), "jwt-svid".into());
        Ok(json!({
            "x509": [{ "id": id, "chain": chain, "key": key, "bundle": STANDARD.encode(bundle) }],
            "jwt_bundles": { format!("spiffe://{NAME}"): { "keys": [jwk] } },
        }))
    }

    /// Clients that show no certificate.
    pub(crate) fn stranger(&self) -> Fallible<TlsConnector> {
        self.client(None, Resumption::disabled())
    }

    /// Clients that show the X.509-SVID of the workload `name`.
    pub(crate) fn workload(&self, name: usize, resumption: Resumption) -> Fallible<TlsConnector> {
        self.client(Some(name), resumption)
    }

    fn client(&self, name: Option<usize>, resumption: Resumption) -> Fallible<TlsConnector> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match name {
            Some(name) => {
                let id = format!("spiffe://{NAME}/ns/shop/sa/w{name}");
                let (certificate, key) = self.certify(SanType::URI(id.try_into()?))?;
                let key = PrivateKeyDer::try_from(key.serialize_der())?;
                builder.with_client_auth_cert(vec![certificate.der().clone()], key)?
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = resumption;
        Ok(TlsConnector::from(Arc::new(config)))
    }

    /// A leaf of P-256, for a day.
    fn certify(&self, name: SanType) -> Fallible<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.subject_alt_names = vec![name];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let now =
            date_time_ymd(1970, 1, 1) + Duration::from_secs(Clock::system().now().as_second().try_into()?);
        (params.not_before, params.not_after) =
            (now - Duration::from_mins(1), now + Duration::from_hours(24));
        Ok((params.signed_by(&key, &self.0)?, key))
    }
}
