//! A trust domain whose SVIDs jobs, runners and proxies show to a broker that ends TLS itself.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio_rustls::TlsConnector;
use tollgate::app::App;

use super::api::Answer;
use super::{Api, Site};

/// An authority of a trust domain.
pub(crate) type Authority = CertifiedIssuer<'static, KeyPair>;

pub(crate) fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key.
pub(crate) struct Svid {
    pub(crate) certificate: rcgen::Certificate,
    key: KeyPair,
}

/// An SVID with `uris`, changed by `change`.
pub(crate) fn svid(
    authority: &Authority,
    uris: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> Svid {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 3, 4));
    change(&mut params);
    Svid { certificate: params.signed_by(&key, authority).unwrap(), key }
}

/// A key with a certificate by itself, which names nobody.
pub(crate) fn bare_key() -> Svid {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
    Svid { certificate, key }
}

impl Svid {
    /// The key's thumbprint (RFC 7638), made apart from the program's own.
    pub(crate) fn thumbprint(&self) -> String {
        let (x, y) = self.key.public_key_raw()[1..].split_at(32);
        let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
        let jwk = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(digest(&SHA256, jwk.as_bytes()))
    }

    /// The certificate's hash (RFC 8705, section 3.1).
    pub(crate) fn hash(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.certificate.der()))
    }

    /// A token of a trusted job that is bound to this key.
    pub(crate) fn token(&self, site: &Site) -> String {
        site.token_with(&json!({ "aud": format!("{}#jkt={}", site.url, self.thumbprint()) }))
    }
}

/// PEM as Envoy escapes it.
pub(crate) fn escaped(pem: &str) -> String {
    pem.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || byte == b'-' {
            text.push(char::from(byte));
        } else {
            write!(text, "%{byte:02X}").unwrap();
        }
        text
    })
}

/// A site that ends TLS itself, and the trust domain `acme.example`.
pub(crate) struct Mesh {
    pub(crate) site: Site,
    pub(crate) authority: Authority,
    root: CertificateDer<'static>,
}

impl Mesh {
    /// With `files`, `entry` at the end of the domain's entry, and `server` in `[server]`.
    pub(crate) async fn new(files: &[(&str, &str)], entry: &str, server: &str) -> Self {
        let site = Site::new(files).await;
        let tls = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        site.write("tls.crt", &tls.cert.pem());
        site.write("tls.key", &tls.signing_key.serialize_pem());
        let mesh = Self { site, authority: authority(), root: tls.cert.der().clone() };
        mesh.entry(entry);
        mesh.server(server);
        mesh.publish(&mesh.authority).await;
        mesh
    }

    /// Writes the domain's entry.
    pub(crate) fn entry(&self, more: &str) {
        let entry = format!(
            "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"{}\"\n\
             bundle = {{ file = \"../bundle.json\" }}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\n{more}\n",
            self.site.url
        );
        self.site.write("config/issuers/mesh.toml", &entry);
    }

    /// Removes the domain's entry.
    pub(crate) fn remove_entry(&self) {
        std::fs::remove_file(self.site.path("config/issuers/mesh.toml")).unwrap();
    }

    /// Writes the settings.
    pub(crate) fn server(&self, more: &str) {
        let tls =
            format!("tls = {{ certificate = \"../tls.crt\", key = \"../tls.key\" }}\n{more}\n\n[store]");
        self.site.write("config/tollgate.toml", &self.site.settings("").replace("[store]", &tls));
    }

    /// Writes the domain's bundle: `authority`, and the key that signs the site's tokens.
    pub(crate) async fn publish(&self, authority: &Authority) {
        let mut bundle = Api::new(self.site.issuer.url()).get("/jwks", None).await.ok();
        for key in bundle["keys"].as_array_mut().unwrap() {
            key["use"] = "jwt-svid".into();
        }
        let key = json!({ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(authority.der())] });
        bundle["keys"].as_array_mut().unwrap().push(key);
        bundle["spiffe_refresh_hint"] = 60.into();
        self.site.write("bundle.json", &bundle.to_string());
    }

    /// A good SVID of the domain.
    pub(crate) fn svid(&self, uri: &str) -> Svid {
        svid(&self.authority, &[uri], |_| {})
    }

    /// A JWT-SVID of the domain.
    pub(crate) fn jwt_svid(&self, uri: &str) -> String {
        let now = self.site.now().as_second();
        let claims = json!({ "sub": uri, "aud": [self.site.url], "iat": now, "exp": now + 300 });
        self.site.issuer.sign(&claims)
    }

    /// A client of the first listener.
    pub(crate) fn client(&self, shown: Option<&Svid>) -> TlsApi {
        self.client_of(self.site.url.trim_start_matches("http://").parse().unwrap(), shown)
    }

    /// A client of the listener for proxies.
    pub(crate) fn through(&self, app: &App, shown: Option<&Svid>) -> TlsApi {
        self.client_of(app.proxies_address().unwrap(), shown)
    }

    /// A client of the listener at `address`.
    fn client_of(&self, address: SocketAddr, shown: Option<&Svid>) -> TlsApi {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.unwrap().with_root_certificates(roots);
        let tls = match shown {
            Some(Svid { certificate, key }) => {
                let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(vec![certificate.der().clone()], key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        TlsApi { address, connector: TlsConnector::from(Arc::new(tls)), connection: Mutex::default() }
    }
}

/// A client that shows a certificate, or none; it keeps its connection.
pub(crate) struct TlsApi {
    address: SocketAddr,
    connector: TlsConnector,
    connection: Mutex<Option<SendRequest<Full<Bytes>>>>,
}

impl TlsApi {
    async fn connect(&self) -> SendRequest<Full<Bytes>> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let stream =
            self.connector.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        sender
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if body.is_null() { String::new() } else { body.to_string() };
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let mut connection = self.connection.lock().await;
        let mut sender = match connection.take() {
            Some(sender) => sender,
            None => self.connect().await,
        };
        sender.ready().await.unwrap();
        let answer = sender.send_request(request.body(Full::from(body)).unwrap()).await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        *connection = Some(sender);
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer { status, headers, text, json }
    }

    /// Asks for the role `deploy`, with a bearer if there is one, and `more` headers.
    pub(crate) async fn deploy(&self, token: Option<&str>, more: &[(&str, &str)]) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        headers.extend(more);
        self.send(Method::POST, "/v1/credentials", &headers, &json!({ "role": "deploy" })).await
    }

    /// `GET path`, likewise.
    pub(crate) async fn get(&self, path: &str, token: Option<&str>, more: &[(&str, &str)]) -> Answer {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let mut headers: Vec<_> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        headers.extend(more);
        self.send(Method::GET, path, &headers, &Value::Null).await
    }
}
