//! A broker beside a SPIFFE agent: bundles and its own SVID from the Workload API.

mod bundles;
mod own;
mod towards;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate::app::App;

use crate::harness::trust_domain::Svid;
use crate::harness::{Site, TrustDomain, Workload};

/// Where a workload of the tests lives in its trust domain.
const PATH: &str = "/ns/shop/sa/deployer";
/// Where Tollgate does.
const TOLLGATE: &str = "/tollgate";

/// An X.509-SVID of a workload that outlives every test's clock.
fn workload(domain: &TrustDomain, site: &Site) -> Svid {
    domain.x509_until(PATH, site.now(), Duration::from_hours(48))
}

/// What the agent gives Tollgate: an SVID of `ours`, and both bundles of it and of `federated`.
fn state(site: &Site, ours: &TrustDomain, federated: &[&TrustDomain]) -> Value {
    let own = ours.x509_until(TOLLGATE, site.now(), Duration::from_hours(48));
    let mut state = json!({
        "x509": [ours.x509_entry(&own)],
        "jwt": [ours.jwt_entry(PATH)],
        "jwt_bundles": { ours.id(""): ours.jwt_bundle() },
        "federated": {},
    });
    for domain in federated {
        state["federated"][domain.id("")] = domain.x509_bundle().into();
        state["jwt_bundles"][domain.id("")] = domain.jwt_bundle();
    }
    state
}

/// Makes `site` a broker of `domains` beside `agent`, that shows its SVID on a listener of its own.
fn beside(site: &Site, agent: &Workload, domains: &[&str]) {
    for domain in domains {
        let entry = format!(
            "profile = \"spiffe\"\ntrust_domain = \"{domain}\"\naudience = \"{}\"\nreplay = \"off\"\n\
             bundle = {{ workload_api = true }}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\n",
            site.url
        );
        site.write(&format!("config/issuers/{}.toml", domain.replace('.', "-")), &entry);
    }
    let section = format!("[workload_api]\nendpoint = \"{}\"\n", agent.socket());
    let listen = "spiffe_listen = \"127.0.0.1:0\"\n\n[store]";
    site.write("config/tollgate.toml", &site.settings(&section).replace("[store]", listen));
}

/// Believes any server: what it showed is compared afterwards.
#[derive(Debug)]
struct Anybody(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

/// A connection to the listener that shows the SVID, as `shown` or as nobody.
async fn connect(address: SocketAddr, shown: Option<&Svid>) -> TlsStream<TcpStream> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let anybody = Arc::new(Anybody(provider.signature_verification_algorithms));
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().dangerous().with_custom_certificate_verifier(anybody);
    let config = match shown {
        Some(svid) => builder.with_client_auth_cert(vec![svid.certificate.clone()], svid.key()).unwrap(),
        None => builder.with_no_client_auth(),
    };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("tollgate.example").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// What `/v1/whoami` says on the connection.
async fn whoami(stream: &mut TlsStream<TcpStream>) -> Value {
    get(stream, "/v1/whoami").await
}

/// The JSON at `path` on the connection.
async fn get(stream: &mut TlsStream<TcpStream>, path: &str) -> Value {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some(json) = text.split_once("\r\n\r\n").and_then(|(_, body)| serde_json::from_str(body).ok())
        {
            return json;
        }
    }
}

/// Who `svid` is on a connection of its own: the SPIFFE ID, or the code of the refusal.
async fn who(app: &App, svid: &Svid) -> String {
    let answer = whoami(&mut connect(app.spiffe_address().unwrap(), Some(svid)).await).await;
    answer["subject"].as_str().or(answer["code"].as_str()).unwrap().to_owned()
}
