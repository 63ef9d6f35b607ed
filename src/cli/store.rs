//! `tollgate store`: the ledger itself, while no broker uses it.

use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Args, Subcommand};
use secrecy::SecretString;
use serde_json::json;

use super::audit::verify::{print_report, report_json};
use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use crate::causes;
use crate::config::PostgresPlace;
use crate::ledger::{LedgerError, copy_store};

/// Arguments of `store`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate store copy --from sqlite:/var/lib/tollgate/tollgate.sqlite \\
    --to postgres://tollgate@db.example/tollgate --password-file db-password --ca db-ca.pem

Stop the broker first. The database must be empty; the copy is verified, and the file stays as it is. Keep the same
key_encryption_key: it opens what is sealed in the copy too.")]
pub(super) struct StoreArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a ledger from a file into an empty database.
    Copy {
        /// The file, as sqlite:PATH.
        #[arg(long, value_name = "sqlite:PATH")]
        from: SqliteFile,
        /// The database, by the URL that the configuration takes.
        #[arg(long, value_name = "postgres:URL", value_parser = database)]
        to: PostgresPlace,
        /// A file with the database's password.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// PEM file of the authority that signed the database's certificate.
        #[arg(long, value_name = "FILE")]
        ca: Option<PathBuf>,
    },
}

/// A file, as an argument.
#[derive(Debug, Clone)]
struct SqliteFile(PathBuf);

impl FromStr for SqliteFile {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = text.strip_prefix("sqlite:").filter(|path| !path.is_empty());
        path.map(|path| Self(path.into())).ok_or("write sqlite:PATH")
    }
}

/// Reads `postgres://…`, also after a prefix of its own.
fn database(text: &str) -> Result<PostgresPlace, String> {
    let url = text.strip_prefix("postgres:").filter(|rest| rest.starts_with("postgres")).unwrap_or(text);
    PostgresPlace::from_url(url).map_err(|error| error.to_string())
}

/// Copies, verifies, and says so; exit status 1 if the copy is not whole.
pub(super) async fn run(args: StoreArgs, output: Output) -> Result<ExitCode, Failure> {
    let Command::Copy { from: SqliteFile(from), mut to, password_file, ca } = args.command;
    if let Some(file) = password_file {
        let text = std::fs::read_to_string(file)?;
        to.password = Some(SecretString::from(text.trim_end_matches(['\r', '\n'])));
    }
    to.ca = ca;
    let name = to.to_string();
    let copying = tokio::task::spawn_blocking(move || copy_store(&from, &to));
    let copied = copying.await.map_err(|error| Failure::new(Status::Failed, error.to_string()))?;
    let copied = copied.map_err(|error| failed(&error))?;
    if output.is_json() {
        Output::json(&json!({ "rows": copied.rows, "verified": report_json(&copied.report) }))?;
    } else {
        output.line(&format!("{} row(s) copied to {name}; the copy, verified:", copied.rows))?;
        print_report(&copied.report, output)?;
        if copied.report.is_sound() {
            let next =
                "next: write [store] postgres = { url = … } and [server] admin_socket, and start the broker";
            output.toned(Tone::Faint, next)?;
        }
    }
    Ok(if copied.report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn failed(error: &LedgerError) -> Failure {
    let status = match error {
        LedgerError::InUse(_)
        | LedgerError::NotEmpty(_)
        | LedgerError::NoStore(_)
        | LedgerError::Foreign(_) => Status::Usage,
        _ => Status::Failed,
    };
    Failure::new(status, causes::in_full(error))
}
