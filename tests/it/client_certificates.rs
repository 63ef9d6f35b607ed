//! Alerts whose sender proves who it is by a client certificate: asked for, demanded of nobody, believed for its authority
//! and name alone.

use std::sync::Arc;

use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::Site;

const NAME: &str = "spiffe://acme.example/siem";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A client's certificate and key.
type Client = (CertificateDer<'static>, PrivateKeyDer<'static>);

/// A client of `authority` with one URI, changed by `change`.
fn client(authority: &Authority, uri: &str, change: impl FnOnce(&mut CertificateParams)) -> Client {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    change(&mut params);
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// A site that ends TLS itself, with two webhooks for one name, each with an authority of its own.
struct Scene {
    site: Site,
    root: CertificateDer<'static>,
    ours: Authority,
    theirs: Authority,
}

impl Scene {
    async fn new() -> Self {
        let site = Site::new(&[]).await;
        let (ours, theirs) = (authority(), authority());
        let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        site.write("tls.crt", &server.cert.pem());
        site.write("tls.key", &server.signing_key.serialize_pem());
        site.write("ours.pem", &ours.pem());
        site.write("theirs.pem", &theirs.pem());
        let webhook = |name: &str| {
            format!(
                "[webhooks.{name}]\nauth = \"mtls\"\nca_file = \"../{name}.pem\"\nnames = [\"uri:{NAME}\"]\n\
                 subjects = {{ repository = \"/repo\" }}\nduration = \"1h\"\n"
            )
        };
        let settings = site.settings(&(webhook("ours") + &webhook("theirs")));
        let tls = "tls = { certificate = \"../tls.crt\", key = \"../tls.key\" }\n\n[store]";
        site.write("config/tollgate.toml", &settings.replace("[store]", tls));
        Self { site, root: server.cert.der().clone(), ours, theirs }
    }

    async fn connect(&self, shown: Option<Client>) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let config = match shown {
            Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
            None => builder.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.site.url.trim_start_matches("http://")).await?;
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    /// The status of an alert of `webhook` on a connection of its own; none if the handshake was refused.
    async fn alert(&self, webhook: &str, shown: Option<Client>) -> Option<u16> {
        alert_on(&mut self.connect(shown).await.ok()?, webhook).await
    }
}

async fn alert_on(stream: &mut TlsStream<TcpStream>, webhook: &str) -> Option<u16> {
    let body = json!({ "repo": "acme/shop" }).to_string();
    let request = format!(
        "POST /v1/blocks/webhook/{webhook} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.ok()?;
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    while !answer.ends_with(b"}") {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        answer.extend_from_slice(&buffer[..count]);
    }
    let text = String::from_utf8(answer).unwrap();
    text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

#[tokio::test]
async fn c_15_an_alert_by_certificate_needs_the_webhooks_authority_and_one_of_its_names() {
    let scene = Scene::new().await;
    let app = scene.site.start().await;
    let Scene { ours, theirs, .. } = &scene;
    let good = || client(ours, NAME, |_| {});
    // None is demanded: whoever shows none is served, and is no webhook's sender.
    assert_eq!(scene.alert("ours", None).await, Some(401));
    for (uri, authority) in [("spiffe://acme.example/other", ours), (NAME, theirs)] {
        assert_eq!(scene.alert("ours", Some(client(authority, uri, |_| {}))).await, Some(401), "{uri}");
    }
    let longer = format!("{NAME}/more");
    assert_eq!(scene.alert("ours", Some(client(ours, &longer, |_| {}))).await, Some(401));
    let host = |params: &mut CertificateParams| {
        params.subject_alt_names = vec![SanType::DnsName("siem.example".try_into().unwrap())];
    };
    assert_eq!(scene.alert("ours", Some(client(ours, NAME, host))).await, Some(401));
    // What no authority of the listener vouches for, for a client, now, does not get through the handshake.
    assert_eq!(scene.alert("ours", Some(client(&authority(), NAME, |_| {}))).await, None);
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 3, 1);
    assert_eq!(scene.alert("ours", Some(client(ours, NAME, expired))).await, None);
    let of_a_server = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    };
    assert_eq!(scene.alert("ours", Some(client(ours, NAME, of_a_server))).await, None);
    assert!(app.broker().blocks(None, true).await.unwrap().is_empty());

    assert_eq!(scene.alert("nobody", Some(good())).await, Some(401));
    assert_eq!(scene.alert("ours", Some(good())).await, Some(200));
    let blocks = app.broker().blocks(None, false).await.unwrap();
    assert_eq!((blocks.len(), blocks[0].by.as_str()), (1, "webhook ours"));
    app.stop().await;
}

#[tokio::test]
async fn a_certificate_is_verified_again_for_each_alert_on_a_connection_that_stays() {
    let scene = Scene::new().await;
    let app = scene.site.start().await;
    let until = |params: &mut CertificateParams| params.not_after = date_time_ymd(2026, 3, 3);
    let shown = || client(&scene.ours, NAME, until);
    let mut first = scene.connect(Some(shown())).await.unwrap();
    let mut second = scene.connect(Some(client(&scene.theirs, NAME, |_| {}))).await.unwrap();
    assert_eq!(alert_on(&mut first, "ours").await, Some(200));
    assert_eq!(alert_on(&mut second, "theirs").await, Some(200));
    // Another authority is believed from the reload on, on connections of before as well.
    scene.site.write("theirs.pem", &scene.ours.pem());
    app.reload().await.unwrap();
    assert_eq!(alert_on(&mut second, "theirs").await, Some(401));
    assert_eq!(scene.alert("theirs", Some(client(&scene.theirs, NAME, |_| {}))).await, None);
    assert_eq!(alert_on(&mut first, "theirs").await, Some(200));
    scene.site.clock.set(scene.site.now() + SignedDuration::from_hours(24));
    assert_eq!(alert_on(&mut first, "ours").await, Some(401), "it has expired meanwhile");
    app.stop().await;
}
