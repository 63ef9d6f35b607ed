//! The command line: one file per command.

mod agent;
mod ask;
mod audit;
mod block;
mod check;
mod client;
mod completions;
mod connection;
mod demo;
mod env;
mod environment;
mod exec;
mod explain;
mod failure;
mod keeper;
mod keys;
mod leases;
mod lists;
mod output;
mod possession;
mod proof;
mod reload;
mod remote;
mod revoke;
mod schema;
mod serve;
mod source;
mod store;
mod token;
mod whoami;
mod workload;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use failure::{Failure, Status};
use output::{Output, Tone};

/// A broker of short-lived credentials: proves who asks, lets policy decide, mints only what was granted.
#[derive(Debug, Parser)]
#[command(
    name = "tollgate",
    version,
    arg_required_else_help = true,
    after_help = "Examples:
  tollgate demo                                          the whole path in one process, to look at
  tollgate exec deploy/production -- ./deploy.sh         a CI job's command with a credential
  tollgate check --config config                         every problem of a configuration at once
  tollgate serve --config config                         the broker

Exit status: 0 done; 1 failed; 64 wrong arguments or configuration; 69 not reachable; 77 denied."
)]
pub struct Cli {
    /// Print one JSON value per result and nothing else.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a command with a credential in its environment.
    Exec(exec::ExecArgs),
    /// Print or write a credential as environment variables.
    Env(env::EnvArgs),
    /// End a lease, by its secret.
    Revoke(revoke::RevokeArgs),
    /// Show what the broker sees in this job's token.
    Whoami(whoami::WhoamiArgs),
    /// Show a decision: who asked, what policy saw, what each package said.
    Explain(explain::ExplainArgs),
    /// Run the whole path in one process, with the shipped configuration.
    Demo(demo::DemoArgs),
    /// Run the broker.
    Serve(serve::ServeArgs),
    /// Load a configuration, compile and lint its policies, and print every problem.
    Check(check::CheckArgs),
    /// Make a running broker read its configuration again.
    Reload(reload::ReloadArgs),
    /// Stop issuing to somebody or something, end what lives, and see what is left.
    Block(block::BlockArgs),
    /// List, rotate and export the signing keys.
    Keys(keys::KeysArgs),
    /// List leases, and end those of others.
    Leases(leases::LeasesArgs),
    /// Search, follow, export and verify the record.
    Audit(audit::AuditArgs),
    /// Copy the ledger from a file into a database.
    Store(store::StoreArgs),
    /// Print the JSON Schema of what policies see as `input`.
    Schema(schema::SchemaArgs),
    /// Print a shell completion script.
    Completions(completions::CompletionsArgs),
}

/// Parses the arguments, runs the command, and gives the exit status.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(refused) => {
            // Help and version are not errors; wrong arguments have the status that scripts expect.
            let _ = refused.print();
            return if refused.use_stderr() {
                ExitCode::from(Status::Usage as u8)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let output = Output::new(cli.json);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(worker_threads()).enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(cli.command, output)),
        Err(error) => Err(error.into()),
    };
    ended.unwrap_or_else(|failure| {
        Output::note(Tone::Bad, &format!("tollgate: {}", failure.message));
        if let Some(hint) = &failure.hint {
            Output::note(Tone::Faint, hint);
        }
        failure.exit_code()
    })
}

/// One for each processor but one: that one is for the ledger's writer, which is a thread of its own.
fn worker_threads() -> usize {
    std::thread::available_parallelism().map_or(1, |processors| processors.get().saturating_sub(1).max(1))
}

async fn run(command: Command, output: Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Exec(args) => return exec::run(args, output).await,
        Command::Env(args) => env::run(args, output).await?,
        Command::Revoke(args) => revoke::run(args, output).await?,
        Command::Whoami(args) => whoami::run(args, output).await?,
        Command::Explain(args) => explain::run(args, output).await?,
        Command::Demo(args) => return demo::run(args, output).await,
        Command::Serve(args) => serve::run(args, output).await?,
        Command::Check(args) => check::run(&args, output)?,
        Command::Reload(args) => reload::run(&args, output).await?,
        Command::Block(args) => block::run(args, output).await?,
        Command::Keys(args) => keys::run(args, output).await?,
        Command::Leases(args) => return leases::run(args, output).await,
        Command::Audit(args) => return audit::run(args, output).await,
        Command::Store(args) => return store::run(args, output).await,
        Command::Schema(args) => schema::run(&args)?,
        Command::Completions(args) => completions::run(&args)?,
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_arguments_are_consistent() {
        Cli::command().debug_assert();
    }
}
