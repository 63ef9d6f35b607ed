use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use axum::Extension;
use axum::body::Body;
use axum::http::StatusCode;
use axum::routing::{any, get};
use http_body_util::BodyExt;
use hyper::Request;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::{ClientConfig, ProtocolVersion, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;
use crate::clock::Clock;
use crate::config::{TlsFiles, TlsSettings};
use crate::http::endpoint::{UNREADABLE, Unreadable};
use crate::http::{Peer, TlsError};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
const LAST_REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";

/// Long enough to never matter.
const LONG: Duration = Duration::from_mins(1);

/// Short enough to wait for.
const SHORT: Duration = Duration::from_millis(250);

fn caps() -> Caps {
    Caps { connections: 64, handshake: LONG, idle: LONG, grace: LONG }
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    done: JoinHandle<()>,
}

async fn start(tls: Option<Arc<Tls>>, caps: Caps, router: Router) -> Running {
    let server = Server::bind((Ipv4Addr::LOCALHOST, 0).into(), tls, caps).await.unwrap();
    let address = server.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let done = tokio::spawn(async move {
        let stop = async {
            let _ = stopped.await;
        };
        server.serve(router, stop).await;
    });
    Running { address, stop, done }
}

fn hello() -> Router {
    Router::new().route(
        "/",
        get(|Extension(peer): Extension<Peer>| async move {
            assert!(peer.certificate.is_none());
            format!("hello {}", peer.address.ip())
        }),
    )
}

/// What `future` gives, or a failed test instead of one that hangs.
async fn soon<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(10), future).await.expect("an end")
}

async fn exchange(stream: &mut TcpStream, request: &[u8]) -> String {
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A server that resets after its answer still has answered.
    let _ = soon(stream.read_to_end(&mut answer)).await;
    String::from_utf8(answer).unwrap()
}

/// Reads one answer of a connection that stays open; its body ends with `end`.
async fn read_until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    let mut buffer = [0; 1024];
    while !answer.ends_with(end) {
        let read = soon(stream.read(&mut buffer)).await.unwrap();
        assert_ne!(read, 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    answer
}

#[tokio::test]
async fn serves_on_a_free_port_and_tells_the_peer() {
    let server = start(None, caps(), hello()).await;
    assert_ne!(server.address.port(), 0);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let answer = exchange(&mut stream, LAST_REQUEST).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello 127.0.0.1"), "{answer}");
    assert!(!answer.to_ascii_lowercase().contains("\nserver:"), "{answer}");
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let server = start(None, caps(), hello()).await;
    let error = Server::bind(server.address, None, caps()).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
}

#[tokio::test]
async fn s_07_closes_clients_that_send_nothing_or_dribble_a_head() {
    let server = start(None, Caps { idle: SHORT, grace: SHORT, ..caps() }, hello()).await;
    for begun in [&b""[..], b"G", b"GET / HTTP/1.1\r\nhost: x\r\nx-slow: ", b"PRI * HT"] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let answer = exchange(&mut stream, begun).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[tokio::test]
async fn s_07_closes_a_connection_between_requests_after_a_while() {
    let server = start(None, Caps { idle: SHORT, ..caps() }, hello()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let answer = exchange(&mut stream, REQUEST).await;
    assert!(answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn s_07_takes_no_more_connections_than_allowed() {
    let server = start(None, Caps { connections: 1, ..caps() }, hello()).await;
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(REQUEST).await.unwrap();
    read_until(&mut first, "127.0.0.1").await;
    let mut second = TcpStream::connect(server.address).await.unwrap();
    second.write_all(REQUEST).await.unwrap();
    let waiting = tokio::time::timeout(SHORT, read_until(&mut second, "127.0.0.1")).await;
    assert!(waiting.is_err(), "the second connection was served beside the first");
    drop(first);
    read_until(&mut second, "127.0.0.1").await;
}

/// A router that says why a head could not be read.
fn frank() -> Router {
    let frank = |Extension(peer): Extension<Peer>, Extension(Unreadable(refusal)): Extension<Unreadable>| async move {
        (StatusCode::IM_A_TEAPOT, format!("{} from {}", refusal.code, peer.address.ip()))
    };
    hello().route(UNREADABLE, any(frank))
}

#[tokio::test]
async fn s_07_a_head_that_is_too_large_is_refused_by_the_router_and_not_by_the_library() {
    let server = start(None, caps(), frank()).await;
    let token = |bytes: usize| format!("x: {}\r\n", "a".repeat(bytes));
    let lines = "x: y\r\n".repeat(65);
    for headers in [token(70_000), token(1 << 20), lines] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
        let answer = exchange(&mut stream, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 418 I'm a teapot\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nheaders_too_large from 127.0.0.1"), "{answer}");
    }
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let fits = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}\r\n", token(60_000));
    let answer = exchange(&mut stream, fits.as_bytes()).await;
    assert!(answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn a_head_that_is_not_http_is_refused_by_the_router_too_after_a_good_request() {
    let server = start(None, caps(), frank()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    read_until(&mut stream, "127.0.0.1").await;
    let answer = exchange(&mut stream, b"GET / HTTP/1.1\r\nno colon\r\n\r\n").await;
    assert!(answer.ends_with("request_malformed from 127.0.0.1"), "{answer}");
}

/// A router whose requests say that they began, and end when let go.
fn held() -> (Router, Arc<Notify>, Arc<Notify>) {
    let (begun, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, wait) = (Arc::clone(&begun), Arc::clone(&go));
    let handler = move || async move {
        begins.notify_one();
        wait.notified().await;
        "finished"
    };
    (Router::new().route("/", get(handler)), begun, go)
}

#[tokio::test]
async fn shutdown_finishes_requests_in_flight_and_closes_idle_connections() {
    let (router, begun, go) = held();
    let server = start(None, caps(), router).await;
    let mut idle = TcpStream::connect(server.address).await.unwrap();
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    begun.notified().await;
    server.stop.send(()).unwrap();
    assert_eq!(exchange(&mut idle, b"").await, "");
    assert!(TcpStream::connect(server.address).await.is_err());
    assert!(!server.done.is_finished());
    go.notify_one();
    let answer = exchange(&mut busy, b"").await;
    assert!(answer.ends_with("finished"), "{answer}");
    soon(server.done).await.unwrap();
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let (router, begun, _go) = held();
    let server = start(None, Caps { grace: SHORT, ..caps() }, router).await;
    let mut busy = TcpStream::connect(server.address).await.unwrap();
    busy.write_all(REQUEST).await.unwrap();
    begun.notified().await;
    server.stop.send(()).unwrap();
    soon(server.done).await.unwrap();
}

/// A certificate for `localhost` in `directory`.
fn certificate(directory: &Path) -> (TlsFiles, CertificateDer<'static>) {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let settings = TlsFiles { certificate: directory.join("tls.crt"), key: directory.join("tls.key") };
    std::fs::write(&settings.certificate, certified.cert.pem()).unwrap();
    std::fs::write(&settings.key, certified.signing_key.serialize_pem()).unwrap();
    (settings, certified.cert.der().clone())
}

fn load(files: &TlsFiles) -> Result<Tls, TlsError> {
    let TlsFiles { certificate, key } = files;
    let files = TlsFiles { certificate: certificate.clone(), key: key.clone() };
    Tls::load(&TlsSettings::Files(files), None, &Clock::system(), None)
}

async fn connect(
    address: SocketAddr,
    root: &CertificateDer<'static>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    alpn: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![alpn.to_vec()];
    let stream = TcpStream::connect(address).await?;
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

#[tokio::test]
async fn serves_http_2_and_http_1_over_tls() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, root) = certificate(directory.path());
    let tls = Arc::new(load(&settings).unwrap());
    let server = start(Some(tls), caps(), hello()).await;

    let stream = connect(server.address, &root, &BOTH, b"h2").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::get("https://localhost/").body(Body::empty()).unwrap();
    let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello 127.0.0.1");

    let mut stream = connect(server.address, &root, &BOTH[1..], b"http/1.1").await.unwrap();
    assert_eq!(stream.get_ref().1.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    stream.write_all(LAST_REQUEST).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    assert!(answer.ends_with("hello 127.0.0.1"), "{answer}");
}

#[tokio::test]
async fn s_07_ends_slow_handshakes() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Arc::new(load(&certificate(directory.path()).0).unwrap());
    let server = start(Some(tls), Caps { handshake: SHORT, ..caps() }, hello()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(exchange(&mut silent, b"").await, "");
}

#[tokio::test]
async fn s_07_ends_idle_http_2_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (settings, root) = certificate(directory.path());
    let tls = Arc::new(load(&settings).unwrap());
    let server = start(Some(tls), Caps { idle: SHORT, grace: SHORT, ..caps() }, hello()).await;
    let stream = connect(server.address, &root, &BOTH, b"h2").await.unwrap();
    let (_sender, connection) =
        hyper::client::conn::http2::handshake::<_, _, Body>(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    let _ = soon(connection).await;
}

#[tokio::test]
async fn plain_http_gets_no_answer_from_a_tls_listener() {
    let directory = tempfile::tempdir().unwrap();
    let tls = Arc::new(load(&certificate(directory.path()).0).unwrap());
    let server = start(Some(tls), caps(), hello()).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(LAST_REQUEST).await.unwrap();
    let mut answer = Vec::new();
    let _ = soon(stream.read_to_end(&mut answer)).await;
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_new_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (settings, old_root) = certificate(old.path());
    let (renewed, new_root) = certificate(new.path());
    let tls = Arc::new(load(&settings).unwrap());
    let server = start(Some(Arc::clone(&tls)), caps(), hello()).await;
    assert!(connect(server.address, &old_root, &BOTH, b"h2").await.is_ok());

    let mixed = TlsFiles { certificate: renewed.certificate.clone(), key: settings.key.clone() };
    assert!(matches!(load(&mixed), Err(TlsError::Unusable(_))));
    let absent = TlsFiles { certificate: new.path().join("none"), key: settings.key.clone() };
    assert!(matches!(load(&absent), Err(TlsError::Pem { .. })));
    let empty = TlsFiles { certificate: settings.key.clone(), key: settings.key.clone() };
    assert!(matches!(load(&empty), Err(TlsError::NoCertificate(_))));
    assert!(connect(server.address, &old_root, &BOTH, b"h2").await.is_ok());

    tls.replace(&load(&renewed).unwrap());
    assert!(connect(server.address, &old_root, &BOTH, b"h2").await.is_err());
    assert!(connect(server.address, &new_root, &BOTH, b"h2").await.is_ok());
}
