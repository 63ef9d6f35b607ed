//! `tollgate revoke`: ends a lease, for whoever holds its secret.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use secrecy::SecretString;
use spiffe::SpiffeId;

use super::connection::broker;
use super::failure::{Failure, Status};
use super::output::Output;
use super::possession::{JobKey, Shown};
use super::whoami::print_members;
use crate::domain::LeaseId;

/// Longest secret that is read, bytes; a real one has 47.
const MAX_SECRET: u64 = 256;
/// Where `tollgate env` leaves the secret.
const SECRET: &str = "TOLLGATE_LEASE_SECRET";
/// Where `tollgate env` leaves the key that the lease is bound to, if it is bound to one.
const KEY: &str = "TOLLGATE_LEASE_KEY";

/// Arguments of `revoke`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate revoke                                        after `tollgate env`, whose variables name the lease
  tollgate revoke 0b9d… --secret-file lease-secret
  … | tollgate revoke 0b9d… --secret-file -

Ended is what its target can end. Of any other credential the answer says when it dies.")]
pub(super) struct RevokeArgs {
    /// URL of the broker.
    #[arg(long, env = "TOLLGATE_URL", value_name = "URL")]
    url: String,
    /// SPIFFE ID that the broker proves itself by, in place of a host name; the Workload API has the bundle.
    #[arg(long, env = "TOLLGATE_SERVER_ID", value_name = "SPIFFE_ID")]
    server_id: Option<SpiffeId>,
    /// The lease.
    #[arg(env = "TOLLGATE_LEASE", value_name = "LEASE")]
    lease: LeaseId,
    /// File that holds the lease's secret, or `-` for standard input; `TOLLGATE_LEASE_SECRET` unless given.
    #[arg(long, value_name = "PATH")]
    secret_file: Option<PathBuf>,
}

/// Ends the lease and prints what is known of it.
pub(super) async fn run(args: RevokeArgs, output: Output) -> Result<(), Failure> {
    let secret = secret(args.secret_file.as_deref())?;
    let key = std::env::var(KEY).ok().filter(|text| !text.is_empty()).map(SecretString::from);
    let key = key.map(|text| JobKey::import(&text)).transpose()?.map(Arc::new);
    let broker = broker(&args.url, None, args.server_id.as_ref())?;
    let answer = broker.end(&args.lease.to_string(), &Shown { key, ..secret.into() }).await?;
    if output.is_json() {
        return Ok(Output::json(&answer)?);
    }
    print_members(&answer, output, 0)
}

fn secret(file: Option<&std::path::Path>) -> Result<SecretString, Failure> {
    let mut text = String::new();
    match file {
        None => text = std::env::var(SECRET).unwrap_or_default(),
        Some(path) if path.as_os_str() == "-" => {
            std::io::stdin().take(MAX_SECRET).read_to_string(&mut text)?;
        }
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|error| Failure::new(Status::Usage, format!("{}: {error}", path.display())))?;
            file.take(MAX_SECRET).read_to_string(&mut text)?;
        }
    }
    if text.trim().is_empty() {
        return Err(Failure::new(Status::Usage, "no lease secret is given")
            .with_hint(format!("set {SECRET}, or name a file with --secret-file")));
    }
    Ok(text.trim().to_owned().into())
}
