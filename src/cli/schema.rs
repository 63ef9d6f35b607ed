//! `tollgate schema`: what a policy sees as `input`, as a JSON Schema for editors and tests.

use clap::Args;

use super::failure::Failure;
use super::output::Output;
use crate::facts::input_schema;

/// Arguments of `schema`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate schema > policy-input.schema.json
  tollgate schema | jq '.\"$defs\".Context.properties | keys'

The schema is generated from the types that the broker fills in, so that it cannot fall behind.")]
pub(super) struct SchemaArgs {}

/// Prints the schema.
pub(super) fn run(_: &SchemaArgs) -> Result<(), Failure> {
    let mut text = serde_json::to_vec_pretty(&input_schema()).map_err(std::io::Error::from)?;
    text.push(b'\n');
    Ok(Output::raw(&text)?)
}
