//! One connection: handshake, requests, end, each within its time.

mod activity;
mod outlet;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use self::activity::Activity;
use self::outlet::Outlet;
use super::peer::Peer;
use crate::config::Limits;
use crate::net::PeerCertificate;

/// Most header lines of a request, HTTP/1.1.
const MAX_HEADERS: usize = 64;

/// Largest request head, bytes: four times what a token may have, so that one that is too large is mostly refused as such.
const MAX_HEAD_BYTES: u32 = 64 * 1024;

/// Most concurrent requests of one HTTP/2 connection.
const MAX_STREAMS: u32 = 32;

/// Time between HTTP/2 pings that find dead peers, and how long an answer to one may take.
const PING: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(10));

/// Caps of the listener.
#[derive(Debug, Clone)]
pub struct Caps {
    /// Connections open at once; more wait to be accepted.
    pub connections: usize,
    /// Longest a TLS handshake may take.
    pub handshake: Duration,
    /// Longest a request's head may take, and a connection may be without a request.
    pub idle: Duration,
    /// Longest a connection may take to end its requests once it has to close.
    pub grace: Duration,
}

impl Caps {
    /// The caps that go with `limits`.
    pub fn new(limits: &Limits) -> Self {
        Self {
            connections: limits.connections,
            handshake: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            grace: limits.request_timeout.saturating_add(Duration::from_secs(5)),
        }
    }
}

/// All that a connection needs besides its stream.
pub(super) struct Connection {
    pub(super) address: SocketAddr,
    pub(super) tls: Option<TlsAcceptor>,
    pub(super) router: Router,
    pub(super) caps: Caps,
    pub(super) stopping: CancellationToken,
}

impl Connection {
    /// Serves the connection to its end.
    pub(super) async fn run(mut self, stream: TcpStream) {
        // Answers are small: waiting to fill a segment only adds latency.
        let _ = stream.set_nodelay(true);
        let Some(acceptor) = self.tls.take() else { return self.serve(stream, None).await };
        let handshake = tokio::time::timeout(self.caps.handshake, acceptor.accept(stream));
        let stream = tokio::select! {
            () = self.stopping.cancelled() => return,
            done = handshake => done,
        };
        match stream {
            Ok(Ok(stream)) => {
                let (_, session) = stream.get_ref();
                let shown = session.peer_certificates().zip(session.protocol_version());
                let certificate = shown.and_then(|(chain, protocol)| PeerCertificate::new(chain, protocol));
                self.serve(stream, certificate).await;
            }
            Ok(Err(error)) => tracing::debug!(peer = %self.address.ip(), %error, "the TLS handshake failed"),
            Err(_) => tracing::debug!(peer = %self.address.ip(), "the TLS handshake took too long"),
        }
    }

    async fn serve<S>(self, stream: S, certificate: Option<PeerCertificate>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { address, router, caps, stopping, .. } = self;
        let peer = Peer { address, certificate };
        let stream = Outlet::new(stream, router.clone(), peer.clone());
        let activity = Activity::new();
        let idle = Arc::clone(&activity).until_idle(caps.idle);
        let service = service_fn(move |request: Request<Incoming>| {
            let busy = activity.begin();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(peer.clone());
            let answer = router.clone().oneshot(request);
            async move {
                let answer = answer.await;
                drop(busy);
                answer
            }
        });
        let builder = builder(&caps);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = stopping.cancelled() => None,
            () = idle => None,
        };
        if let Some(ended) = ended {
            return log_end(address, ended);
        }
        connection.as_mut().graceful_shutdown();
        if let Ok(ended) = tokio::time::timeout(caps.grace, connection).await {
            log_end(address, ended);
        } else {
            tracing::debug!(peer = %address.ip(), "a connection was cut off");
        }
    }
}

fn builder(caps: &Caps) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(caps.idle)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1);
    builder
}

fn log_end(address: SocketAddr, ended: Result<(), Box<dyn std::error::Error + Send + Sync>>) {
    if let Err(error) = ended {
        tracing::debug!(peer = %address.ip(), %error, "a connection ended in disorder");
    }
}
