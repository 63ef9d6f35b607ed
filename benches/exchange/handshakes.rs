//! What a connection by TLS costs whose client shows an X.509-SVID: made anew, resumed, and kept.

use std::net::SocketAddr;
use std::time::Instant;

use rustls::HandshakeKind;
use rustls::client::Resumption;
use serde::Serialize;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::domain::Domain;
use crate::load::{Client, getting, shake_hands};
use crate::process::Server;
use crate::{Fallible, cpu};

/// Requests of each kind, by so many clients at once.
const REQUESTS: usize = 4_000;
const CLIENTS: usize = 8;
/// Sessions that a client remembers: TLS 1.3 uses each once, and each handshake brings new ones.
const SESSIONS: usize = 8;
/// What is asked on each connection, so that the server has finished the handshake and verified the chain.
const ASKED: &str = "/v1/whoami";

/// Requests, each on a connection of its own, or all on kept ones.
#[derive(Serialize)]
pub(crate) struct Handshakes {
    pub(crate) kind: Kind,
    pub(crate) per_second: f64,
    /// Processor time of the server alone, for a handshake and its request.
    pub(crate) cpu_micros: f64,
}

/// How the connection of a request is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Full,
    Resumed,
    /// No handshake: what the others cost beside it is theirs.
    Kept,
}

/// Measures every kind on `server`.
pub(crate) async fn measure(domain: &Domain, server: &Server) -> Fallible<Vec<Handshakes>> {
    let mut found = Vec::new();
    for kind in [Kind::Full, Kind::Resumed, Kind::Kept] {
        let mut clients = Vec::new();
        for name in 0..CLIENTS {
            let resumption = match kind {
                Kind::Resumed => Resumption::in_memory_sessions(SESSIONS),
                Kind::Full | Kind::Kept => Resumption::disabled(),
            };
            clients.push(Workload::begin(server.address(), domain.workload(name, resumption)?).await?);
        }
        let (cpu_before, began) = (server.cpu()?, Instant::now());
        let mut running = JoinSet::new();
        for client in clients {
            running.spawn(client.ask(kind));
        }
        while let Some(client) = running.join_next().await {
            client??;
        }
        let (took, count) = (began.elapsed().as_secs_f64(), u32::try_from(REQUESTS)?);
        let cpu_micros = cpu::per(server.cpu()? - cpu_before, count);
        found.push(Handshakes { kind, per_second: f64::from(count) / took, cpu_micros });
    }
    Ok(found)
}

/// A workload with a connection that it keeps.
struct Workload {
    address: SocketAddr,
    tls: TlsConnector,
    kept: Client,
}

impl Workload {
    /// Asks once; what that leaves is what the first handshake after it resumes.
    async fn begin(address: SocketAddr, tls: TlsConnector) -> Fallible<Self> {
        let mut kept = Client::on(shake_hands(address, &tls).await?);
        kept.exchange(&getting(ASKED)).await?;
        Ok(Self { address, tls, kept })
    }

    async fn ask(mut self, kind: Kind) -> Fallible<()> {
        let wanted = match kind {
            Kind::Full => Some(HandshakeKind::Full),
            Kind::Resumed => Some(HandshakeKind::Resumed),
            Kind::Kept => None,
        };
        for _ in 0..REQUESTS / CLIENTS {
            if wanted.is_some() {
                let stream = shake_hands(self.address, &self.tls).await?;
                let was = stream.get_ref().1.handshake_kind();
                if was != wanted {
                    return Err(format!("a handshake is {was:?}, and not {wanted:?}").into());
                }
                self.kept = Client::on(stream);
            }
            self.kept.exchange(&getting(ASKED)).await?;
        }
        Ok(())
    }
}
