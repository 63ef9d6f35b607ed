//! How long `tollgate audit verify` takes for a million records, on both stores: `cargo bench -- verify`.
//!
//! The records are those of whole exchanges, made by the path itself in this process; `tollgate store copy` takes them to
//! PostgreSQL as it would an installation's.

use std::fmt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use serde_json::Value;
use tollgate::broker::{Broker, Outcome};
use tollgate::identity::Evidence;

use crate::postgres::Postgres;
use crate::signer::Signer;
use crate::site::{Site, start};
use crate::{Fallible, mb, process, steps};

/// Exchanges, each of two records.
const EXCHANGES: usize = 500_000;
/// Exchanges that are under way at once, for large batches.
const AT_ONCE: usize = 200;
/// Tokens made at once.
const CHUNK: usize = 10_000;
/// Pause between two looks at the memory of a command.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Longest that each may take.
const TARGET: Duration = Duration::from_mins(1);

/// What was found.
#[derive(Serialize)]
pub(crate) struct Verified {
    /// Seconds to make the records, and to copy and verify them once on the way to PostgreSQL.
    making: f64,
    copying: f64,
    stores: Vec<Took>,
    target: f64,
}

/// One store's verification.
#[derive(Serialize)]
struct Took {
    name: &'static str,
    records: u64,
    seconds: f64,
    /// Resident bytes of the command at its highest.
    peak: u64,
}

/// Makes the records, copies them, and verifies both.
pub(crate) async fn measure() -> Fallible<Verified> {
    let (site, signer) = (Site::new(10, 5)?, Signer::ec()?);
    site.trust(&signer)?;
    let began = Instant::now();
    fill(&site, &signer).await?;
    let making = began.elapsed().as_secs_f64();
    let sqlite = verify("SQLite", &site)?;

    let server = Postgres::start();
    let url = server.url(&server.database());
    let began = Instant::now();
    let mut copy = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    copy.args(["--json", "store", "copy", "--from"]);
    copy.arg(format!("sqlite:{}", site.path("ledger.db").display())).arg("--to").arg(&url);
    run(&mut copy)?;
    let copying = began.elapsed().as_secs_f64();
    site.keep_in(&url)?;
    let postgres = verify("PostgreSQL", &site)?;
    Ok(Verified { making, copying, stores: vec![sqlite, postgres], target: TARGET.as_secs_f64() })
}

async fn fill(site: &Site, signer: &Signer) -> Fallible<()> {
    let app = start(&site.config()).await?;
    for _ in 0..EXCHANGES / CHUNK {
        let mut tokens = site.tokens(signer, CHUNK)?.into_iter();
        let mut under_way: FuturesUnordered<_> =
            tokens.by_ref().take(AT_ONCE).map(|token| exchange(app.broker(), token)).collect();
        while let Some(done) = under_way.next().await {
            done?;
            under_way.extend(tokens.next().map(|token| exchange(app.broker(), token)));
        }
    }
    app.stop().await;
    Ok(())
}

async fn exchange(broker: &Arc<Broker>, token: String) -> Fallible<()> {
    match broker.exchange(Evidence::from(token), steps::ask()?).await {
        Ok(Outcome::Leased(_)) => Ok(()),
        Ok(Outcome::WouldAllow(_)) => Err("not asked for a dry run".into()),
        Err(denied) => Err(denied.refusal.message.into()),
    }
}

fn verify(name: &'static str, site: &Site) -> Fallible<Took> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["--json", "audit", "verify", "--config"]).arg(site.config());
    let began = Instant::now();
    let (report, peak) = run(&mut command)?;
    let seconds = began.elapsed().as_secs_f64();
    if report.get("intact") != Some(&Value::Bool(true)) {
        return Err(format!("{name}: not whole: {report}").into());
    }
    let records = report.get("records").and_then(Value::as_u64).ok_or("no number of records")?;
    Ok(Took { name, records, seconds, peak })
}

/// What the command prints, and its resident bytes at their highest.
fn run(command: &mut Command) -> Fallible<(Value, u64)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        peak = process::peak(child.id()).unwrap_or(peak);
        std::thread::sleep(LOOK_EVERY);
    }
    let output = child.wait_with_output()?;
    if output.status.success() {
        return Ok((serde_json::from_slice(&output.stdout)?, peak));
    }
    let said = [output.stdout, output.stderr].concat();
    Err(String::from_utf8_lossy(&said).into_owned().into())
}

impl fmt::Display for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { making, copying, stores, target } = self;
        writeln!(f, "made in {making:.0} s, copied and verified to PostgreSQL in {copying:.0} s")?;
        for Took { name, records, seconds, peak } in stores {
            #[expect(clippy::cast_precision_loss, reason = "shown as a whole number")]
            let per_second = *records as f64 / seconds;
            writeln!(
                f,
                "{name:<10} {records} records verified in {seconds:.1} s (aim: {target:.0} s): {per_second:.0}/s, \
                 at most {} resident",
                mb(*peak)
            )?;
        }
        Ok(())
    }
}
