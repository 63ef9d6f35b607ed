//! Bundle endpoints: who may answer, and what is believed of the answer.

use std::path::Path;
use std::sync::{Arc, Mutex};

use rcgen::CertificateParams;
use rustls::ServerConfig;
use rustls_pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::harness::{Memory, NOW, at, code, identity};
use super::signer::Signer;
use super::svid::{Authority, authority, bundle, domain, leaf_and_key, svid_claims, uri};
use crate::clock::Clock;
use crate::config::{BundleSource, EndpointServer, Issuer, KeySource};
use crate::domain::Code;

const SERVER: &str = "spiffe://acme.example/spire/server";

/// A bundle endpoint; it ends with the test's runtime.
struct Endpoint {
    url: String,
    shown: Arc<Mutex<(Arc<ServerConfig>, String)>>,
}

fn tls(authority: &Authority, uris: &[&str]) -> Arc<ServerConfig> {
    let names = uris.iter().map(|text| uri(text)).collect();
    let change = |params: &mut CertificateParams| params.subject_alt_names = names;
    let (leaf, key) = leaf_and_key(authority, change);
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder =
        ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(vec![leaf], key).unwrap())
}

impl Endpoint {
    async fn start(tls: Arc<ServerConfig>, bundle: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}/bundle", listener.local_addr().unwrap());
        let shown = Arc::new(Mutex::new((tls, bundle.to_string())));
        let state = Arc::clone(&shown);
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (tls, body) = state.lock().unwrap().clone();
                let Ok(mut stream) = TlsAcceptor::from(tls).accept(stream).await else { continue };
                let mut request = [0; 4096];
                if stream.read(&mut request).await.unwrap_or(0) == 0 {
                    continue;
                }
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                stream.write_all((head + &body).as_bytes()).await.unwrap();
                let _ = stream.shutdown().await;
            }
        });
        Self { url, shown }
    }

    fn show(&self, tls: Arc<ServerConfig>, bundle: &Value) {
        *self.shown.lock().unwrap() = (tls, bundle.to_string());
    }

    fn entry(&self, server: EndpointServer) -> Issuer {
        let source = BundleSource::Endpoint { url: self.url.parse().unwrap(), server };
        Issuer { keys: KeySource::Bundle(source), insecure_loopback: true, ..domain(Path::new("unused")) }
    }
}

#[tokio::test]
async fn i_16_a_bundle_endpoint_proves_itself_by_an_svid_of_the_domains_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let (first, next, signer) = (authority(), authority(), Signer::ec("k"));
    let file = folder.path().join("first.pem");
    std::fs::write(&file, first.pem()).unwrap();
    let served = bundle(&[&first, &next], &[&signer]);
    let endpoint = Endpoint::start(tls(&first, &[SERVER]), &served).await;
    let entry = || endpoint.entry(EndpointServer::Spiffe { id: SERVER.into(), first: file.clone() });
    let token = || signer.token(&svid_claims());
    let asked = async |tls: Arc<ServerConfig>| {
        endpoint.show(tls, &served);
        // Nothing is remembered, so that each begins with the file.
        let identity = identity(vec![entry()], &Arc::<Memory>::default(), &Clock::manual(at(NOW)));
        code(&identity, token()).await
    };
    assert_eq!(asked(tls(&first, &[SERVER])).await, Ok(()));
    let refused = Err(Code::IssuerUnavailable);
    assert_eq!(
        asked(tls(&first, &["spiffe://acme.example/ns/shop/sa/deployer"])).await,
        refused,
        "a workload"
    );
    assert_eq!(asked(tls(&first, &[SERVER, "spiffe://acme.example/b"])).await, refused, "two names");
    assert_eq!(asked(tls(&first, &[])).await, refused, "no name");
    assert_eq!(asked(tls(&next, &[SERVER])).await, refused, "an authority that the first bundle has not");

    // Once a bundle is known, it is what verifies the next answer, at the time of our clock.
    endpoint.show(tls(&first, &[SERVER]), &served);
    let clock = Clock::manual(at(NOW));
    let identity = identity(vec![entry()], &Arc::<Memory>::default(), &clock);
    assert_eq!(code(&identity, token()).await, Ok(()));
    let other = Signer::ec("other");
    let mut newer = bundle(&[&next], &[&other]);
    newer["spiffe_sequence"] = 2.into();
    endpoint.show(tls(&next, &[SERVER]), &newer);
    clock.set(at(NOW + 60));
    assert_eq!(code(&identity, other.token(&svid_claims())).await, Ok(()));
}

#[tokio::test]
async fn i_20_a_bundle_endpoint_of_the_web_needs_a_certificate_of_the_web_and_a_public_address() {
    let (web, signer) = (authority(), Signer::ec("k"));
    let endpoint = Endpoint::start(tls(&web, &[SERVER]), &bundle(&[&web], &[&signer])).await;
    let outcome = async |entry: Issuer| {
        let identity = identity(vec![entry], &Arc::<Memory>::default(), &Clock::manual(at(NOW)));
        code(&identity, signer.token(&svid_claims())).await
    };
    let refused = Err(Code::IssuerUnavailable);
    assert_eq!(
        outcome(endpoint.entry(EndpointServer::Web)).await,
        refused,
        "nobody of the web vouches for it"
    );
    let local = Issuer { insecure_loopback: false, ..endpoint.entry(EndpointServer::Web) };
    assert_eq!(outcome(local).await, refused);

    // Over plain http in a test, the answer itself is what counts.
    let app = |body: String| axum::Router::new().route("/bundle", axum::routing::get(async move || body));
    for (body, expected) in [
        (bundle(&[], &[&signer]).to_string(), Ok(())),
        (json!({"keys": []}).to_string(), Err(Code::TokenKeyUnknown)),
        ("<html>".to_owned(), refused),
        (" ".repeat(1 << 20), refused),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/bundle", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move { axum::serve(listener, app(body)).await });
        let source = BundleSource::Endpoint { url, server: EndpointServer::Web };
        let entry = endpoint.entry(EndpointServer::Web);
        assert_eq!(outcome(Issuer { keys: KeySource::Bundle(source), ..entry }).await, expected);
    }
}
