//! The SPIFFE Workload API beside a command: whoever has an agent has an identity, and needs no secret to get at it.

use std::time::Duration;

use secrecy::SecretString;
use spiffe::transport::Endpoint;
use spiffe::{JwtSvid, SpiffeId, WorkloadApiClient, WorkloadApiError};

use super::failure::{Failure, Status};
use crate::causes;
use crate::clock::Clock;

/// Where the agent is, for every SPIFFE client (SPIFFE Workload Endpoint, section 4).
const ENDPOINT: &str = "SPIFFE_ENDPOINT_SOCKET";
/// Longest that an agent may take to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// True if the environment names an agent.
pub(super) fn is_offered() -> bool {
    std::env::var_os(ENDPOINT).is_some_and(|value| !value.is_empty())
}

/// The agent that the environment names.
pub(super) fn endpoint() -> Result<Endpoint, Failure> {
    read_endpoint(&std::env::var(ENDPOINT).unwrap_or_default())
}

fn read_endpoint(text: &str) -> Result<Endpoint, Failure> {
    let form = "it is unix:///run/spire/agent/public/api.sock, or tcp://127.0.0.1:PORT";
    let usage = |message: String| Failure::new(Status::Usage, message).with_hint(form);
    if text.is_empty() {
        return Err(usage(format!("no Workload API: {ENDPOINT} does not say where it is")));
    }
    match Endpoint::parse(text) {
        // Keys would cross the network in the clear, and whoever answers would say who is who.
        Ok(Endpoint::Tcp { host, .. }) if !host.is_loopback() => {
            Err(usage(format!("{ENDPOINT}: the agent is on another machine, and nothing encrypts the way")))
        }
        Ok(endpoint) => Ok(endpoint),
        Err(error) => Err(usage(format!("{ENDPOINT}: {}", causes::in_full(&error)))),
    }
}

/// A JWT-SVID for `audience` alone: of `id`, or of the workload's first identity.
pub(super) async fn jwt_svid(audience: &str, id: Option<&SpiffeId>) -> Result<SecretString, Failure> {
    let endpoint = endpoint()?;
    let fetch = async { WorkloadApiClient::connect(endpoint).await?.fetch_jwt_svid([audience], id).await };
    let svid = match tokio::time::timeout(PATIENCE, fetch).await {
        Ok(fetched) => fetched.map_err(|error| refused(&error))?,
        Err(_) => return Err(silent()),
    };
    check(&svid, audience, id)?;
    Ok(svid.token().to_owned().into())
}

/// That the SVID is what was asked for, and lives.
fn check(svid: &JwtSvid, audience: &str, id: Option<&SpiffeId>) -> Result<(), Failure> {
    let broken = |message: String, hint: &str| {
        Err(Failure::new(Status::Unavailable, format!("the Workload API: {message}")).with_hint(hint))
    };
    if id.is_some_and(|id| id != svid.spiffe_id()) {
        return broken(
            format!("it gave a JWT-SVID of {}", svid.spiffe_id()),
            "the agent does not do what it is asked",
        );
    }
    if svid.audience() != [audience] {
        let message =
            format!("it gave a JWT-SVID for {}, and not for {audience}", svid.audience().join(", "));
        return broken(message, "the agent does not do what it is asked");
    }
    if svid.claims().exp() <= Clock::system().now().as_second() {
        let message = format!("its JWT-SVID of {} has expired by this machine's clock", svid.spiffe_id());
        return broken(
            message,
            "compare the clock with that of the SPIRE server; is the agent connected to it?",
        );
    }
    Ok(())
}

fn silent() -> Failure {
    let seconds = PATIENCE.as_secs();
    Failure::new(Status::Unavailable, format!("the Workload API does not answer within {seconds} s"))
        .with_hint("is the agent healthy? `spire-agent healthcheck`")
}

fn refused(error: &WorkloadApiError) -> Failure {
    let failure = |status, message: &str| Failure::new(status, format!("the Workload API: {message}"));
    match error {
        // Also what an agent says of an entry that it does not know yet: patience helps.
        WorkloadApiError::NoIdentityIssued => failure(Status::Unavailable, "no identity is issued to this process")
            .with_hint(
                "register an entry whose selectors fit it; one that is new takes some seconds to reach the agent, \
                 which --wait rides out",
            ),
        WorkloadApiError::PermissionDenied(why) => {
            failure(Status::Unavailable, &format!("permission denied: {why}"))
                .with_hint("register an entry whose selectors fit this process, and whose SPIFFE ID is the one asked for")
        }
        error if error.is_invalid_argument() => failure(Status::Usage, &causes::in_full(error))
            .with_hint(format!("compare {ENDPOINT}: it is no Workload API, or a proxy strips its header")),
        error => failure(Status::Unavailable, &causes::in_full(error)).with_hint(format!(
            "is the agent running, and its socket ({ENDPOINT}) mounted where this process sees it?"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_is_on_this_machine() {
        for good in ["unix:///run/api.sock", "tcp://127.0.0.1:8081", "tcp://[::1]:8081"] {
            assert!(read_endpoint(good).is_ok(), "{good}");
        }
        for (bad, part) in [
            ("", "does not say where"),
            ("/run/api.sock", "URI"),
            ("https://agent.example", "scheme"),
            ("tcp://agent.example:1", "IP address"),
            ("tcp://10.0.0.7:8081", "another machine"),
        ] {
            let refused = read_endpoint(bad).unwrap_err();
            assert_eq!(refused.status, Status::Usage, "{bad}");
            assert!(refused.message.contains(part), "{bad}: {}", refused.message);
        }
    }
}
