//! `tollgate explain`: a decision, for the one it was made about and for the security team.

use clap::Args;

use super::failure::{Failure, Status};
use super::output::Output;
use super::remote::RemoteArgs;
use super::source::SourceArgs;
use super::whoami::print_members;
use crate::causes;
use crate::domain::{Code, DecisionId};
use crate::ledger::Reader;

/// Arguments of `explain`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate explain 019c...                      all of it, from the broker's store, on its machine
  tollgate explain 019c... --remote             what the broker tells this identity about it

The store's answer holds every fact, its origin, and what each package said. The broker's holds what the
configuration lets callers see of their own decisions; and all of any, if policy permits `decision.read`.")]
pub(super) struct ExplainArgs {
    /// The decision's id.
    decision: DecisionId,
    /// Ask the broker with this job's token, instead of reading the store.
    #[arg(long)]
    remote: bool,
    #[command(flatten)]
    connection: RemoteArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Finds the record and prints it.
pub(super) async fn run(args: ExplainArgs, output: Output) -> Result<(), Failure> {
    let record = if args.remote {
        let connection = args.connection.connection("--remote needs --url or TOLLGATE_URL")?;
        let (broker, token) = (connection.broker(None)?, connection.token().await?);
        let path = format!("v1/decisions/{}", args.decision);
        broker.get(&path, &token).await?
    } else {
        from_store(&args.source, args.decision)?
    };
    if output.is_json() {
        return Ok(Output::json(&record)?);
    }
    print_members(&record, output, 0)
}

fn from_store(source: &SourceArgs, decision: DecisionId) -> Result<serde_json::Value, Failure> {
    let failed =
        |error: &(dyn std::error::Error + 'static)| Failure::new(Status::Failed, causes::in_full(error));
    let store = source.checked()?.config.settings.store.place;
    let reader = Reader::open(&store).map_err(|error| failed(&error))?;
    let record = reader.decision(decision).map_err(|error| failed(&error))?;
    let Some(record) = record else {
        let message = if reader.is_pruned(decision).map_err(|error| failed(&error))? {
            let code = Code::DecisionPruned;
            format!("{code}: {}; {}", code.explain().cause, code.explain().fix)
        } else {
            format!("there is no decision {decision} in {store}")
        };
        return Err(Failure::new(Status::Failed, message));
    };
    serde_json::to_value(&record).map_err(|error| failed(&error))
}
