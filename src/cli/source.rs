//! Where a command finds the configuration.

use std::path::PathBuf;

use clap::Args;

use super::failure::{Failure, Status};
use crate::app::{Checked, Source, StartError, admin_socket, check, review};
use crate::causes;
use crate::config::Problems;
use crate::ledger::LedgerError;

/// What to look at when the database does not serve.
const DATABASE: &str = "compare the database with `postgres` in [store]: its address, the role that owns it, the password, and `ca` \
                        for TLS; docs/operations.md says how to set it up";

/// What to look at when the agent gives no SVID.
const WORKLOAD: &str = "see that the agent runs, that this user may open the socket of [workload_api], and that an entry is \
                        registered for this process";

/// The configuration directory.
#[derive(Debug, Args)]
pub(super) struct SourceArgs {
    /// Configuration directory.
    #[arg(long, global = true, env = "TOLLGATE_CONFIG", value_name = "DIR", default_value = "config")]
    pub(super) config: PathBuf,
}

impl SourceArgs {
    /// The directory with the environment laid over it.
    pub(super) fn source(&self) -> Source {
        // A variable that is not UTF-8 is not one of ours: their names are ASCII, and their values must be text.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Source { directory: self.config.clone(), environment: environment.collect() }
    }

    /// Loads it and fails with all problems if one of them is an error.
    pub(super) fn checked(&self) -> Result<Checked, Failure> {
        check(&self.source()).map_err(|refused| failure_of(&refused.into()))
    }

    /// Where the broker of this configuration listens for its administrator, who need not have its secrets.
    pub(super) fn socket(&self) -> Result<PathBuf, Failure> {
        let reviewed = review(&self.source()).map_err(|refused| failure_of(&refused.into()))?;
        Ok(admin_socket(&reviewed.checked().config.settings))
    }
}

/// A start that failed, with the exit status that says whose fault it is.
pub(super) fn failure_of(error: &StartError) -> Failure {
    match error {
        StartError::Config(problems) => broken(problems),
        StartError::Ledger(LedgerError::InUse(_)) => Failure::new(Status::Usage, error.to_string()),
        StartError::Ledger(LedgerError::Postgres(_) | LedgerError::Schema(_)) => {
            Failure::new(Status::Failed, causes::in_full(error)).with_hint(DATABASE)
        }
        StartError::Workload(_) => {
            Failure::new(Status::Unavailable, causes::in_full(error)).with_hint(WORKLOAD)
        }
        StartError::Ledger(_)
        | StartError::Unavailable(_)
        | StartError::Url(_)
        | StartError::Signing(_)
        | StartError::Identity(_)
        | StartError::Facts(_)
        | StartError::Provider(_)
        | StartError::Tls(_)
        | StartError::Bind(_)
        | StartError::Traces(_)
        | StartError::CaFile { .. }
        | StartError::Sink(_)
        | StartError::Admin { .. } => Failure::new(Status::Failed, causes::in_full(error)),
    }
}

fn broken(problems: &Problems) -> Failure {
    let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
    Failure::new(Status::Usage, format!("the configuration has errors\n{}", text.join("\n")))
        .with_hint("tollgate check prints the same without starting anything")
}
