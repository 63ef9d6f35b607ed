//! Whether what is dead slows what is not: `cargo bench -- neighbours`.
//!
//! Servers that differ only in their neighbour take turns: one alone, another one alone to show what chance does, one whose
//! clients wait for a target that never answers, as many as it lets wait and a few more, and one whose sink never answers.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tollgate::telemetry::names::IN_FLIGHT;

use crate::process::Server;
use crate::report::median;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Fallible, load};

/// Times that every server has its turn; the median of its rounds counts.
const ROUNDS: usize = 7;
/// Exchanges of a round, over so many connections.
const ROUND: usize = 3_000;
const CONNECTIONS: usize = 8;
/// Exchanges that may wait for one target.
const CAP: usize = 64;
/// Clients that wait for the dead target: an eighth of them is turned away, for roles on call.
const HELD: usize = CAP;
/// Until what is held is held, and the sink has begun to wait.
const SETTLE: Duration = Duration::from_secs(2);
/// Until those who wait wait again.
const AT_REST: Duration = Duration::from_millis(300);
/// What a client that was turned away waits before it asks again.
const AGAIN: Duration = Duration::from_secs(1);
/// Most times the p99 without the neighbour.
const TARGET: f64 = 1.2;

/// The role at the target that is dead.
const DEAD: &str = "dead";

/// What was found.
#[derive(Serialize)]
pub(crate) struct Neighbours {
    target: f64,
    cases: Vec<Case>,
}

/// A server beside some neighbour.
#[derive(Serialize)]
struct Case {
    name: &'static str,
    p50_micros: f64,
    p99_micros: f64,
    /// Of the p99 to that of the first case.
    ratio: f64,
    /// The fewest requests that were in flight beside the measured ones when a round began.
    held: f64,
}

/// A running server, with what its rounds found.
struct Running {
    name: &'static str,
    site: Site,
    server: Server,
    p50: Vec<f64>,
    p99: Vec<f64>,
    held: f64,
}

/// Measures all servers in turns.
pub(crate) async fn measure() -> Fallible<Neighbours> {
    let signer = Signer::rsa()?;
    let (mut silence, silent) = silence().await?;
    let mut servers = Vec::new();
    for name in ["alone", "alone again", "beside a dead target", "beside a dead sink"] {
        let site = Site::new(10, 5)?;
        site.trust(&signer)?;
        match name {
            "beside a dead target" => site.dead_target(DEAD, silent, CAP)?,
            "beside a dead sink" => site.feed(&sink(silent))?,
            _ => {}
        }
        let server = Server::tollgate(&site.config())?;
        servers.push(Running { name, site, server, p50: Vec::new(), p99: Vec::new(), held: f64::INFINITY });
    }
    let beside = servers.get(2).ok_or("no such server")?;
    for token in beside.site.tokens(&signer, HELD)? {
        silence.spawn(wait(beside.server.address(), load::request(DEAD, &token)));
    }
    tokio::time::sleep(SETTLE).await;
    for _ in 0..=ROUNDS {
        for running in &mut servers {
            running.round(&signer).await?;
        }
    }
    let mut cases: Vec<Case> = Vec::new();
    for running in servers {
        let first = cases.first().map(|case| case.p99_micros);
        cases.push(running.case(first)?);
    }
    Ok(Neighbours { target: TARGET, cases })
}

impl Running {
    async fn round(&mut self, signer: &Signer) -> Fallible<()> {
        let tokens = self.site.tokens(signer, ROUND)?;
        let requests = tokens.iter().map(|token| load::request("preview", token)).collect();
        // Making tokens kept the clients from asking again.
        tokio::time::sleep(AT_REST).await;
        // The one request that asks is itself in flight.
        self.held = self.held.min(self.server.value(IN_FLIGHT).await? - 1.0);
        let run = load::send(self.server.address(), CONNECTIONS, Arc::new(requests)).await?;
        self.p50.push(run.percentile(50));
        self.p99.push(run.percentile(99));
        Ok(())
    }

    fn case(self, first: Option<f64>) -> Fallible<Case> {
        let (p50_micros, p99_micros) = (median(&self.p50), median(&self.p99));
        self.server.stop()?;
        let ratio = p99_micros / first.unwrap_or(p99_micros);
        Ok(Case { name: self.name, p50_micros, p99_micros, ratio, held: self.held })
    }
}

/// Where every connection is accepted and nothing is ever answered, as long as the tasks run.
async fn silence() -> Fallible<(JoinSet<()>, SocketAddr)> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut open = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            open.push(connection);
        }
    });
    Ok((tasks, address))
}

/// Asks again and again, however it ends.
async fn wait(server: SocketAddr, request: Vec<u8>) {
    let request = Arc::new(vec![request]);
    loop {
        let began = Instant::now();
        // A refusal: the target does not answer, or too many wait for it already.
        let _ = load::send(server, 1, Arc::clone(&request)).await;
        tokio::time::sleep(AGAIN.saturating_sub(began.elapsed())).await;
    }
}

fn sink(silent: SocketAddr) -> String {
    format!(
        "[audit.sinks.{DEAD}]\nkind = \"splunk_hec\"\nurl = \"http://{silent}\"\ninsecure_loopback = true\n\
         token = {{ value = \"x\" }}\ntimeout = \"1m\"\n"
    )
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { target, cases } = self;
        writeln!(
            f,
            "{ROUND} exchanges over {CONNECTIONS} connections, median of {ROUNDS} rounds (aim: {target})"
        )?;
        for Case { name, p50_micros, p99_micros, ratio, held } in cases {
            writeln!(
                f,
                "{name:<22} p50 {p50_micros:>6.0} µs  p99 {p99_micros:>6.0} µs  {ratio:>5.2} times, {held:.0} held"
            )?;
        }
        Ok(())
    }
}
