//! `tollgate keys`: what the broker signs with, and what seals it.

mod export;
mod list;
mod revoke;
mod rewrap;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Failure, Status};
use super::output::Output;
use super::reload::ask;
use super::source::SourceArgs;
use crate::app::{AdminAnswer, AdminRequest, KeyReport};
use crate::causes;
use crate::config::Settings;
use crate::ledger::Reader;
use crate::signing::Purpose;

/// Arguments of `keys`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate keys list
  tollgate keys rotate federation
  tollgate keys revoke KID --rotate
  tollgate keys rewrap
  tollgate keys export --out public/

A rotation publishes first and signs an hour later, so that no verifier's cache is behind. A revocation is at once; what
else a stolen key needs is in docs/operations.md.")]
pub(super) struct KeysArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every key with its state, and what it becomes when.
    List,
    /// Publish fresh keys for a purpose; the running broker does it.
    Rotate {
        /// What the keys are for.
        #[arg(value_enum)]
        purpose: PurposeArg,
    },
    /// Revoke one key at once: it leaves the published keys and never signs again; the running broker does it.
    Revoke(revoke::RevokeArgs),
    /// Seal everything in the store by the current key-encryption key; by the running broker, or without one.
    Rewrap,
    /// Write discovery documents and public keys as static files, for serving them from elsewhere.
    Export {
        /// The folder; made if it is not there.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// A purpose, as an argument.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum PurposeArg {
    /// Tokens that only targets see.
    Federation,
    /// Credentials handed out.
    Credentials,
    /// Checkpoints of the audit chain.
    Checkpoints,
}

/// Runs the subcommand.
pub(super) async fn run(args: KeysArgs, output: Output) -> Result<(), Failure> {
    let checked = || args.source.checked().map(|checked| checked.config.settings);
    match args.command {
        Command::List => list::print(&list::stored(&checked()?)?, output),
        Command::Rotate { purpose } => {
            let purpose = match purpose {
                PurposeArg::Federation => Purpose::Federation,
                PurposeArg::Credentials => Purpose::Credentials,
                PurposeArg::Checkpoints => Purpose::Checkpoints,
            };
            let request = AdminRequest::RotateKeys { purpose: purpose.as_str().to_owned() };
            list::print(&keys_after(&args.source.socket()?, &request).await?, output)
        }
        Command::Revoke(args) => revoke::run(&args, &checked()?, output).await,
        Command::Rewrap => rewrap::run(&checked()?, output).await,
        Command::Export { out } => export::run(&checked()?, &out, output),
    }
}

/// The keys as they are after the broker did what `request` asks.
async fn keys_after(socket: &Path, request: &AdminRequest) -> Result<Vec<KeyReport>, Failure> {
    match ask(socket, request).await? {
        AdminAnswer::Keys { keys } => Ok(keys),
        AdminAnswer::Failed { message } => Err(Failure::new(Status::Failed, message)),
        AdminAnswer::Reloaded { .. }
        | AdminAnswer::Problems { .. }
        | AdminAnswer::Rewrapped { .. }
        | AdminAnswer::Block(_) => Err(Failure::new(Status::Failed, "the broker answered something else")),
    }
}

fn reader(settings: &Settings) -> Result<Reader, Failure> {
    Reader::open(&settings.store.place).map_err(|error| failed(&error))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Status::Failed, causes::in_full(error))
}
