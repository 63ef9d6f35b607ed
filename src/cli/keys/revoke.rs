//! `tollgate keys revoke`: says what it does and what it cannot do, asks, and names the next step.

use std::io::{self, BufRead, IsTerminal};

use clap::Args;

use super::{keys_after, list};
use crate::app::{AdminRequest, KeyReport, admin_socket};
use crate::cli::failure::{Failure, Status};
use crate::cli::output::{Output, Tone};
use crate::config::Settings;

/// Arguments of `keys revoke`.
#[derive(Debug, Args)]
pub(super) struct RevokeArgs {
    /// The key's id, as `keys list` shows it.
    #[arg(value_name = "KID", allow_hyphen_values = true)]
    kid: String,
    /// If it is the key that signs: have another one sign at once.
    #[arg(long)]
    rotate: bool,
    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

/// Asks, revokes, and says what comes next.
pub(super) async fn run(args: &RevokeArgs, settings: &Settings, output: Output) -> Result<(), Failure> {
    let keys = list::stored(settings)?;
    let key = keys.iter().find(|key| key.kid == args.kid).ok_or_else(|| {
        Failure::new(Status::Failed, format!("there is no key {}", args.kid))
            .with_hint("see: tollgate keys list")
    })?;
    if key.state == "active" && !args.rotate {
        let message = format!("{} is the key that signs for {}: nothing was changed", key.kid, key.purpose);
        let hint = "add --rotate to have another key sign from that moment on";
        return Err(Failure::new(Status::Failed, message).with_hint(hint));
    }
    Output::note(Tone::Strong, &list::line(key));
    Output::note(Tone::Warn, &consequence(key));
    if !args.yes {
        confirm()?;
    }
    let request = AdminRequest::RevokeKey { kid: args.kid.clone(), rotate: args.rotate };
    list::print(&keys_after(&admin_socket(settings), &request).await?, output)?;
    Output::note(Tone::Strong, next_step(&key.purpose));
    Ok(())
}

/// What happens, and what does not.
fn consequence(key: &KeyReport) -> String {
    let signs = if key.state == "active" {
        " With --rotate another key signs from this moment on, and verifiers that cache do not know it: until they \
         fetch the keys again they refuse genuine tokens."
    } else {
        ""
    };
    format!(
        "It leaves the published keys at once, never signs again, and cannot be brought back.{signs} Verifiers that \
         cache go on believing in the revoked key until they fetch the keys again: Tollgate asks for five minutes, and \
         many keep them for longer. Its thief is stopped there, not here."
    )
}

/// The next step of the runbook.
fn next_step(purpose: &str) -> &'static str {
    match purpose {
        "federation" => {
            "Next, if it was stolen: end its trust at every target now (AWS: the IAM OIDC provider; Vault: the auth \
             method). docs/operations.md, \"A signing key is stolen\", step 1."
        }
        "credentials" => {
            "Next, if it was stolen: have every service that checks these tokens drop its cached keys now. \
             docs/operations.md, \"A signing key is stolen\", step 1."
        }
        _ => {
            "Next, if it was stolen: compare the store with the newest checkpoint that was kept elsewhere: tollgate \
             audit verify --checkpoint FILE."
        }
    }
}

fn confirm() -> Result<(), Failure> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::new(Status::Usage, "nobody is there to confirm it").with_hint("add --yes"));
    }
    Output::note(Tone::Strong, "Type revoke to go on:");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if answer.trim() == "revoke" { Ok(()) } else { Err(Failure::new(Status::Failed, "nothing was changed")) }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Only {
        #[command(flatten)]
        args: RevokeArgs,
    }

    #[test]
    fn a_key_id_may_begin_like_an_option() {
        for kid in ["-yes_and", "--rotated", "-"] {
            for arguments in [["x", kid, "--rotate", "--yes"], ["x", "--rotate", "--yes", kid]] {
                let Only { args } = Only::parse_from(arguments);
                assert_eq!((args.kid.as_str(), args.rotate, args.yes), (kid, true, true));
            }
        }
    }
}
