//! What live leases cost in memory: `cargo bench -- leases`.
//!
//! A server that holds a few has done the same work as one that holds ten thousand: dry runs, which end before anything is
//! authorised, and as many heartbeats. Each is looked at again after a restart, when nothing is left but what lives.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::process::Server;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Fallible, load, mb};

/// Leases that live at once.
const LEASES: usize = 10_000;
/// Leases of the server that it is compared with.
const FEW: usize = 100;
/// Most bytes that they may cost.
const TARGET: u64 = 20_000_000;
/// Connections that make them.
const CONNECTIONS: usize = 32;
/// Longer than the pause between two writes of what was heard.
const WRITTEN: Duration = Duration::from_secs(4);

/// The shipped role, with a heartbeat.
const ROLE: &str = "watched";

/// Resident bytes.
#[derive(Serialize)]
pub(crate) struct Leases {
    live: usize,
    few: usize,
    at_start: u64,
    with_few: Seen,
    with_all: Seen,
    target: u64,
}

/// Of a server with so many leases.
#[derive(Serialize)]
struct Seen {
    /// After as many exchanges as there are leases in the end, dry runs or not.
    exchanged: u64,
    /// After as many heartbeats, when they are written.
    heard: u64,
    /// Started anew, after as many heartbeats again.
    restarted: u64,
}

/// Measures with a heartbeat on every lease, which is all that the process keeps about one.
pub(crate) async fn measure() -> Fallible<Leases> {
    let (site, signer) = (Site::new(10, 5)?, Signer::rsa()?);
    site.trust(&signer)?;
    site.watched_role(ROLE)?;
    let requests = |count: usize, more: &str| -> Fallible<_> {
        let body = format!(r#"{{"role":"{ROLE}"{more}}}"#);
        let tokens = site.tokens(&signer, count)?;
        let requests = tokens.iter().map(|token| load::post("/v1/credentials", token, &body));
        Ok(Arc::new(requests.collect::<Vec<_>>()))
    };
    let server = Server::tollgate(&site.config())?;
    let at_start = server.resident()?;
    load::send(server.address(), CONNECTIONS, requests(LEASES, r#","dry_run":true"#)?).await?;
    let few = load::bodies(server.address(), CONNECTIONS, requests(FEW, "")?).await?;
    let (with_few, server) = Seen::with(server, &site, &few).await?;
    let all = load::bodies(server.address(), CONNECTIONS, requests(LEASES, "")?).await?;
    let (with_all, server) = Seen::with(server, &site, &all).await?;
    server.stop()?;
    Ok(Leases { live: LEASES, few: FEW, at_start, with_few, with_all, target: TARGET })
}

impl Seen {
    /// Looks at `server` with the leases that `answers` brought; returns the one that was started in its place.
    async fn with(server: Server, site: &Site, answers: &[Vec<u8>]) -> Fallible<(Self, Server)> {
        let exchanged = server.resident()?;
        let beats = answers.iter().map(|answer| beat(answer)).collect::<Fallible<Vec<_>>>()?;
        let beats = Arc::new(beats.into_iter().cycle().take(LEASES).collect::<Vec<_>>());
        let heard = hear(&server, &beats).await?;
        server.stop()?;
        let server = Server::tollgate(&site.config())?;
        let restarted = hear(&server, &beats).await?;
        Ok((Self { exchanged, heard, restarted }, server))
    }
}

/// Sends the heartbeats, and returns what is resident once they are written.
async fn hear(server: &Server, beats: &Arc<Vec<Vec<u8>>>) -> Fallible<u64> {
    load::send(server.address(), CONNECTIONS, Arc::clone(beats)).await?;
    tokio::time::sleep(WRITTEN).await;
    server.resident()
}

/// A heartbeat of the lease that `answer` brought.
fn beat(answer: &[u8]) -> Fallible<Vec<u8>> {
    let answer: Value = serde_json::from_slice(answer)?;
    let of_lease = |name: &str| answer.pointer(&format!("/lease/{name}")).and_then(Value::as_str);
    let (id, secret) = of_lease("id").zip(of_lease("secret")).ok_or("an answer without a lease")?;
    Ok(load::post(&format!("/v1/leases/{id}/heartbeat"), secret, "{}"))
}

impl fmt::Display for Leases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { live, few, at_start, with_few, with_all, target } = self;
        writeln!(f, "resident: {} at start; with {few} and with {live} live leases", mb(*at_start))?;
        for (what, before, now) in [
            (format!("{live} exchanges"), with_few.exchanged, with_all.exchanged),
            (format!("{live} heartbeats"), with_few.heard, with_all.heard),
            ("restarted, heard again".to_owned(), with_few.restarted, with_all.restarted),
        ] {
            let more = mb(now.saturating_sub(before));
            writeln!(
                f,
                "{what:<24} {:>9} {:>9}: {more:>8} more (aim: {})",
                mb(before),
                mb(now),
                mb(*target)
            )?;
        }
        Ok(())
    }
}
