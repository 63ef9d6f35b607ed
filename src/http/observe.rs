//! One log line and one set of metrics per request.
//!
//! The line is an event named `request` with these fields, which are a contract:
//! `request` (id), `method` (`-` if the head could not be read), `route` (the matched pattern, never the raw path or query), `status`, `code` (of a
//! failure), `decision`, `principal` (of a success), `peer` (the connection's address), `micros` and `bytes` (of the
//! answer's body). Level: error for 5xx, warn for 4xx, debug for probes, info otherwise. A client that hangs up
//! before the answer gives status 499.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::Instrument;

use super::failure::{self, Failure, Surface};
use super::headers;
use super::peer::Peer;
use crate::clock::random_bytes;
use crate::domain::{DecisionId, PrincipalKey};
use crate::telemetry::{self, InFlight};

/// The header that carries the request's id. An incoming one is not read: a caller could plant it in the logs.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Status of a request whose client hung up before the answer.
const CLIENT_GONE: u16 = 499;

/// Our name for one request: 16 random bytes, hexadecimal.
#[derive(Debug, Clone)]
pub(super) struct RequestId(Arc<str>);

impl RequestId {
    fn generate() -> Self {
        let bytes: [u8; 16] = random_bytes().unwrap_or_default();
        Self(format!("{:032x}", u128::from_be_bytes(bytes)).into())
    }

    /// An id that a test can compare.
    #[cfg(test)]
    pub(super) fn named(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an endpoint adds to the log line of a success.
#[derive(Debug, Clone, Default)]
pub(super) struct Noted {
    /// The decision.
    pub(super) decision: Option<DecisionId>,
    /// Who asked.
    pub(super) principal: Option<PrincipalKey>,
}

/// Names, times, counts and logs a request, and gives its answer the form and the headers that every answer has.
pub(super) async fn observe(request: Request, next: Next) -> Response {
    telemetry::in_request(observed(request, next)).await
}

async fn observed(mut request: Request, next: Next) -> Response {
    let id = RequestId::generate();
    request.extensions_mut().insert(id.clone());
    let running = Running::start(&request, id.clone());
    let span = tracing::info_span!("http", request = %id);
    let surface = Surface::of(request.uri().path());
    let response = next.run(request).instrument(span).await;
    let mut response = failure::render(response, surface, &id);
    headers::harden(response.headers_mut());
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    running.end(&response);
    response
}

/// A request in flight. Dropped before its end, it logs that the client is gone.
struct Running {
    id: RequestId,
    method: Method,
    route: String,
    peer: Option<IpAddr>,
    started: Instant,
    ended: bool,
    _counted: InFlight,
}

impl Running {
    fn start(request: &Request, id: RequestId) -> Self {
        let matched = request.extensions().get::<MatchedPath>();
        Self {
            id,
            method: request.method().clone(),
            // A constant for everything unmatched: raw paths would make unbounded label sets.
            route: matched.map_or("none", MatchedPath::as_str).to_owned(),
            peer: request.extensions().get::<Peer>().map(|peer| peer.address.ip()),
            started: Instant::now(),
            ended: false,
            _counted: InFlight::enter(),
        }
    }

    fn end(mut self, response: &Response) {
        self.ended = true;
        let failure = response.extensions().get::<Failure>();
        let noted = response.extensions().get::<Noted>().cloned().unwrap_or_default();
        self.log(&Line {
            status: response.status().as_u16(),
            code: failure.map(|failure| failure.code().as_str()),
            decision: failure.and_then(Failure::decision).or(noted.decision),
            principal: noted.principal,
            bytes: response.body().size_hint().exact().unwrap_or_default(),
        });
    }

    fn log(&self, line: &Line) {
        let elapsed = self.started.elapsed();
        telemetry::request_ended(&self.route, line.status, elapsed);

        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    name: "request",
                    request = %self.id,
                    method = %self.method,
                    route = self.route,
                    status = line.status,
                    code = line.code,
                    decision = line.decision.map(tracing::field::display),
                    principal = line.principal.as_ref().map(tracing::field::display),
                    peer = self.peer.map(tracing::field::display),
                    micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX),
                    bytes = line.bytes,
                    "request"
                )
            };
        }
        let probe = matches!(self.route.as_str(), "/livez" | "/readyz" | "/metrics");
        match line.status {
            500.. => line!(error),
            400.. => line!(warn),
            _ if probe => line!(debug),
            _ => line!(info),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.ended {
            let (code, decision, principal) = (None, None, None);
            self.log(&Line { status: CLIENT_GONE, code, decision, principal, bytes: 0 });
        }
    }
}

/// What the end of a request adds to its log line.
struct Line {
    status: u16,
    code: Option<&'static str>,
    decision: Option<DecisionId>,
    principal: Option<PrincipalKey>,
    bytes: u64,
}
