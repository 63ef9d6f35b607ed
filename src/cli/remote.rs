//! Where the broker is, for commands that can do without it.

use clap::Args;

use super::ask::Connection;
use super::failure::{Failure, Status};
use super::possession::Bind;
use super::token::TokenSource;

/// The arguments of [`Connection`], all of them optional.
#[derive(Debug, Args)]
pub(super) struct RemoteArgs {
    /// URL of the broker.
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL")]
    url: Option<String>,
    /// Audience of the identity token; the broker's URL unless said otherwise.
    #[arg(long, env = "TOLLGATE_AUDIENCE", value_name = "AUDIENCE")]
    audience: Option<String>,
    /// Where the identity token comes from, as `tollgate whoami` takes it.
    #[arg(long, env = "TOLLGATE_TOKEN_FROM", value_name = "SOURCE", default_value = "auto")]
    token_from: TokenSource,
    /// Whether the token is bound to a key, as `tollgate whoami` takes it.
    #[arg(long, env = "TOLLGATE_BIND", value_enum, default_value = "auto")]
    bind: Bind,
}

impl RemoteArgs {
    /// The connection; `missing` says what needs it.
    pub(super) fn connection(self, missing: &str) -> Result<Connection, Failure> {
        let missing = || Failure::new(Status::Usage, missing);
        Ok(Connection::new(self.url.ok_or_else(missing)?, self.audience, self.token_from, self.bind))
    }
}
