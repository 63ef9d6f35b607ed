//! `tollgate keys list`.

use super::{failed, reader};
use crate::app::{KeyReport, key_reports};
use crate::cli::failure::Failure;
use crate::cli::output::{Output, Tone};
use crate::clock::Clock;
use crate::config::Settings;

/// The keys in the store, whether a broker runs or not.
pub(super) fn stored(settings: &Settings) -> Result<Vec<KeyReport>, Failure> {
    let records = reader(settings)?.stored_keys().map_err(|error| failed(&error))?;
    Ok(key_reports(&records, Clock::system().now()))
}

/// Prints them.
pub(super) fn print(keys: &[KeyReport], output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(Output::json(&keys)?);
    }
    for key in keys {
        let tone = if key.state == "active" { Tone::Good } else { Tone::Faint };
        output.toned(tone, &line(key))?;
    }
    Ok(())
}

/// One key, on one line.
pub(super) fn line(key: &KeyReport) -> String {
    let since = format!("signs from {:.0}", key.activates_at);
    let then = key.next.as_ref().map(|next| format!(", {} at {:.0}", next.state, next.at));
    let KeyReport { purpose, algorithm, place, state, kid, .. } = key;
    format!("{kid}  {purpose:<11} {algorithm} {place:<5} {state:<9} {since}{}", then.unwrap_or_default())
}
