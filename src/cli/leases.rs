//! `tollgate leases`: what is alive, whose it is, and ending it.

use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use jiff::tz::TimeZone;

use super::connection::Connection;
use super::failure::Failure;
use super::lists::{self, Filters, List, Query, WhereArgs, table};
use super::output::{Output, Tone};
use crate::domain::LeaseId;
use crate::ledger::LeaseState;

/// Arguments of `leases`.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  tollgate leases --state live --role deploy/production
  tollgate leases --principal github:repository:1234 --since 24h --json
  tollgate leases --state unknown --config config       authorisations without a lease, from the store
  tollgate leases end 019c...

The broker shows what its policies for `lease.list` let this identity see; --config reads the store on its machine."
)]
pub(super) struct LeasesArgs {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: ListArgs,
}

#[derive(Debug, Args)]
struct ListArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    filters: Filters,
    /// Only leases in this state; unknown ones are authorisations that no lease is known of.
    #[arg(long, value_enum)]
    state: Option<State>,
    /// Most entries to print.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum State {
    Live,
    Ended,
    Expired,
    Unknown,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// End a lease of somebody else, as the policies for `lease.end` permit.
    End {
        /// The lease's id.
        lease: LeaseId,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Lists, or ends.
pub(super) async fn run(args: LeasesArgs, output: Output) -> Result<ExitCode, Failure> {
    match args.command {
        Some(Command::End { lease, connection }) => end(lease, &connection, output).await,
        None => list(args.list, output).await.map(|()| ExitCode::SUCCESS),
    }
}

async fn list(args: ListArgs, output: Output) -> Result<(), Failure> {
    let (list, state) = match args.state {
        None => (List::Leases, None),
        Some(State::Live) => (List::Leases, Some(LeaseState::Live)),
        Some(State::Ended) => (List::Leases, Some(LeaseState::Ended)),
        Some(State::Expired) => (List::Leases, Some(LeaseState::Expired)),
        Some(State::Unknown) => (List::Authorisations, None),
    };
    let query = Query { filters: args.filters, state, ..Query::default() };
    let zone = TimeZone::system();
    let mut lister = args.place.lister()?;
    lists::print(&mut lister, list, &query, args.limit, output, |entry| table::lease(entry, &zone)).await
}

/// Exit status 1 if it lives on: whoever scripts this must not take it for dead.
async fn end(lease: LeaseId, connection: &Connection, output: Output) -> Result<ExitCode, Failure> {
    let (broker, token) = (connection.broker(None)?, connection.token().await?);
    let entry = broker.end_of_other(&lease.to_string(), &token).await?;
    let live = entry.get("state").and_then(serde_json::Value::as_str) == Some(LeaseState::Live.as_str());
    if output.is_json() {
        Output::json(&entry)?;
    } else {
        let [first, second] = table::lease(&entry, &TimeZone::system());
        output.toned(if live { Tone::Warn } else { Tone::Good }, &first)?;
        output.toned(Tone::Faint, &second)?;
        if live {
            Output::note(Tone::Warn, "nothing can end it at its target: it works until it dies");
        }
    }
    Ok(if live { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
