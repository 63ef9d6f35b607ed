//! The SPIFFE agent, followed while a command runs: what TLS to the broker shows, and whom it believes.

use std::sync::atomic::{AtomicBool, Ordering};

use spiffe::SpiffeId;

use super::failure::{Failure, Status};
use super::workload::{PATIENCE, endpoint};
use crate::clock::Clock;
use crate::net::{Client, Rules, ServerProof, WorkloadApi, WorkloadError};

/// Which of the identities that an agent has for a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Choice {
    /// The one that it names first.
    First,
    /// This one.
    Named(SpiffeId),
}

/// An agent whose SVIDs and bundles rotate, and stay what they were while it is gone.
pub(super) struct Agent {
    api: WorkloadApi,
    shows: bool,
    server: Option<SpiffeId>,
    /// An SVID that lived was there once.
    lived: AtomicBool,
}

impl Agent {
    /// Follows the agent that the environment names, to show an SVID of its, to believe `server`, or for both.
    pub(super) fn follow(shows: Option<&Choice>, server: Option<SpiffeId>) -> Result<Self, Failure> {
        let id = match shows {
            Some(Choice::Named(id)) => Some(id.to_string()),
            Some(Choice::First) | None => None,
        };
        let api = WorkloadApi::follow(&endpoint()?, id);
        Ok(Self { api, shows: shows.is_some(), server, lived: AtomicBool::new(false) })
    }

    /// A client with the SVID and the bundle of now.
    pub(super) async fn client(&self, rules: Rules) -> Result<Client, Failure> {
        let clock = Clock::system();
        if self.shows {
            self.check_svid(&clock).await?;
        }
        if let Some(id) = &self.server {
            self.check_bundle(id).await?;
        }
        let id = self.server.as_ref().map(SpiffeId::to_string);
        let server = match &id {
            Some(id) => ServerProof::StreamedSvid { id, workload: &self.api },
            None => ServerProof::Web,
        };
        let client = if self.shows {
            Client::with_svid(rules, &self.api, &server, &clock)
        } else {
            Client::of(rules, &server, &clock)
        };
        client.map_err(|error| Failure::new(Status::Failed, error.to_string()))
    }

    /// That there is an SVID, and that it lives. One that expires while a command runs is shown all the same: the lease's secret
    /// ends the lease, whatever stands beside it.
    async fn check_svid(&self, clock: &Clock) -> Result<(), Failure> {
        let svid = self.api.first_svid(PATIENCE).await.map_err(|error| gone(&error))?;
        if svid.not_after > clock.now() {
            self.lived.store(true, Ordering::Relaxed);
        }
        if self.lived.load(Ordering::Relaxed) {
            return Ok(());
        }
        let message =
            format!("the X.509-SVID of {} expired at {} by this machine's clock", svid.id, svid.not_after);
        Err(Failure::new(Status::Unavailable, message)
            .with_hint("compare the clock with that of the SPIRE server; is the agent connected to it?"))
    }

    /// That the agent knows who vouches for `id`.
    async fn check_bundle(&self, id: &SpiffeId) -> Result<(), Failure> {
        let domain = id.trust_domain().to_string();
        let given = self.api.bundle(&domain, 0, PATIENCE).await.map_err(|error| gone(&error))?;
        if !given.bundle.authorities.is_empty() {
            return Ok(());
        }
        Err(Failure::new(Status::Usage, format!("the Workload API has no bundle of {domain}"))
            .with_hint("federate with it, and let the workload's entry say so"))
    }
}

fn gone(error: &WorkloadError) -> Failure {
    Failure::new(Status::Unavailable, error.to_string()).with_hint(
        "is the agent running, is its socket mounted here, and does an entry's selectors fit this process?",
    )
}
