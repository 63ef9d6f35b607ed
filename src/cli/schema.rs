//! `tollgate schema`: what a policy sees as `input`, as a JSON Schema for editors and tests.

use clap::Args;

use super::failure::Failure;
use super::output::Output;
use crate::facts::{input_schema, operation_schema};

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate schema > policy-input.schema.json
  tollgate schema --operations > operation-input.schema.json
  tollgate schema | jq '.\"$defs\".Context.properties | keys'

The schema is generated from the types that the broker fills in, so that it cannot fall behind.")]
pub(super) struct SchemaArgs {
    /// What the packages of `[operations]` see, instead of those of roles.
    #[arg(long)]
    operations: bool,
}

/// Prints the schema.
pub(super) fn run(args: &SchemaArgs) -> Result<(), Failure> {
    let schema = if args.operations { operation_schema() } else { input_schema() };
    let mut text = serde_json::to_vec_pretty(&schema).map_err(std::io::Error::from)?;
    text.push(b'\n');
    Ok(Output::raw(&text)?)
}
