//! How much is done at once, and for how long.
//!
//! A request gets its permit once its body is here, so that slow senders hold none. It then runs in a task of its
//! own that holds the permit to the end: a client that hangs up, or one that got a timeout, does not make room for
//! the next one while its work still runs; nor is a mint dropped half way.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::Instrument;

use super::arriving::Room;
use super::body;
use super::failure::Failure;
use crate::config::Limits;
use crate::domain::{Code, Refusal};
use crate::telemetry;

/// Seconds after which a shed request should come again.
const SHED_RETRY_AFTER: u32 = 1;

/// Bodies that may be in memory at once at full size, for each request that may run: of those that wait for the rest
/// of theirs, most are small.
const BODIES_PER_PERMIT: usize = 4;

/// The number of requests that may run, and for how long each.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    room: Room,
    body_bytes: usize,
    timeout: Duration,
}

/// Requests to the kill switch that may run at once, beside all others: it is pulled when the rest is overrun.
const SWITCH_PERMITS: usize = 16;

impl Gate {
    /// The gate of what callers use.
    pub(super) fn new(limits: &Limits) -> Self {
        Self::of(limits.concurrency, limits)
    }

    /// The gate of the kill switch.
    pub(super) fn of_switch(limits: &Limits) -> Self {
        Self::of(SWITCH_PERMITS, limits)
    }

    fn of(concurrency: usize, limits: &Limits) -> Self {
        let permits = concurrency.min(Semaphore::MAX_PERMITS);
        let room = permits.saturating_mul(BODIES_PER_PERMIT).saturating_mul(limits.body_bytes);
        Self {
            permits: Arc::new(Semaphore::new(permits)),
            room: Room::new(room),
            body_bytes: limits.body_bytes,
            timeout: limits.request_timeout,
        }
    }

    /// Runs the request if there is room, and sheds it at once otherwise: a queue would only make everybody late.
    pub(super) async fn admit(&self, request: Request, next: Next) -> Result<Response, Failure> {
        if self.permits.available_permits() == 0 {
            return Err(shed());
        }
        let (request, _held) = match body::buffer(request, self.body_bytes, &self.room).await {
            Ok(buffered) => buffered,
            Err(refusal) if refusal.code == Code::Overloaded => return Err(shed()),
            Err(refusal) => return Err(Failure::request(refusal)),
        };
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| shed())?;
        run(self.timeout, Some(permit), request, next).await
    }
}

fn shed() -> Failure {
    telemetry::request_shed();
    let message = "the server has as many requests in flight as it takes";
    Failure::request(Refusal::new(Code::Overloaded, message).with_retry_after(SHED_RETRY_AFTER))
}

/// Runs the request whatever the load: probes must see an overloaded server as alive.
pub(super) async fn contain(
    State(gate): State<Gate>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    run(gate.timeout, None, request, next).await
}

async fn run(
    timeout: Duration,
    permit: Option<OwnedSemaphorePermit>,
    request: Request,
    next: Next,
) -> Result<Response, Failure> {
    let work = async move {
        let response = next.run(request).await;
        drop(permit);
        response
    };
    match tokio::time::timeout(timeout, tokio::spawn(telemetry::in_request(work).in_current_span())).await {
        Ok(Ok(response)) => Ok(response),
        // The panic's own text may quote the request; the panic hook reports where it happened.
        Ok(Err(_)) => Err(Failure::internal("an endpoint panicked")),
        Err(_) => {
            let message = "the request took longer than the server allows; it may still be carried out";
            Err(Failure::request(Refusal::new(Code::Timeout, message)))
        }
    }
}
