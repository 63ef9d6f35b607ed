//! `tollgate audit search`: decisions, by who, what, when and how they ended.

use clap::Args;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::lists::{self, Filters, List, Query, WhereArgs, table};
use crate::cli::output::Output;
use crate::domain::{Operation, OutcomeName};

/// Arguments of `audit search`.
#[derive(Debug, Args)]
pub(in crate::cli) struct SearchArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    filters: Filters,
    /// Only decisions about this operation, such as mint or lease.end.
    #[arg(long, value_name = "OPERATION")]
    operation: Option<Operation>,
    /// Only decisions that ended so: allow, `would_allow`, permit or a refusal code.
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<OutcomeName>,
    /// Most entries to print.
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
}

/// Finds and prints.
pub(in crate::cli) async fn run(args: SearchArgs, output: Output) -> Result<(), Failure> {
    let SearchArgs { place, filters, operation, outcome, limit } = args;
    let query = Query { filters, operation, outcome, ..Query::default() };
    let zone = TimeZone::system();
    let mut lister = place.lister()?;
    lists::print(&mut lister, List::Decisions, &query, limit, output, |entry| table::decision(entry, &zone))
        .await
}
