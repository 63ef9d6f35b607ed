//! `tollgate audit verify`: proof that the record is whole.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use crate::causes;
use crate::cli::failure::{Failure, Status};
use crate::cli::output::{Output, Tone};
use crate::cli::source::SourceArgs;
use crate::config::StorePlace;
use crate::ledger::{Reader, Report};

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The SQLite file to read; the configuration's store unless given.
    #[arg(long, value_name = "FILE")]
    store: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere, or the events that `audit.file` or a sink wrote, with all in them.
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
}

/// Verifies and prints; exit status 1 if anything is broken.
pub(in crate::cli) async fn run(args: VerifyArgs, output: Output) -> Result<ExitCode, Failure> {
    let VerifyArgs { source, store, checkpoint } = args;
    let store = match store {
        Some(file) => StorePlace::Sqlite(file),
        None => source.checked()?.config.settings.store.place,
    };
    let mut kept = checkpoint.map(|file| open(&file)).transpose()?;
    let verifying = tokio::task::spawn_blocking(move || {
        let reader = Reader::open(&store)?;
        reader.verify(kept.as_mut().map(|file| file as &mut dyn BufRead))
    });
    let report = verifying
        .await
        .map_err(|error| Failure::new(Status::Failed, error.to_string()))?
        .map_err(|error| Failure::new(Status::Failed, causes::in_full(&error)))?;
    if output.is_json() {
        Output::json(&report_json(&report))?;
    } else {
        print_report(&report, output)?;
    }
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn open(file: &Path) -> Result<BufReader<File>, Failure> {
    File::open(file)
        .map(BufReader::new)
        .map_err(|error| Failure::new(Status::Failed, format!("{}: {error}", file.display())))
}

/// A report with the answer to the one question first.
pub(in crate::cli) fn report_json(report: &Report) -> Value {
    let mut all = serde_json::to_value(report).unwrap_or_default();
    if let Some(members) = all.as_object_mut() {
        members.insert("intact".into(), json!(report.is_sound()));
    }
    all
}

/// Prints what verification found, for people.
pub(in crate::cli) fn print_report(report: &Report, output: Output) -> Result<(), Failure> {
    for finding in &report.findings {
        output.toned(Tone::Bad, &finding.to_string())?;
    }
    let read = format!(
        "{} record(s) of {} writer(s), {} checkpoint(s)",
        report.records, report.writers, report.checkpoints
    );
    if report.pruned > 0 {
        output
            .line(&format!("{} record(s) before them were pruned, each chain under a seal", report.pruned))?;
    }
    if report.is_sound() {
        output.toned(Tone::Good, &format!("whole: {read}"))?;
    } else {
        output.toned(Tone::Bad, &format!("broken in {} place(s): {read}", report.found))?;
    }
    if !report.proven.as_ref().is_some_and(|proven| proven.kept_elsewhere) {
        let trusted = "by checkpoints and keys of this store itself, which whoever can write it can make anew: \
                       prove it with --checkpoint and one that was kept elsewhere";
        output.toned(Tone::Warn, trusted)?;
    }
    if let Some(since) = report.unproven_since {
        output.toned(Tone::Warn, &format!("the end of the record cannot be proved from {since} on"))?;
    }
    Ok(())
}
