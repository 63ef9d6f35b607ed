//! The client against real sockets: a server that answers whatever the test says.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{Client, NetError, Request, Response, Rules};

/// A server on loopback that gives every connection the same bytes.
struct Server {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

/// What the server does after its bytes.
#[derive(Clone, Copy)]
enum Then {
    Close,
    Hang,
}

impl Server {
    async fn start(answer: &'static str, then: Then, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, seen) = (tls.clone(), Arc::clone(&seen));
                tokio::spawn(async move {
                    match tls {
                        None => converse(stream, answer, then, &seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                converse(stream, answer, then, &seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, requests }
    }

    async fn plain(answer: &'static str) -> Self {
        Self::start(answer, Then::Close, None).await
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn converse(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &str,
    then: Then,
    seen: &AtomicUsize,
) {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        match stream.read_buf(&mut request).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    seen.fetch_add(1, Ordering::SeqCst);
    let _ = stream.write_all(answer.as_bytes()).await;
    match then {
        Then::Close => drop(stream.shutdown().await),
        Then::Hang => std::future::pending().await,
    }
}

fn rules() -> Rules {
    Rules {
        allow_networks: Vec::new(),
        insecure_loopback: true,
        extra_roots: None,
        timeout: Duration::from_secs(20),
        max_bytes: 16,
    }
}

async fn get(rules: Rules, url: &str) -> Result<Response, NetError> {
    Client::new(rules)?.send(Request::get(url.parse().unwrap())).await
}

#[tokio::test]
async fn reads_an_answer_up_to_the_cap_whatever_its_status() {
    let server =
        Server::plain("HTTP/1.1 503 Oh\r\ncontent-length: 16\r\nx-a: b\r\n\r\n0123456789abcdef").await;
    let answer = get(rules(), &format!("http://{}/", server.address)).await.unwrap();
    assert_eq!((answer.status.as_u16(), &answer.body[..]), (503, &b"0123456789abcdef"[..]));
    assert_eq!(answer.headers["x-a"], "b");
}

#[tokio::test]
async fn i_01_refuses_loopback_before_a_connection_is_made() {
    let server = Server::plain("HTTP/1.1 200 OK\r\n\r\n").await;
    let port = server.address.port();
    let strict = Rules { insecure_loopback: false, ..rules() };
    for (rules, url) in [
        (strict.clone(), format!("http://127.0.0.1:{port}/")),
        (strict.clone(), format!("https://127.0.0.1:{port}/")),
        (strict, format!("https://localhost:{port}/")),
        (rules(), format!("http://localhost:{port}/")),
        (rules(), format!("https://localhost:{port}/")),
    ] {
        let refused = get(rules, &url).await.unwrap_err();
        assert!(matches!(refused, NetError::AddressRefused(_)), "{url}: {refused:?}");
    }
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn i_02_refuses_redirects() {
    let target = Server::plain("HTTP/1.1 200 OK\r\n\r\nstolen").await;
    for status in [301, 302, 303, 307, 308] {
        let location = target.address;
        let answer =
            format!("HTTP/1.1 {status} Go\r\nlocation: http://{location}/\r\ncontent-length: 0\r\n\r\n");
        let server = Server::plain(answer.leak()).await;
        let refused = get(rules(), &format!("http://{}/", server.address)).await.unwrap_err();
        assert!(matches!(refused, NetError::Redirect), "{status}: {refused:?}");
    }
    assert_eq!(target.requests(), 0);
}

#[tokio::test]
async fn stops_at_the_cap_with_and_without_an_announced_length() {
    // The announced body never comes: only the early check can end this before the timeout.
    let announced = Server::start("HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n", Then::Hang, None).await;
    // An unannounced body without an end: only the check while reading can.
    let endless = Server::start("HTTP/1.1 200 OK\r\n\r\n0123456789abcdefg", Then::Hang, None).await;
    for server in [announced, endless] {
        let refused = get(rules(), &format!("http://{}/", server.address)).await.unwrap_err();
        assert!(matches!(refused, NetError::TooLarge(16)), "{refused:?}");
    }
}

#[tokio::test]
async fn gives_up_on_servers_that_stall_before_or_within_the_answer() {
    for answer in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"] {
        let server = Server::start(answer, Then::Hang, None).await;
        let quick = Rules { timeout: Duration::from_millis(50), ..rules() };
        let refused = get(quick, &format!("http://{}/", server.address)).await.unwrap_err();
        assert!(matches!(refused, NetError::Timeout(_)), "{answer:?}: {refused:?}");
    }
}

#[tokio::test]
async fn s_01_errors_name_the_host_and_never_the_query_or_the_headers() {
    let broken = Server::plain("nonsense\r\n\r\n").await;
    let request = Request::get(format!("http://{}/?key=sentinel", broken.address).parse().unwrap());
    let request = request.header("authorization", "Bearer sentinel").unwrap();
    let error = Client::new(rules()).unwrap().send(request).await.unwrap_err();
    assert!(matches!(&error, NetError::Unreachable { host, .. } if host == "127.0.0.1"), "{error:?}");
    let mut text = vec![format!("{error:?}")];
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        text.push(error.to_string());
        cause = error.source();
    }
    let text = text.concat();
    assert!(!text.contains("sentinel"), "{text}");
}

#[tokio::test]
async fn a_private_root_is_trusted_only_where_it_is_configured() {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned()];
    let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &authority).unwrap();
    let config = ServerConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key.into())
        .unwrap();
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::start(answer, Then::Close, Some(Arc::new(config).into())).await;

    let url = format!("https://localhost:{}/", server.address.port());
    let local = vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()];
    let trusting = Rules { extra_roots: Some(authority.pem().into()), allow_networks: local, ..rules() };
    let distrusting = Rules { extra_roots: None, ..trusting.clone() };
    assert_eq!(get(trusting.clone(), &url).await.unwrap().body, "ok");
    let refused = get(distrusting, &url).await.unwrap_err();
    assert!(matches!(refused, NetError::Unreachable { .. }), "{refused:?}");
    let other_name = format!("https://127.0.0.1:{}/", server.address.port());
    let refused = get(trusting, &other_name).await.unwrap_err();
    assert!(matches!(refused, NetError::Unreachable { .. }), "{refused:?}");
    assert_eq!(server.requests(), 1);
}

#[test]
fn broken_root_certificates_are_a_setup_error() {
    let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for pem in ["", "no PEM at all", broken] {
        let error = Client::new(Rules { extra_roots: Some(pem.into()), ..rules() }).unwrap_err();
        assert!(matches!(error, NetError::Setup(_)), "{pem:?}: {error:?}");
    }
}
