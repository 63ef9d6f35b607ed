//! `tollgate keys`: what the broker signs with.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::reload::ask;
use super::source::SourceArgs;
use crate::app::{AdminAnswer, AdminRequest, KeyReport, admin_socket, key_reports};
use crate::causes;
use crate::clock::Clock;
use crate::config::Settings;
use crate::ledger::Reader;
use crate::signing::{Keyring, Purpose, Sealer, discovery};

/// Arguments of `keys`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate keys list
  tollgate keys rotate federation
  tollgate keys export --out public/

A rotation publishes first and signs an hour later, so that no verifier's cache is behind.")]
pub(super) struct KeysArgs {
    #[command(flatten)]
    source: SourceArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every key with its state.
    List,
    /// Publish fresh keys for a purpose; the running broker does it.
    Rotate {
        /// What the keys are for.
        #[arg(value_enum)]
        purpose: PurposeArg,
    },
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
    let checked = args.source.checked()?;
    let settings = &checked.config.settings;
    match args.command {
        Command::List => print(&stored(settings)?, output),
        Command::Rotate { purpose } => {
            let purpose = match purpose {
                PurposeArg::Federation => Purpose::Federation,
                PurposeArg::Credentials => Purpose::Credentials,
                PurposeArg::Checkpoints => Purpose::Checkpoints,
            };
            let request = AdminRequest::RotateKeys { purpose: purpose.as_str().to_owned() };
            match ask(&admin_socket(settings), &request).await? {
                AdminAnswer::Keys { keys } => print(&keys, output),
                AdminAnswer::Failed { message } => Err(Failure::new(Status::Failed, message)),
                AdminAnswer::Reloaded { .. } | AdminAnswer::Problems { .. } | AdminAnswer::Block(_) => {
                    Err(Failure::new(Status::Failed, "the broker answered something else"))
                }
            }
        }
        Command::Export { out } => export(settings, &out, output),
    }
}

fn stored(settings: &Settings) -> Result<Vec<KeyReport>, Failure> {
    let records = reader(settings)?.signing_keys().map_err(|error| failed(&error))?;
    Ok(key_reports(&records, Clock::system().now()))
}

fn reader(settings: &Settings) -> Result<Reader, Failure> {
    Reader::open(&settings.store.sqlite).map_err(|error| failed(&error))
}

fn failed(error: &(dyn std::error::Error + 'static)) -> Failure {
    Failure::new(Status::Failed, causes::in_full(error))
}

fn print(keys: &[KeyReport], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(Output::json(&keys)?);
    }
    for key in keys {
        let tone = if key.state == "active" { Tone::Good } else { Tone::Faint };
        let line = format!(
            "{:<12} {:<6} {:<10} from {}  {}",
            key.purpose, key.algorithm, key.state, key.activates_at, key.kid
        );
        output.toned(tone, &line)?;
    }
    Ok(())
}

fn export(settings: &Settings, out: &Path, output: Output) -> Result<(), Failure> {
    let records = reader(settings)?.signing_keys().map_err(|error| failed(&error))?;
    let sealer = Sealer::new(&settings.store.key_encryption_key).map_err(|error| failed(&error))?;
    let keyring = Keyring::open(&records, &sealer, Clock::system().now()).map_err(|error| failed(&error))?;
    let url = &settings.server.url;
    let files = [
        (
            ".well-known/openid-configuration",
            discovery::credentials(url, keyring.algorithms(Purpose::Credentials)),
        ),
        ("jwks", keyring.jwks(Purpose::Credentials).to_string()),
        (
            "federation/.well-known/openid-configuration",
            discovery::federation(url, keyring.algorithms(Purpose::Federation)),
        ),
        ("federation/jwks", keyring.jwks(Purpose::Federation).to_string()),
    ];
    for (name, content) in files {
        let path = out.join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&path, content)?;
        output.line(&path.display().to_string())?;
    }
    Ok(())
}
