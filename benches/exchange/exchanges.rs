//! Whole exchanges: the shipped binary in a process of its own, a fresh token each, replay settled, every record durable.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tollgate::telemetry::names::BATCH_SIZE;

use crate::process::Server;
use crate::report::Exchanges;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Fallible, cpu, load};

/// Requests that bring a server to its usual pace before anything is counted.
const WARM_UP: usize = 500;
/// Exchanges whose syncs are counted: few, because each costs a stop of the server.
const TRACED: usize = 600;

/// Exchanges tokens for credentials, `count` of them, over `connections` connections.
pub(crate) async fn measure(
    site: &Site,
    signer: &Signer,
    role: &'static str,
    connections: usize,
    count: usize,
) -> Fallible<Exchanges> {
    let requests = |count| -> Fallible<_> {
        Ok(Arc::new(
            site.tokens(signer, count)?.iter().map(|token| load::request(role, token)).collect::<Vec<_>>(),
        ))
    };
    let (warm_up, counted, traced) = (requests(WARM_UP)?, requests(count)?, requests(TRACED)?);
    let before_bytes = site.store_bytes();

    let server = Server::tollgate(&site.config())?;
    load::send(server.address(), connections, warm_up).await?;
    let (cpu_before, written_before) = (server.cpu()?, server.written()?);
    let (_, commits_before) = server.histogram(BATCH_SIZE).await?;
    let run = load::send(server.address(), connections, counted).await?;
    let exchanges = u32::try_from(count)?;
    let cpu_micros = cpu::per(server.cpu()? - cpu_before, exchanges);
    let written = server.written()? - written_before;
    let (_, commits) = server.histogram(BATCH_SIZE).await?;
    let commits = (commits - commits_before) / f64::from(exchanges);
    let syncs = syncs_per_commit(&server, connections, traced, site.path("syncs")).await?;
    let resident = server.resident()?;
    // The end checkpoints the log into the file: what is left is what the exchanges keep.
    server.stop()?;

    let recorded = count + WARM_UP + TRACED;
    let per = |bytes: u64, count: usize| bytes.checked_div(count as u64).unwrap_or_default();
    Ok(Exchanges {
        role,
        connections,
        count,
        per_second: run.rate(),
        p50_micros: run.percentile(50),
        p90_micros: run.percentile(90),
        p99_micros: run.percentile(99),
        cpu_micros,
        commits,
        syncs: syncs.map(|per_commit| per_commit * commits),
        store_bytes: per(site.store_bytes().saturating_sub(before_bytes), recorded),
        written_bytes: per(written, count),
        resident_bytes: resident,
    })
}

/// Disk syncs per commit, checkpoints included, counted by strace where there is one: in a run of its own, for it slows
/// the server, and per commit, for a slower server commits smaller batches.
async fn syncs_per_commit(
    server: &Server,
    connections: usize,
    requests: Arc<Vec<Vec<u8>>>,
    seen: PathBuf,
) -> Fallible<Option<f64>> {
    let (_, before) = server.histogram(BATCH_SIZE).await?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fsync,fdatasync", "-p", &server.pid().to_string(), "-o"]).arg(&seen);
    let strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut strace) = strace else {
        load::send(server.address(), connections, requests).await?;
        return Ok(None);
    };
    tokio::time::sleep(Duration::from_secs(1)).await;
    load::send(server.address(), connections, requests).await?;
    kill_process(Pid::from_child(&strace), Signal::INT)?;
    strace.wait()?;
    let seen = std::fs::read_to_string(seen).unwrap_or_default();
    // Each call once: an interrupted one is shown a second time as `<... fsync resumed>`.
    let calls = seen.lines().filter(|line| line.contains("sync(") && !line.contains("resumed")).count();
    let (_, after) = server.histogram(BATCH_SIZE).await?;
    // None at all means that tracing is not permitted here.
    Ok((calls > 0).then(|| f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / (after - before)))
}
