//! `tollgate audit tail` and `tollgate audit export`: the chain itself, record by record.

use std::time::{Duration, Instant};

use clap::Args;
use jiff::tz::TimeZone;

use crate::cli::failure::Failure;
use crate::cli::lists::{Filters, Query, WhereArgs, Within, table};
use crate::cli::output::{Output, Tone};

/// Least time between two looks for what is new: a broker waits for it by itself, a store does not.
const PAUSE: Duration = Duration::from_secs(2);

/// Arguments of `audit tail`.
#[derive(Debug, Args)]
pub(in crate::cli) struct TailArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    within: Within,
}

/// Arguments of `audit export`.
#[derive(Debug, Args)]
pub(in crate::cli) struct ExportArgs {
    #[command(flatten)]
    place: WhereArgs,
    #[command(flatten)]
    within: Within,
}

fn query(within: Within, from_now: bool) -> Query {
    let from_now = from_now && within.since.is_none();
    Query { filters: Filters { within, ..Filters::default() }, from_now, ..Query::default() }
}

/// Prints what is recorded from now on, or from `--since`, until it is stopped.
pub(in crate::cli) async fn tail(args: TailArgs, output: Output) -> Result<(), Failure> {
    let query = Query { waits: true, ..query(args.within, true) };
    let (zone, mut lister, mut place) = (TimeZone::system(), args.place.lister()?, None);
    loop {
        let asked = Instant::now();
        let page = lister.audit(&query, place.as_ref()).await?;
        for entry in &page.entries {
            if output.is_json() {
                Output::json(entry)?;
            } else {
                let [first, second] = table::record(entry, &zone);
                output.line(&first)?;
                output.toned(Tone::Faint, &second)?;
            }
        }
        place = page.next;
        if !page.more {
            tokio::time::sleep(PAUSE.saturating_sub(asked.elapsed())).await;
        }
    }
}

/// Writes all that there is, as JSON lines.
pub(in crate::cli) async fn export(args: ExportArgs) -> Result<(), Failure> {
    let query = query(args.within, false);
    let (mut lister, mut place) = (args.place.lister()?, None);
    loop {
        let page = lister.audit(&query, place.as_ref()).await?;
        for entry in &page.entries {
            Output::json(entry)?;
        }
        place = page.next;
        if !page.more {
            return Ok(());
        }
    }
}
