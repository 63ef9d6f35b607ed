//! The load generator: keep-alive HTTP/1.1 connections that each send the next request once the last is answered.
//!
//! Written by hand because it shares two cores with the server: a full client would cost more than what it measures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::Fallible;

/// Longest head of an answer, bytes.
const MAX_HEAD: usize = 8 * 1024;

/// Where a connection leads, and what it shows there.
#[derive(Clone)]
pub(crate) struct To {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

impl From<SocketAddr> for To {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

impl To {
    /// By TLS, to a server whose certificate is for `localhost`.
    pub(crate) const fn tls(address: SocketAddr, tls: TlsConnector) -> Self {
        Self { address, tls: Some(tls) }
    }
}

/// A stream of either kind.
trait Wire: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Wire for T {}

/// What a run of requests took.
pub(crate) struct Run {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// Of each request, shortest first.
    latencies: Vec<Duration>,
}

impl Run {
    /// The latency in microseconds that `percent` of the requests kept.
    pub(crate) fn percentile(&self, percent: usize) -> f64 {
        let place = self.latencies.len().saturating_sub(1) * percent / 100;
        self.latencies.get(place).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    }

    /// Requests per second.
    pub(crate) fn rate(&self) -> f64 {
        f64::from(u32::try_from(self.latencies.len()).unwrap_or(u32::MAX)) / self.took.as_secs_f64()
    }
}

/// A request for `role` with `token`.
pub(crate) fn request(role: &str, token: &str) -> Vec<u8> {
    post("/v1/credentials", token, &format!(r#"{{"role":"{role}"}}"#))
}

/// A request that sends `body`, which is JSON, to `path`.
pub(crate) fn post(path: &str, bearer: &str, body: &str) -> Vec<u8> {
    post_with(path, &format!("authorization: Bearer {bearer}\r\n"), body)
}

/// The same with `headers`, each with the end of its line.
pub(crate) fn post_with(path: &str, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{headers}\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// Sends every request once over `connections` connections.
pub(crate) async fn send(
    address: SocketAddr,
    connections: usize,
    requests: Arc<Vec<Vec<u8>>>,
) -> Fallible<Run> {
    send_to(&[address.into()], connections, requests).await
}

/// The same to places of which each gets its share of the connections.
pub(crate) async fn send_to(places: &[To], connections: usize, requests: Arc<Vec<Vec<u8>>>) -> Fallible<Run> {
    let (took, mut latencies) = run(places, connections, requests, |_, latency| latency).await?;
    latencies.sort_unstable();
    Ok(Run { took, latencies })
}

/// The same as [`send`], for the bodies of the answers, in no order.
pub(crate) async fn bodies(
    address: SocketAddr,
    connections: usize,
    requests: Arc<Vec<Vec<u8>>>,
) -> Fallible<Vec<Vec<u8>>> {
    Ok(run(&[address.into()], connections, requests, |body, _| body.to_vec()).await?.1)
}

/// Sends every request once, and keeps of each answer what `keep` makes of its body and its latency.
async fn run<T: Send + 'static>(
    places: &[To],
    connections: usize,
    requests: Arc<Vec<Vec<u8>>>,
    keep: fn(&[u8], Duration) -> T,
) -> Fallible<(Duration, Vec<T>)> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    let mut opened = Vec::new();
    for place in places.iter().cycle().take(connections) {
        opened.push(Client::connect(place).await?);
    }
    let began = Instant::now();
    for client in opened {
        clients.spawn(client.send_all(Arc::clone(&requests), Arc::clone(&next), keep));
    }
    let mut kept = Vec::with_capacity(requests.len());
    while let Some(client) = clients.join_next().await {
        kept.extend(client??);
    }
    Ok((began.elapsed(), kept))
}

/// The body that `path` answers with.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Fallible<String> {
    let mut client = Client::connect(&address.into()).await?;
    client.exchange(&getting(path)).await?;
    Ok(String::from_utf8(client.body)?)
}

/// A request for `path`.
pub(crate) fn getting(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n").into_bytes()
}

/// One connection by TLS.
pub(crate) async fn shake_hands(address: SocketAddr, tls: &TlsConnector) -> Fallible<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(tls.connect(ServerName::try_from("localhost")?, stream).await?)
}

/// A connection.
pub(crate) struct Client {
    stream: Box<dyn Wire>,
    buffer: Vec<u8>,
    body: Vec<u8>,
}

impl Client {
    async fn connect(to: &To) -> Fallible<Self> {
        if let Some(tls) = &to.tls {
            return Ok(Self::on(shake_hands(to.address, tls).await?));
        }
        let stream = TcpStream::connect(to.address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::on(stream))
    }

    /// On a stream that is open.
    pub(crate) fn on(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self { stream: Box::new(stream), buffer: Vec::with_capacity(16 * 1024), body: Vec::new() }
    }

    async fn send_all<T>(
        mut self,
        requests: Arc<Vec<Vec<u8>>>,
        next: Arc<AtomicUsize>,
        keep: fn(&[u8], Duration) -> T,
    ) -> Fallible<Vec<T>> {
        let mut kept = Vec::new();
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let began = Instant::now();
            self.exchange(request).await?;
            kept.push(keep(&self.body, began.elapsed()));
        }
        Ok(kept)
    }

    /// Sends one request and reads its answer, which must be a success.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Fallible<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.buffer.clear();
        let head = loop {
            if let Some(end) = end_of_head(&self.buffer) {
                break end;
            }
            if self.buffer.len() > MAX_HEAD || self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("no answer".into());
            }
        };
        let (head, begun) = self.buffer.split_at(head);
        let head = std::str::from_utf8(head)?;
        let length = head
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length: usize = length.ok_or("an answer without a length")?.1.trim().parse()?;
        let good = head.starts_with("HTTP/1.1 200");
        self.body.clear();
        self.body.extend_from_slice(begun);
        while self.body.len() < length {
            if self.stream.read_buf(&mut self.body).await? == 0 {
                return Err("an answer broke off".into());
            }
        }
        if good { Ok(()) } else { Err(String::from_utf8_lossy(&self.body).into_owned().into()) }
    }
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
