//! Where the broker is, for commands that can do without it.

use clap::Args;

use super::connection::{Connection, ProofArgs};
use super::failure::{Failure, Status};

/// The arguments of [`Connection`], all of them optional.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// URL of the broker.
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL")]
    url: Option<String>,
    #[command(flatten)]
    proof: ProofArgs,
}

impl RemoteArgs {
    /// The connection; `missing` says what needs it.
    pub(super) fn connection(self, missing: &str) -> Result<Connection, Failure> {
        let missing = || Failure::new(Status::Usage, missing);
        Ok(Connection { url: self.url.ok_or_else(missing)?, proof: self.proof })
    }
}
