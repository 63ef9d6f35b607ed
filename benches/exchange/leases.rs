//! What live leases cost in memory: `cargo bench -- leases`.
//!
//! A server that holds none has done the same work as one that holds ten thousand: its dry runs end before anything is
//! authorised. Each is looked at again after a restart, when nothing is left of the work but what lives.

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
    at_start: u64,
    /// After dry runs alone.
    with_none: u64,
    /// After as many exchanges, all leases alive.
    with_all: u64,
    /// Each lease was heard of once, and that is written.
    heard: u64,
    /// Started anew on the store with all leases, each of them heard of again.
    restarted: u64,
    target: u64,
}

/// Measures with a heartbeat on every lease, which is all that the process keeps about one.
pub(crate) async fn measure() -> Fallible<Leases> {
    let (site, signer) = (Site::new(10, 5)?, Signer::rsa()?);
    site.trust(&signer)?;
    site.watched_role(ROLE)?;
    let server = Server::tollgate(&site.config())?;
    let at_start = server.resident()?;
    let requests = |body: &str| -> Fallible<Vec<Vec<u8>>> {
        let tokens = site.tokens(&signer, LEASES)?;
        Ok(tokens.iter().map(|token| load::post("/v1/credentials", token, body)).collect())
    };
    let dry = requests(&format!(r#"{{"role":"{ROLE}","dry_run":true}}"#))?;
    load::send(server.address(), CONNECTIONS, Arc::new(dry)).await?;
    let with_none = server.resident()?;
    let wet = requests(&format!(r#"{{"role":"{ROLE}"}}"#))?;
    let answers = load::bodies(server.address(), CONNECTIONS, Arc::new(wet)).await?;
    let with_all = server.resident()?;
    let beats = Arc::new(answers.iter().map(|answer| beat(answer)).collect::<Fallible<Vec<_>>>()?);
    load::send(server.address(), CONNECTIONS, Arc::clone(&beats)).await?;
    tokio::time::sleep(WRITTEN).await;
    let heard = server.resident()?;
    server.stop()?;
    let server = Server::tollgate(&site.config())?;
    load::send(server.address(), CONNECTIONS, beats).await?;
    tokio::time::sleep(WRITTEN).await;
    let restarted = server.resident()?;
    server.stop()?;
    Ok(Leases { live: LEASES, at_start, with_none, with_all, heard, restarted, target: TARGET })
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
        let Self { live, at_start, with_none, with_all, heard, restarted, target } = self;
        writeln!(f, "resident: {} at start, {} after {live} dry runs", mb(*at_start), mb(*with_none))?;
        let more = |now: u64, before: u64| mb(now.saturating_sub(before));
        for (what, now, before) in [
            (format!("{live} live leases"), *with_all, *with_none),
            ("each heard of once".to_owned(), *heard, *with_none),
            ("restarted, each heard of".to_owned(), *restarted, *at_start),
        ] {
            writeln!(f, "{what:<26} {:>9}: {:>8} more (aim: {})", mb(now), more(now, before), mb(*target))?;
        }
        Ok(())
    }
}
