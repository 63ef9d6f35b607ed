//! `tollgate keys rewrap`: everything sealed by the current key-encryption key.

use crate::app::{AdminAnswer, AdminRequest, admin_socket, rewrap_offline};
use crate::cli::failure::{Failure, Status};
use crate::cli::output::{Output, Tone};
use crate::cli::reload::ask;
use crate::cli::source::failure_of;
use crate::config::Settings;
use crate::ledger::Rewrapped;

/// Has the running broker do it; without one, opens the store itself.
pub(super) async fn run(settings: &Settings, output: Output) -> Result<(), Failure> {
    let rewrapped = match ask(&admin_socket(settings), &AdminRequest::RewrapKeys).await {
        Ok(AdminAnswer::Rewrapped { rewrapped }) => rewrapped,
        Ok(AdminAnswer::Failed { message }) => return Err(Failure::new(Status::Failed, message)),
        Ok(
            AdminAnswer::Keys { .. }
            | AdminAnswer::Reloaded { .. }
            | AdminAnswer::Problems { .. }
            | AdminAnswer::Block(_),
        ) => {
            return Err(Failure::new(Status::Failed, "the broker answered something else"));
        }
        Err(failure) if failure.status == Status::Unavailable => {
            rewrap_offline(settings).await.map_err(|error| failure_of(&error))?
        }
        Err(failure) => return Err(failure),
    };
    print(&rewrapped, output)
}

fn print(rewrapped: &Rewrapped, output: Output) -> Result<(), Failure> {
    if output.is_json() {
        return Ok(Output::json(rewrapped)?);
    }
    let Rewrapped { sealed_by, signing_keys, issuer_keys, unopened, handles } = rewrapped;
    let done = format!("sealed by key {sealed_by}: {signing_keys} signing key(s), {issuer_keys} issuer(s)");
    output.toned(Tone::Good, &done)?;
    if *unopened > 0 {
        let line = format!("{unopened} issuer(s) with keys that do not open; they are fetched when needed");
        output.toned(Tone::Warn, &line)?;
    }
    match handles.until {
        Some(until) => {
            let line = format!(
                "{} handle(s) of living credentials need the former key: keep it in \
                 store.previous_key_encryption_keys until {until:.0}, and \
                 run this again then: a lease that is renewed needs it longer",
                handles.count
            );
            Ok(output.toned(Tone::Warn, &line)?)
        }
        None => Ok(output.line("nothing needs a former key: store.previous_key_encryption_keys can go")?),
    }
}
