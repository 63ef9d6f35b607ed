//! A network between a server and its database that can be cut: by falling silent, or by ending its connections.

use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It carries everything.
    Whole,
    /// It carries nothing and tells nobody. What was sent meanwhile arrives late, as with a packet that is sent again.
    Silent,
    /// It ends its connections, and each new one at once.
    Broken,
}

/// A way to one port of this machine; it needs a runtime of several threads where a test waits for processes.
pub(crate) struct Network {
    pub(crate) port: u16,
    state: watch::Sender<State>,
}

impl Network {
    /// A whole one before `port`.
    pub(crate) async fn before(port: u16) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (state, states) = watch::channel(State::Whole);
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(carry(client, port, states.clone()));
            }
        });
        Self { port: own, state }
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

/// Carries one connection until an end closes it, or the network breaks.
async fn carry(client: TcpStream, port: u16, state: watch::Receiver<State>) {
    let mut breaks = state.clone();
    let both = async {
        let server = TcpStream::connect(("127.0.0.1", port)).await?;
        let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
        let there = pass(from_client, to_server, state.clone());
        let back = pass(from_server, to_client, state);
        tokio::select! { ended = there => ended, ended = back => ended }
    };
    // Which end closed it, or how, is for the ends to notice.
    tokio::select! {
        _ = both => {}
        _ = breaks.wait_for(|state| *state == State::Broken) => {}
    }
}

/// Passes bytes on while the network is whole; the end of a connection, too, is noticed only then.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut buffer).await?;
        if state.wait_for(|state| *state == State::Whole).await.is_err() || count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
    }
}
