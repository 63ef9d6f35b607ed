//! What an exchange costs: `cargo bench`.
//!
//! One run measures each step alone beside the raw signature operations, a bare handler on the same accept loop, and
//! whole exchanges of the shipped binary with the durable ledger at 1, 8 and 32 connections. Compare figures within a
//! run; processor time is what another program on the machine changes least.
//!
//! `cargo bench -- NAME` measures something else: `stores` exchanges on SQLite and on PostgreSQL, with one replica and two;
//! `leases` the memory of ten thousand live leases; `verify` a million records on both stores; `neighbours` what a dead
//! target or sink does to the others; `spiffe` handshakes, certificates and proofs; `memory` 200,000 exchanges; `roles` instructions with 10 and with 10,000 roles, under
//! valgrind. `--json` prints data instead of a table.

mod agent;
mod commits;
mod cpu;
mod domain;
mod exchanges;
mod floor;
mod handshakes;
mod leases;
mod load;
mod memory;
mod neighbours;
#[expect(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    reason = "the tests' server, which fails as tests do"
)]
#[path = "../../tests/it/harness/parts/postgres.rs"]
mod postgres;
mod process;
mod proofs;
mod ready;
mod report;
mod roles;
mod signer;
mod site;
mod spiffe;
mod steps;
mod stores;
mod updates;
mod verify;

use std::fmt::Display;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::{Parser, Subcommand};
use serde::Serialize;

use report::{Report, mb};
use signer::Signer;
use site::Site;

/// The shipped binary's: the steps measured in this process cost what they cost there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Any failure ends the run: half a benchmark is none.
type Fallible<T> = Result<T, Error>;
type Error = Box<dyn std::error::Error + Send + Sync>;

/// Roles, connections, and how many exchanges they make. The shipped role asks three packages, `plain` asks two small ones.
const LOADS: [(&str, usize, usize); 4] =
    [("preview", 1, 4_000), ("preview", 8, 12_000), ("preview", 32, 24_000), ("plain", 32, 24_000)];
/// Requests to the bare handler.
const FLOOR: (usize, usize) = (32, 60_000);

/// Measures what an exchange costs.
#[derive(Parser)]
struct Arguments {
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
    /// Cargo passes it.
    #[arg(long, global = true, hide = true)]
    bench: bool,
    #[command(subcommand)]
    what: Option<What>,
}

/// What is not part of the usual run.
#[derive(Subcommand)]
enum What {
    /// Exchange on SQLite and on PostgreSQL, with one replica and two; needs the programs of PostgreSQL.
    Stores,
    /// Look at what ten thousand live leases cost in memory.
    Leases,
    /// Verify a million records on both stores; needs the programs of PostgreSQL, 10 GB and minutes.
    Verify,
    /// Exchange beside a target and beside a sink that never answer.
    Neighbours,
    /// Exchange with X.509-SVIDs and with proofs, beside tokens, and while bundles change; needs `tests/run` to have been run.
    Spiffe,
    /// Look at resident memory over 200,000 exchanges.
    Memory,
    /// Count instructions per exchange with 10 and with 10,000 roles; needs valgrind.
    Roles,
    #[command(hide = true)]
    ServeFloor,
    #[command(hide = true)]
    ExchangeLoop { folder: PathBuf },
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    // The load generator keeps to one thread, and leaves the other core to the server.
    let measuring = || tokio::runtime::Builder::new_current_thread().enable_all().build();
    let json = arguments.json;
    match &arguments.what {
        None => show(json, &measuring()?.block_on(usual())?),
        Some(What::Stores) => show(json, &measuring()?.block_on(stores::measure())?),
        Some(What::Leases) => show(json, &measuring()?.block_on(leases::measure())?),
        Some(What::Verify) => show(json, &measuring()?.block_on(verify::measure())?),
        Some(What::Neighbours) => show(json, &measuring()?.block_on(neighbours::measure())?),
        Some(What::Spiffe) => show(json, &measuring()?.block_on(spiffe::measure())?),
        Some(What::Memory) => show(json, &measuring()?.block_on(memory())?),
        Some(What::Roles) => show(json, &measuring()?.block_on(roles())?),
        Some(What::ServeFloor) => tokio::runtime::Runtime::new()?.block_on(floor::serve()),
        Some(What::ExchangeLoop { folder }) => measuring()?.block_on(roles::exchange_loop(folder)),
    }
}

fn show<T: Serialize + Display>(json: bool, found: &T) -> Fallible<()> {
    say(&if json { serde_json::to_string_pretty(found)? } else { found.to_string() });
    Ok(())
}

async fn usual() -> Fallible<Report> {
    let (site, rsa) = (Site::new(10, 5)?, Signer::rsa()?);
    let steps = steps::measure(&site, &rsa, &Signer::ec()?).await?;
    let (connections, count) = FLOOR;
    let request =
        site.tokens(&rsa, 1)?.iter().map(|token| load::request("preview", token)).collect::<Vec<_>>();
    let requests = request.into_iter().cycle().take(count).collect();
    let floor = floor::measure(connections, Arc::new(requests)).await?;
    let mut exchanges = Vec::new();
    for (role, connections, count) in LOADS {
        exchanges.push(exchanges::measure(&site, &rsa, role, connections, count).await?);
    }
    let ready_millis = Some(ready::measure(100, &rsa)?);
    Ok(Report { steps: Some(steps), floor: Some(floor), exchanges, ready_millis, ..Report::default() })
}

async fn memory() -> Fallible<Report> {
    let (site, rsa) = (Site::new(10, 5)?, Signer::rsa()?);
    site.trust(&rsa)?;
    Ok(Report { memory: Some(memory::measure(&site, &rsa).await?), ..Report::default() })
}

async fn roles() -> Fallible<Report> {
    Ok(Report { roles: roles::measure(&Signer::rsa()?).await?, ..Report::default() })
}

#[expect(clippy::print_stdout, reason = "what a benchmark is for")]
fn say(text: &str) {
    println!("{text}");
}
