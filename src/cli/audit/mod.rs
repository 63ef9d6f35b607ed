//! `tollgate audit`: what was decided and done, and proof that the record of it is whole.

mod follow;
mod prune;
mod search;
pub(super) mod verify;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::failure::Failure;
use super::output::Output;

/// Arguments of `audit`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate audit verify
  tollgate audit verify --checkpoint /mnt/worm/checkpoint.jws
  tollgate audit verify --store copy-of-ledger.db --json
  tollgate audit prune --dry-run --retention 90d
  tollgate audit search --outcome policy_denied --since 24h
  tollgate audit search --principal github:repository:1234 --config config
  tollgate audit tail
  tollgate audit export --since 2026-03-01T00:00:00Z > march.jsonl

A checkpoint that was kept elsewhere proves that nothing before it was cut off or rolled back; without one the end
of the record cannot be proved, and the answer says from when.")]
pub(super) struct AuditArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recompute every hash and signature of the record.
    Verify(verify::VerifyArgs),
    /// Say what retention would prune now, and what holds the rest.
    Prune(prune::PruneArgs),
    /// Find decisions, newest first.
    Search(search::SearchArgs),
    /// Follow the audit chain as it grows.
    Tail(follow::TailArgs),
    /// Write the audit chain as JSON lines, oldest first.
    Export(follow::ExportArgs),
}

/// Runs the command; exit status 1 if verification finds anything.
pub(super) async fn run(args: AuditArgs, output: Output) -> Result<ExitCode, Failure> {
    match args.command {
        Command::Verify(args) => return verify::run(args, output).await,
        Command::Prune(args) => prune::run(args, output).await?,
        Command::Search(args) => search::run(args, output).await?,
        Command::Tail(args) => follow::tail(args, output).await?,
        Command::Export(args) => follow::export(args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
