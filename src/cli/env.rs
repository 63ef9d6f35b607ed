//! `tollgate env`: a credential as variables, for where `exec` cannot wrap the command.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};

use super::ask::AskArgs;
use super::client::Granted;
use super::environment::{Variable, dotenv, shell, variables};
use super::failure::{Failure, Status};
use super::output::Output;
use super::possession::JobKey;

/// How the variables are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// `export NAME='value'` lines, for `eval`.
    Shell,
    /// `NAME=value` lines.
    Dotenv,
}

/// Arguments of `env`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  eval \"$(tollgate env deploy/production)\"
  tollgate env deploy/production --file \"$GITHUB_ENV\"

In a CI job the output would end in the log, so this refuses there without --print. The lease is not ended for
you: `tollgate revoke` ends it, and else it dies at its time. Prefer `tollgate exec`.")]
pub(super) struct EnvArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// How to write the variables.
    #[arg(long, value_enum, default_value = "shell")]
    format: Format,
    /// Append NAME=value lines to this file, such as `$GITHUB_ENV`, and print nothing.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["print", "format"])]
    file: Option<PathBuf>,
    /// Print even where the output is a CI log; values are masked first where the platform can.
    #[arg(long)]
    print: bool,
}

/// Exchanges and writes the variables.
pub(super) async fn run(args: EnvArgs, output: Output) -> Result<(), Failure> {
    let in_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
    if in_ci && !args.print && args.file.is_none() {
        return Err(Failure::new(Status::Usage, "this would print a credential into a CI log").with_hint(
            "use `tollgate exec ROLE -- COMMAND`, or --file \"$GITHUB_ENV\"; --print does it all the same",
        ));
    }
    let granted = args.ask.exchange(&args.ask.broker()?, output).await?;
    let key = granted.lease.key.as_deref().map(JobKey::export).transpose()?;
    // Without the mask nothing is printed.
    mask(&granted, key.as_ref())?;
    let mut variables = variables(&granted);
    // Whoever has the credential may end it: `tollgate revoke`.
    let secret = granted.lease.secret.clone();
    variables.push(Variable { name: "TOLLGATE_LEASE_SECRET", value: secret });
    variables.extend(key.map(|value| Variable { name: "TOLLGATE_LEASE_KEY", value }));
    let unwritable = |message: String| Failure::new(Status::Failed, message);
    if let Some(path) = &args.file {
        let text = dotenv(&variables).map_err(unwritable)?;
        return append(path, text.expose_secret().as_bytes());
    }
    let text = match args.format {
        Format::Shell => shell(&variables),
        Format::Dotenv => dotenv(&variables).map_err(unwritable)?,
    };
    Output::raw(text.expose_secret().as_bytes())?;
    Ok(())
}

/// Tells GitHub's runner to mask the values, on standard error so that `eval` does not see it. The runner takes a
/// command only at the start of a line, and the value to its end (GitHub documentation, "Workflow commands"): a colour
/// before or after would print what it should hide.
fn mask(granted: &Granted, key: Option<&SecretString>) -> std::io::Result<()> {
    if std::env::var_os("GITHUB_ACTIONS").is_none() {
        return Ok(());
    }
    let secrets = granted.secrets().into_iter().chain(key.map(ExposeSecret::expose_secret));
    let lines = secrets.map(|secret| {
        let data = secret.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        format!("::add-mask::{data}\n")
    });
    let lines = SecretString::from(lines.collect::<String>());
    Output::raw_note(lines.expose_secret().as_bytes())
}

/// Appends to a file that, if it is new, only its owner can read.
fn append(path: &Path, text: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text))
        .map_err(|error| Failure::new(Status::Failed, format!("{}: {error}", path.display())))
}
