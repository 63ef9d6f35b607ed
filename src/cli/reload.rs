//! `tollgate reload`: a running broker reads its configuration again, and says what came of it.

use std::io::ErrorKind;
use std::path::Path;

use clap::Args;

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::source::SourceArgs;
use crate::app::{AdminAnswer, AdminRequest, call_admin};

/// Arguments of `reload`.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  tollgate reload --config /etc/tollgate/config

Runs as the broker's own user, on its machine. If anything is wrong the last good configuration stays in force:
exit status 64.")]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    source: SourceArgs,
}

/// Asks the broker and prints its answer.
pub(super) async fn run(args: &ReloadArgs, output: Output) -> Result<(), Failure> {
    // Checked here first: the socket's path stands in the configuration, and the messages are the better ones.
    let socket = args.source.socket()?;
    let answer = ask(&socket, &AdminRequest::Reload).await?;
    match &answer {
        AdminAnswer::Reloaded { .. } if output.is_json() => Ok(Output::json(&answer)?),
        AdminAnswer::Reloaded { revision } => {
            Ok(output.toned(Tone::Good, &format!("in force: revision {revision}"))?)
        }
        AdminAnswer::Problems { problems } => Err(Failure::new(Status::Usage, problems.join("\n"))
            .with_hint("the last good configuration stays in force")),
        AdminAnswer::Failed { message } => Err(Failure::new(Status::Failed, message.clone())),
        AdminAnswer::Keys { .. } | AdminAnswer::Rewrapped { .. } | AdminAnswer::Block(_) => {
            Err(Failure::new(Status::Failed, "the broker answered something else"))
        }
    }
}

/// Calls the broker behind `socket`.
pub(super) async fn ask(socket: &Path, request: &AdminRequest) -> Result<AdminAnswer, Failure> {
    call_admin(socket, request).await.map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => {
            Failure::new(Status::Unavailable, format!("no broker runs behind {}", socket.display()))
                .with_hint("start it with `tollgate serve`, or say --config")
        }
        _ => Failure::new(Status::Failed, format!("{}: {error}", socket.display())),
    })
}
