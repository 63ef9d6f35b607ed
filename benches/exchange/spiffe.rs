//! What certificates and proofs cost beside plain tokens: `cargo bench -- spiffe`.
//!
//! Connections are made, resumed and kept with an X.509-SVID; two servers of one configuration, one of which ends TLS itself,
//! take turns in the ways to show who one is; and one server's bundle stays, and changes, in turns.

use std::fmt;
use std::sync::Arc;

use rustls::client::Resumption;
use serde::Serialize;

use crate::domain::Domain;
use crate::handshakes::{Handshakes, Kind};
use crate::load::To;
use crate::process::Server;
use crate::report::median;
use crate::signer::Signer;
use crate::site::Site;
use crate::updates::{Latencies, Updates};
use crate::{Fallible, cpu, handshakes, load, proofs, updates};

/// Times that every way has its turn; the median of its rounds counts.
const ROUNDS: usize = 7;
/// Exchanges of a round, over so many connections.
const ROUND: usize = 3_000;
const CONNECTIONS: usize = 8;

/// The role that all of them ask for.
const ROLE: &str = "open";

/// What was found.
#[derive(Serialize)]
pub(crate) struct Spiffe {
    handshakes: Vec<Handshakes>,
    exchanges: Vec<Exchanges>,
    updates: Updates,
}

/// Exchanges over kept connections in one way.
#[derive(Serialize)]
struct Exchanges {
    way: Way,
    per_second: f64,
    p50_micros: f64,
    p99_micros: f64,
    /// Processor time of the server alone.
    cpu_micros: f64,
}

/// How a client shows who it is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Way {
    /// A token, without TLS.
    Token,
    /// A token that is bound to a key, and a proof by the key, without TLS.
    Proof,
    /// A token, by TLS.
    TokenByTls,
    /// An X.509-SVID, by TLS, and no token.
    Certificate,
}

/// A server, with what its clients have.
struct Place {
    site: Site,
    server: Server,
}

/// Measures everything in one run.
pub(crate) async fn measure() -> Fallible<Spiffe> {
    let (issuer, domain) = (Signer::rsa()?, Domain::new()?);
    let plain = Place::begin(&issuer, |_| Ok(()))?;
    let encrypted = Place::begin(&issuer, |site| domain.serve_by(site, Domain::FILE, ""))?;
    let handshakes = handshakes::measure(&domain, &encrypted.server).await?;

    let strangers = vec![To::tls(encrypted.server.address(), domain.stranger()?)];
    let workload = |name| domain.workload(name, Resumption::disabled());
    let workloads = (0..CONNECTIONS).map(|name| Ok(To::tls(encrypted.server.address(), workload(name)?)));
    let mut ways = vec![
        Turns::new(Way::Token, &plain, vec![plain.server.address().into()]),
        Turns::new(Way::Proof, &plain, vec![plain.server.address().into()]),
        Turns::new(Way::TokenByTls, &encrypted, strangers),
        Turns::new(Way::Certificate, &encrypted, workloads.collect::<Fallible<_>>()?),
    ];
    for _ in 0..=ROUNDS {
        for way in &mut ways {
            way.round(&issuer).await?;
        }
    }
    let exchanges = ways.into_iter().map(Turns::found).collect();
    plain.server.stop()?;
    encrypted.server.stop()?;
    Ok(Spiffe { handshakes, exchanges, updates: updates::measure(&issuer).await? })
}

impl Place {
    fn begin(issuer: &Signer, change: impl FnOnce(&Site) -> Fallible<()>) -> Fallible<Self> {
        let site = Site::new(10, 5)?;
        site.trust(issuer)?;
        site.open_role(ROLE)?;
        change(&site)?;
        let server = Server::tollgate(&site.config())?;
        Ok(Self { site, server })
    }
}

/// The rounds of one way.
struct Turns<'a> {
    way: Way,
    place: &'a Place,
    clients: Vec<To>,
    rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    cpu: Vec<f64>,
}

impl<'a> Turns<'a> {
    const fn new(way: Way, place: &'a Place, clients: Vec<To>) -> Self {
        Self { way, place, clients, rate: Vec::new(), p50: Vec::new(), p99: Vec::new(), cpu: Vec::new() }
    }

    fn requests(&self, issuer: &Signer) -> Fallible<Vec<Vec<u8>>> {
        match self.way {
            Way::Token | Way::TokenByTls => {
                let tokens = self.place.site.tokens(issuer, ROUND)?;
                Ok(tokens.iter().map(|token| load::request(ROLE, token)).collect())
            }
            Way::Proof => proofs::requests(&self.place.site, issuer, ROLE, ROUND),
            Way::Certificate => {
                let body = format!(r#"{{"role":"{ROLE}"}}"#);
                Ok(vec![load::post_with("/v1/credentials", "", &body); ROUND])
            }
        }
    }

    async fn round(&mut self, issuer: &Signer) -> Fallible<()> {
        let (requests, server) = (Arc::new(self.requests(issuer)?), &self.place.server);
        let before = server.cpu()?;
        let run = load::send_to(&self.clients, CONNECTIONS, requests).await?;
        self.cpu.push(cpu::per(server.cpu()? - before, u32::try_from(ROUND)?));
        self.rate.push(run.rate());
        self.p50.push(run.percentile(50));
        self.p99.push(run.percentile(99));
        Ok(())
    }

    fn found(self) -> Exchanges {
        Exchanges {
            way: self.way,
            per_second: median(&self.rate),
            p50_micros: median(&self.p50),
            p99_micros: median(&self.p99),
            cpu_micros: median(&self.cpu),
        }
    }
}

impl fmt::Display for Spiffe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Handshakes { kind, per_second, cpu_micros } in &self.handshakes {
            let name = match kind {
                Kind::Full => "a full handshake and a request",
                Kind::Resumed => "a resumed one and a request",
                Kind::Kept => "a request on a kept connection",
            };
            writeln!(f, "{name:<32} {per_second:>7.0}/s  cpu {cpu_micros:>6.0} µs")?;
        }
        writeln!(f, "\n{ROUND} exchanges over {CONNECTIONS} kept connections, median of {ROUNDS} rounds")?;
        let first = self.exchanges.first().map_or(0.0, |exchanges| exchanges.cpu_micros);
        for Exchanges { way, per_second, p50_micros, p99_micros, cpu_micros } in &self.exchanges {
            let name = match way {
                Way::Token => "a token",
                Way::Proof => "a bound token and its proof",
                Way::TokenByTls => "a token by TLS",
                Way::Certificate => "an X.509-SVID by mTLS",
            };
            writeln!(
                f,
                "{name:<32} {per_second:>7.0}/s  cpu {cpu_micros:>6.0} µs ({:+.0})  p50 {p50_micros:>6.0} µs  p99 {p99_micros:>6.0} µs",
                cpu_micros - first
            )?;
        }
        let Updates { target, ratio, still, moving } = &self.updates;
        writeln!(f, "\nan X.509-SVID by mTLS, while its bundle is streamed")?;
        for latencies in [still, moving] {
            let Latencies { updates_per_second, p50_micros, p99_micros } = latencies;
            writeln!(
                f,
                "{updates_per_second:>4.0} updates a second  p50 {p50_micros:>6.0} µs  p99 {p99_micros:>6.0} µs"
            )?;
        }
        writeln!(f, "p99 with updates: {ratio:.2} times (aim: {target})")
    }
}
