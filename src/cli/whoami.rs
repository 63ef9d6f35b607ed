//! `tollgate whoami`: what the broker sees in the job's token, and in the runner's.

use clap::Args;
use serde_json::Value;

use super::connection::{ActorArgs, Connection};
use super::failure::Failure;
use super::output::{Output, Tone};

/// Arguments of `whoami`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate whoami --url https://tollgate.example
  tollgate whoami --token-from file:/var/run/secrets/tollgate/token --json
  tollgate whoami --token-from workload-api --server-id spiffe://acme.example/tollgate")]
pub(super) struct WhoamiArgs {
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    actor: ActorArgs,
}

/// Asks and prints.
pub(super) async fn run(args: WhoamiArgs, output: Output) -> Result<(), Failure> {
    let broker = args.connection.broker(Some(&args.actor))?;
    let seen = broker.whoami(&args.connection.shown(&args.actor).await?).await?;
    if output.is_json() {
        return Ok(Output::json(&seen)?);
    }
    print_members(&seen, output, 0)
}

/// Prints a JSON object as aligned `name  value` lines; what is nested is indented below its name.
pub(super) fn print_members(value: &Value, output: Output, depth: usize) -> Result<(), Failure> {
    let Some(members) = value.as_object() else { return Ok(()) };
    let width = members.keys().map(String::len).max().unwrap_or(0);
    let indent = "  ".repeat(depth);
    for (name, value) in members {
        match value {
            Value::Object(_) => {
                output.toned(Tone::Strong, &format!("{indent}{name}"))?;
                print_members(value, output, depth + 1)?;
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                output.toned(Tone::Strong, &format!("{indent}{name}"))?;
                for item in items {
                    output.line(&format!("{indent}  {}", inline(item)))?;
                }
            }
            other => output.line(&format!("{indent}{name:width$}  {}", inline(other)))?,
        }
    }
    Ok(())
}

/// A value on one line, without JSON's quotes.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(inline).collect::<Vec<_>>().join(", "),
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("{name} {}", inline(value));
            members.iter().map(member).collect::<Vec<_>>().join("; ")
        }
        other => other.to_string(),
    }
}
