//! What happens to credentials after they were handed out, or never were: ending them, and finding the lost ones.
//!
//! It ends what the ledger names, by the handle that was recorded before the mint. It never mints.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::domain::{DecisionId, Handle, TargetName};
use crate::ledger::{EndHow, Ledger, Superseded, Unavailable};
use crate::provider::{Ended, Providers};

/// Pause between two looks for what is not known to be dead.
pub const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Age under which an authorisation without a lease is most likely just being minted.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Ends what an earlier attempt of the same request left behind, now that this one takes its place.
///
/// A failure leaves it marked in the ledger, and the sweep tries again.
pub async fn end_superseded(ledger: &Ledger, providers: &Providers, earlier: &Superseded) {
    let Some(ended) = end(providers, earlier.decision, &earlier.target, &earlier.role, &earlier.handle).await
    else {
        return;
    };
    let recorded = match earlier.lease {
        Some(lease) => ledger.ended(lease, how(ended)).await,
        None => ledger.resolve_unleased(earlier.decision, ended == Ended::Now).await,
    };
    note(earlier.decision, recorded);
}

/// Looks after what a crash left: every authorisation without a lease from before `started`, when this server did.
///
/// Each has a handle that was recorded before the mint, and a time by which it is dead.
pub async fn recover(ledger: &Ledger, providers: &Providers, clock: &Clock, started: Timestamp) {
    end_unleased(ledger, providers, clock, started).await;
}

/// Looks once for leases that somebody wants ended, and for authorisations that have had no lease for a while.
pub async fn sweep(ledger: &Ledger, providers: &Providers, clock: &Clock) {
    let young = clock.now().saturating_sub(YOUNG).unwrap_or(Timestamp::MIN);
    end_unleased(ledger, providers, clock, young).await;
    match ledger.leases_to_end().await {
        Ok(leases) => {
            for lease in leases {
                let name = lease.lease;
                let Ok(target) = lease.target.parse::<TargetName>() else { continue };
                match providers.end(&target, &lease.role, &lease.handle).await {
                    Ok(ended) => {
                        if let Err(why) = ledger.ended(name, how(ended)).await {
                            tracing::warn!(lease = %name, %why, "an end was not recorded yet");
                        }
                    }
                    Err(refusal) => {
                        tracing::warn!(lease = %name, code = %refusal.code, "could not be ended yet");
                    }
                }
            }
        }
        Err(error) => tracing::error!(%error, "cannot look for leases to end"),
    }
}

async fn end_unleased(ledger: &Ledger, providers: &Providers, clock: &Clock, before: Timestamp) {
    let unleased = match ledger.unleased(clock.now()).await {
        Ok(unleased) => unleased,
        Err(error) => {
            tracing::error!(%error, "cannot look for authorisations without a lease");
            return;
        }
    };
    for lost in unleased.iter().filter(|lost| lost.authorised_at < before) {
        let decision = lost.decision;
        tracing::warn!(%decision, dies_by = %lost.dies_by, "authorised, and no lease is known: unknown until ended");
        if let Some(ended) = end(providers, decision, &lost.target, &lost.role, &lost.handle).await {
            note(decision, ledger.resolve_unleased(decision, ended == Ended::Now).await);
        }
    }
}

/// Ends one credential at its target; none if the target did not confirm.
async fn end(
    providers: &Providers,
    decision: DecisionId,
    target: &str,
    role: &str,
    handle: &Handle,
) -> Option<Ended> {
    let target = target.parse::<TargetName>().ok()?;
    match providers.end(&target, role, handle).await {
        Ok(ended) => Some(ended),
        Err(refusal) => {
            tracing::warn!(%decision, %target, code = %refusal.code, "could not be ended yet");
            None
        }
    }
}

const fn how(ended: Ended) -> EndHow {
    match ended {
        Ended::Now => EndHow::AtTarget,
        Ended::DiesAtExpiry => EndHow::DiesAtExpiry,
    }
}

fn note(decision: DecisionId, recorded: Result<(), Unavailable>) {
    if let Err(why) = recorded {
        tracing::warn!(%decision, %why, "an end was not recorded yet");
    }
}
