//! `tollgate audit prune --dry-run`: what retention would prune now, and what holds the rest.

use std::path::PathBuf;

use clap::Args;

use crate::causes;
use crate::cli::failure::{Failure, Status};
use crate::cli::output::{Output, Tone};
use crate::cli::source::SourceArgs;
use crate::clock::Clock;
use crate::config::{Retention, StorePlace};
use crate::ledger::{ChainForecast, Held, LedgerError, Reader};

/// Arguments of `audit prune`.
#[derive(Debug, Args)]
pub(in crate::cli) struct PruneArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// Only say what would go: a running broker prunes by itself.
    #[arg(long)]
    dry_run: bool,
    /// Another retention than the configuration's, such as 400d.
    #[arg(long, value_name = "DAYS")]
    retention: Option<Retention>,
    /// The SQLite file to read; the configuration's store unless given.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
}

/// Looks and prints; changes nothing.
pub(in crate::cli) async fn run(args: PruneArgs, output: Output) -> Result<(), Failure> {
    let PruneArgs { source, dry_run, retention, store } = args;
    if !dry_run {
        let message = "a running broker prunes by itself, as [audit] retention says";
        return Err(Failure::new(Status::Usage, message)
            .with_hint("--dry-run says what would go now, and what holds the rest"));
    }
    let settings = source.checked()?.config.settings;
    let Some(retention) = retention.or(settings.audit.retention) else {
        let message = "nothing is ever pruned: [audit] retention is not set";
        return Err(Failure::new(Status::Usage, message)
            .with_hint("--retention 400d says what would go if it were set so"));
    };
    let sinks: Vec<String> = settings.audit.sinks.keys().cloned().collect();
    let place = store.map_or(settings.store.place, StorePlace::Sqlite);
    let opening = tokio::task::spawn_blocking(move || Reader::open(&place)).await;
    let reader = opening
        .map_err(|error| Failure::new(Status::Failed, error.to_string()))?
        .map_err(|error| failed(&error))?;
    let forecast = reader.forecast(retention, &sinks, Clock::system().now()).await;
    let forecast = forecast.map_err(|error| failed(&error))?;
    if output.is_json() {
        return Ok(Output::json(&forecast)?);
    }
    for chain in &forecast.chains {
        print(chain, output)?;
    }
    let total = format!("{} record(s) of {} writer(s) would go now", forecast.records, forecast.chains.len());
    Ok(output.toned(Tone::Strong, &total)?)
}

fn print(chain: &ChainForecast, output: Output) -> Result<(), Failure> {
    let ChainForecast { writer, first, newest, records, last, until, held } = chain;
    let (tone, goes) = match (last, until) {
        (Some(last), Some(until)) => {
            (Tone::Good, format!("{records} record(s) would go, from {first} to {last}, which is of {until}"))
        }
        _ => (Tone::Faint, "nothing would go".to_owned()),
    };
    output.toned(tone, &format!("writer {writer}: {goes}"))?;
    let next = last.map_or(*first, |last| last + 1);
    if held.is_empty() {
        output.line(&format!("  from record {next} on it was not looked at: there is more"))?;
    }
    for why in held {
        let tone = if *why == Held::Broken { Tone::Bad } else { Tone::Faint };
        output.toned(tone, &format!("  records {next} to {newest} stay: {why}"))?;
    }
    Ok(())
}

fn failed(error: &LedgerError) -> Failure {
    Failure::new(Status::Failed, causes::in_full(error))
}
