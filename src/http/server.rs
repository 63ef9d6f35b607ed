//! The accept loop: bounded connections, and an orderly end.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{Caps, Connection};
use super::tls::Tls;

/// How long the loop rests when the system gives no connection, as when file descriptors run out.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// The address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A bound listener that does not serve yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    caps: Caps,
}

impl Server {
    /// Binds `listen`; port 0 takes a free one.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(listen: SocketAddr, tls: Option<Arc<Tls>>, caps: Caps) -> Result<Self, BindError> {
        let failed = |source| BindError { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, address, tls, caps })
    }

    /// The address that is listened on.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `stop` resolves; then closes the listener and returns when the connections are done.
    ///
    /// A connection is done when its requests in flight are answered, and at the latest after [`Caps::grace`].
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()>) {
        let Self { listener, tls, caps, .. } = self;
        let slots = Arc::new(Semaphore::new(caps.connections.min(Semaphore::MAX_PERMITS)));
        let stopping = CancellationToken::new();
        let connections = TaskTracker::new();
        let mut stop = pin!(stop);
        loop {
            let (stream, address, slot) = tokio::select! {
                biased;
                () = &mut stop => break,
                accepted = accept(&listener, &slots) => accepted,
            };
            let connection = Connection {
                address,
                tls: tls.as_ref().map(|tls| tls.acceptor()),
                router: router.clone(),
                caps: caps.clone(),
                stopping: stopping.clone(),
            };
            connections.spawn(async move {
                connection.run(stream).await;
                drop(slot);
            });
        }
        drop(listener);
        stopping.cancel();
        connections.close();
        connections.wait().await;
    }
}

/// The next connection, once there is room for it. Until then clients wait in the system's queue, and cost us nothing.
async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there always is a permit in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, address)) => return (stream, address, slot),
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
