//! `tollgate completions`: shell completion scripts.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use super::Cli;
use super::failure::Failure;
use super::output::Output;

/// Arguments of `completions`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tollgate completions bash > /etc/bash_completion.d/tollgate")]
pub(super) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
pub(super) fn run(args: &CompletionsArgs) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tollgate", &mut script);
    Ok(Output::raw(&script)?)
}
