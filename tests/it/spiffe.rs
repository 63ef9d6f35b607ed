//! Workloads that have a SPIFFE identity and nothing else: by JWT-SVID, and by X.509-SVID on the broker's own listener.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::SignedDuration;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::harness::parts::program;
use crate::harness::{Api, Server, Site};

const WORKLOAD: &str = "spiffe://acme.example/ns/shop/sa/deployer";

const ROLE: &str = r#"
description = "for workloads"
environment = "production"
target = "api"
ttl = { default = "15m", max = "1h" }
policies = ["ci.mesh"]

[jwt]
claims = ["namespace"]

[scopes.read]
"#;

const POLICY: &str = r#"package ci.mesh

default allow := false

allow if {
	input.operation == "mint"
	input.identity.kind == "spiffe"
	input.identity.namespace == "shop"
}
"#;

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key.
type Client = (CertificateDer<'static>, PrivateKeyDer<'static>);

fn svid(authority: &Authority, uris: &[&str]) -> Client {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (date_time_ymd(2026, 3, 1), date_time_ymd(2026, 3, 4));
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.der().clone(), PrivateKeyDer::try_from(key.serialize_der()).unwrap())
}

/// Makes `site` a broker of the trust domain whose bundle is in `bundle.json`, that ends TLS itself if it is to.
fn of_domain(site: &Site, tls: bool) -> CertificateDer<'static> {
    let server = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    site.write("tls.crt", &server.cert.pem());
    site.write("tls.key", &server.signing_key.serialize_pem());
    let entry = format!(
        "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"{}\"\n\
         bundle = {{ file = \"../bundle.json\" }}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\n",
        site.url
    );
    site.write("config/issuers/mesh.toml", &entry);
    site.write("config/roles/workload.toml", ROLE);
    site.write("policies/ci/mesh.rego", POLICY);
    if tls {
        let keys = "tls = { certificate = \"../tls.crt\", key = \"../tls.key\" }\n\n[store]";
        site.write("config/tollgate.toml", &site.settings("").replace("[store]", keys));
    }
    server.cert.der().clone()
}

fn publish(site: &Site, authority: &Authority) {
    let key = json!({ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(authority.der())] });
    site.write("bundle.json", &json!({ "keys": [key], "spiffe_refresh_hint": 60 }).to_string());
}

fn client(root: &CertificateDer<'static>, shown: Option<Client>) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.unwrap().with_root_certificates(roots);
    TlsConnector::from(Arc::new(match shown {
        Some((certificate, key)) => builder.with_client_auth_cert(vec![certificate], key).unwrap(),
        None => builder.with_no_client_auth(),
    }))
}

async fn connect(site: &Site, client: &TlsConnector) -> TlsStream<TcpStream> {
    let stream = TcpStream::connect(site.url.trim_start_matches("http://")).await.unwrap();
    client.connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
}

/// Who one is on the connection.
async fn whoami(stream: &mut TlsStream<TcpStream>, more: &str) -> (String, Value) {
    let request = format!("GET /v1/whoami HTTP/1.1\r\nhost: localhost\r\n{more}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut buffer).await.unwrap();
        assert!(count > 0, "the connection ended");
        answer.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&answer);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && let Ok(json) = serde_json::from_str(body)
        {
            return (head.get(9..12).unwrap().to_owned(), json);
        }
    }
}

async fn on_new(site: &Site, client: &TlsConnector) -> Value {
    whoami(&mut connect(site, client).await, "").await.1
}

#[tokio::test]
async fn i_16_a_certificate_is_an_identity_as_long_as_its_domains_bundle_says_so() {
    let site = Site::new(&[]).await;
    let (ours, theirs) = (authority(), authority());
    let root = of_domain(&site, true);
    publish(&site, &ours);
    let app = site.start().await;
    let good = client(&root, Some(svid(&ours, &[WORKLOAD])));
    let mut stays = connect(&site, &good).await;
    let (status, who) = whoami(&mut stays, "").await;
    assert_eq!((status.as_str(), &who["subject"]), ("200", &json!(WORKLOAD)), "{who}");
    assert_eq!(who["principal"], "spiffe:acme.example/ns/shop/sa/deployer");
    assert_eq!(who["attributes"]["namespace"], "shop");
    // Beside a token it would be the runner, which this domain vouches for none of; none of both is nobody.
    let bearer = format!("authorization: Bearer {}\r\n", site.token());
    assert_eq!(whoami(&mut stays, &bearer).await.1["code"], "actor_refused");
    assert_eq!(whoami(&mut stays, "authorization: Bearer x\r\n").await.1["code"], "token_malformed");
    assert_eq!(on_new(&site, &client(&root, None)).await["code"], "token_missing");

    for (shown, code) in [
        (svid(&theirs, &[WORKLOAD]), "certificate_untrusted"),
        (svid(&ours, &[WORKLOAD, "spiffe://acme.example/b"]), "certificate_invalid"),
        (svid(&ours, &[]), "certificate_invalid"),
        (svid(&ours, &["spiffe://evil.example/ns/shop/sa/deployer"]), "issuer_unknown"),
        (svid(&ours, &["spiffe://acme.example/vm/7"]), "identity_not_admitted"),
    ] {
        assert_eq!(on_new(&site, &client(&root, Some(shown))).await["code"], code);
    }

    // The bundle changes: what is open, and what is resumed, is verified again.
    publish(&site, &theirs);
    site.clock.set(site.now() + SignedDuration::from_mins(61));
    assert_eq!(whoami(&mut stays, "").await.1["code"], "certificate_untrusted");
    let mut resumed = connect(&site, &good).await;
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
    assert_eq!(whoami(&mut resumed, "").await.1["code"], "certificate_untrusted");
    publish(&site, &ours);
    app.reload().await.unwrap();
    assert_eq!(whoami(&mut stays, "").await.0, "200");
    std::fs::remove_file(site.path("config/issuers/mesh.toml")).unwrap();
    std::fs::remove_file(site.path("config/roles/workload.toml")).unwrap();
    app.reload().await.unwrap();
    assert_eq!(whoami(&mut stays, "").await.1["code"], "token_missing", "no trust domain is left");
    assert!(site.counted(&app, "certificate_untrusted").await >= 3);
    assert_eq!(site.rows("decisions"), 0);
    app.stop().await;
}

fn openssl(folder: &Path, arguments: &[&str]) {
    let done = Command::new(program("openssl")).args(arguments).current_dir(folder).output().unwrap();
    assert!(done.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

/// An authority and an SVID by the `openssl` command, and a bundle that holds the authority and the issuer's key.
async fn made_by_openssl(site: &Site) {
    let folder = site.folder.path();
    let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let root = ["req", "-x509", "-days", "30", "-subj", "/O=acme", "-keyout", "ca.key", "-out", "ca.pem"];
    openssl(folder, &[&root[..], &key[..], &["-addext", "keyUsage=critical,keyCertSign,cRLSign"]].concat());
    let request = ["req", "-new", "-subj", "/O=acme", "-keyout", "svid.key", "-out", "svid.csr"];
    openssl(folder, &[&request[..], &key[..]].concat());
    let extensions = format!(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n\
         extendedKeyUsage=clientAuth,serverAuth\nsubjectAltName=URI:{WORKLOAD}\n"
    );
    site.write("svid.ext", &extensions);
    let sign = ["x509", "-req", "-in", "svid.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"];
    openssl(folder, &[&sign[..], &["-days", "1", "-extfile", "svid.ext", "-out", "svid.pem"]].concat());
    openssl(folder, &["x509", "-in", "ca.pem", "-outform", "der", "-out", "ca.der"]);

    let der = std::fs::read(site.path("ca.der")).unwrap();
    let mut bundle = Api::new(site.issuer.url()).get("/jwks", None).await.ok();
    for key in bundle["keys"].as_array_mut().unwrap() {
        key["use"] = "jwt-svid".into();
    }
    let root = json!({ "use": "x509-svid", "kty": "EC", "x5c": [STANDARD.encode(der)] });
    bundle["keys"].as_array_mut().unwrap().push(root);
    site.write("bundle.json", &bundle.to_string());
}

#[tokio::test]
async fn a_workload_gets_a_credential_by_curl_and_a_certificate_of_openssl() {
    let site = Site::of_process(&[]).await;
    of_domain(&site, true);
    made_by_openssl(&site).await;
    let _server = Server::start(&site.config(), "");
    let url = site.url.replace("http://127.0.0.1", "https://localhost") + "/v1/credentials";
    let curl = |more: &[&str]| {
        let mut command = Command::new(program("curl"));
        command.current_dir(site.folder.path()).args([
            "-4",
            "--silent",
            "--show-error",
            "--cacert",
            "tls.crt",
        ]);
        command.args(["--json", r#"{"role":"workload"}"#]).args(more).arg(&url);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice::<Value>(&done.stdout).unwrap()
    };
    let shown = ["--cert", "svid.pem", "--key", "svid.key"];
    // The key is proved in each handshake, so that a certificate is not used up.
    for _ in 0..2 {
        let answer = curl(&shown);
        let token = answer["credential"]["token"].as_str().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(token.split('.').count(), 3);
    }
    assert_eq!(curl(&[])["code"], "token_missing");
    let older = curl(&["--tls-max", "1.2", shown[0], shown[1], shown[2], shown[3]]);
    assert_eq!(older["credential"]["kind"], "jwt", "{older}");
}

#[tokio::test]
async fn a_workload_gets_a_credential_by_jwt_svid_once() {
    let site = Site::of_process(&[]).await;
    of_domain(&site, false);
    made_by_openssl(&site).await;
    let _server = Server::start(&site.config(), "");
    let svid = |changes: Value| {
        let now = site.now().as_second();
        let mut claims = json!({ "sub": WORKLOAD, "aud": [site.url], "iat": now, "exp": now + 300 });
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        site.issuer.sign(&claims)
    };
    let token = svid(json!({}));
    let role = [("audience", "workload")];
    let answer = site.api().exchange(&token, &role).await.ok();
    assert!(answer["access_token"].is_string(), "{answer}");
    assert_eq!(site.api().exchange(&token, &role).await.code(), "token_replayed");
    let body = json!({ "role": "workload" });
    assert_eq!(site.api().credentials(&svid(json!({ "n": 1 })), &body).await.status, 200);
    for (changes, code) in [
        (json!({ "sub": "spiffe://acme.example/ns/bank/sa/deployer" }), "not_allowed"),
        (json!({ "sub": "spiffe://acme.example/vm/7" }), "identity_not_admitted"),
        (json!({ "sub": "spiffe://other.example/ns/shop/sa/deployer" }), "issuer_unknown"),
        (json!({ "sub": "spiffe://acme.example/ns/../sa/deployer" }), "token_claim_invalid"),
        (json!({ "aud": [site.url, "https://other.example"] }), "token_audience_refused"),
        (json!({ "exp": null }), "token_claim_invalid"),
    ] {
        let answer = site.api().credentials(&svid(changes), &body).await;
        assert_eq!(answer.code(), code, "{}", answer.text);
    }
}
