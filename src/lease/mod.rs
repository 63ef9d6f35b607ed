//! What happens to credentials after they were handed out, or never were: ending them, and finding the lost ones.
//!
//! It ends what the ledger names, by the handle that was recorded before the mint, and only under a claim: of all workers
//! of all servers one is at a credential. It never mints.

mod queue;

use std::time::Duration;

use crate::domain::{Code, Handle, LeaseId, Refusal, TargetName};
use crate::ledger::{Claim, Counted, EndHow, Ledger, Record, Superseded, ToEnd, Unavailable, Unleased};
use crate::provider::{Ended, Providers};
use crate::telemetry::{self, EndOutcome};

pub use queue::{SWEEP_EVERY, sweep};

/// Longest that a retry waits for the end of what it takes the place of.
const SUPERSEDED_PATIENCE: Duration = Duration::from_secs(5);

/// Something that may live and should not.
struct Doomed {
    record: Record,
    target: String,
    role: String,
    handle: Handle,
    /// The lease that it would have renewed: nothing is ended then.
    renews: Option<LeaseId>,
}

impl From<Unleased> for Doomed {
    fn from(Unleased { decision, target, role, handle, renews, .. }: Unleased) -> Self {
        Self { record: Record::Authorisation(decision), target, role, handle, renews }
    }
}

impl From<ToEnd> for Doomed {
    fn from(ToEnd { lease, target, role, handle, .. }: ToEnd) -> Self {
        Self { record: Record::Lease(lease), target, role, handle, renews: None }
    }
}

impl From<&Superseded> for Doomed {
    fn from(earlier: &Superseded) -> Self {
        let record = earlier.lease.map_or(Record::Authorisation(earlier.decision), Record::Lease);
        let Superseded { target, role, handle, .. } = earlier.clone();
        Self { record, target, role, handle, renews: None }
    }
}

/// Ends a lease that its holder wants ended now.
///
/// # Errors
/// A `provider_*` code if the target did not confirm: the lease stays marked, and the sweep tries again.
pub async fn end_now(
    ledger: &Ledger,
    providers: &Providers,
    to_end: ToEnd,
    claim: Claim,
) -> Result<(), Refusal> {
    end(ledger, providers, &to_end.into(), claim).await
}

/// Leaves what was claimed to the sweep: nobody has tried it, because of `code`.
pub async fn leave(ledger: &Ledger, claim: Claim, code: Code) {
    give_back(ledger, [(claim, false)], code).await;
}

/// Ends what an earlier attempt of the same request left behind, now that this one takes its place.
///
/// A failure, or a target that is too slow, leaves it marked in the ledger, and the sweep tries again.
pub async fn end_superseded(ledger: &Ledger, providers: &Providers, earlier: &Superseded) {
    let doomed = Doomed::from(earlier);
    let claim = match ledger.claim_now(doomed.record).await {
        Ok(Some(claim)) => claim,
        // Ended already, or another worker is at it.
        Ok(None) => return,
        Err(why) => return tracing::warn!(record = ?doomed.record, %why, "superseded; not ended yet"),
    };
    let ending = end(ledger, providers, &doomed, claim);
    match tokio::time::timeout(SUPERSEDED_PATIENCE, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => not_yet(&doomed, &refusal),
        Err(_) => {
            tracing::warn!(record = ?doomed.record, target = doomed.target, "superseded; its end takes long");
            give_back(ledger, [(claim, true)], Code::Timeout).await;
        }
    }
}

/// Ends one credential at its target and records it; gives the claim back if the target does not confirm.
async fn end(ledger: &Ledger, providers: &Providers, doomed: &Doomed, claim: Claim) -> Result<(), Refusal> {
    match try_end(ledger, providers, doomed, claim).await {
        Ok(()) => Ok(()),
        Err(refusal) => {
            give_back(ledger, [(claim, true)], refusal.code).await;
            Err(refusal)
        }
    }
}

async fn try_end(
    ledger: &Ledger,
    providers: &Providers,
    doomed: &Doomed,
    claim: Claim,
) -> Result<(), Refusal> {
    if let (Record::Authorisation(decision), Some(lease)) = (doomed.record, doomed.renews) {
        note(doomed, ledger.adopt(lease, decision, claim).await);
        return Ok(());
    }
    let target: TargetName = doomed.target.parse().map_err(|_| {
        Refusal::new(Code::Internal, "the record names no target").with_detail(doomed.target.clone())
    })?;
    let tried = providers.end(&target, &doomed.role, &doomed.handle).await;
    telemetry::end_tried(match &tried {
        Ok(Ended::Now) => EndOutcome::Ended,
        Ok(Ended::DiesAtExpiry) => EndOutcome::DiesAtExpiry,
        Err(_) => EndOutcome::Failed,
    });
    let ended = tried?;
    let recorded = match doomed.record {
        Record::Lease(lease) => ledger.ended(lease, how(ended), claim).await,
        Record::Authorisation(decision) => {
            ledger.resolve_unleased(decision, ended == Ended::Now, claim).await
        }
    };
    note(doomed, recorded);
    Ok(())
}

/// Says what became of the record of what a worker did.
fn note(doomed: &Doomed, recorded: Result<Counted, Unavailable>) {
    match recorded {
        Ok(Counted::Yes) => {}
        Ok(Counted::Stale) => {
            tracing::warn!(record = ?doomed.record, "its end took too long; another worker looks after it");
        }
        // It is marked still: once the claim is over, the next look finds it dead, and records that.
        Err(why) => tracing::warn!(record = ?doomed.record, %why, "an end was not recorded yet"),
    }
}

/// Gives claims back, each with whether it was tried, and raises the alarm for what has failed too often.
async fn give_back(ledger: &Ledger, claims: impl IntoIterator<Item = (Claim, bool)>, code: Code) {
    match ledger.postpone(claims, code.as_str()).await {
        Ok(given_up) => {
            for record in given_up {
                tracing::error!(
                    ?record,
                    %code,
                    "it should not live, and ending it has failed too often: look at its target"
                );
            }
        }
        Err(why) => tracing::warn!(%why, "failed ends are tried again when their claims are over"),
    }
}

fn not_yet(doomed: &Doomed, refusal: &Refusal) {
    let Doomed { record, target, .. } = doomed;
    let detail = refusal.detail.as_deref().unwrap_or_default();
    tracing::warn!(?record, target, code = %refusal.code, detail, "could not be ended yet");
}

const fn how(ended: Ended) -> EndHow {
    match ended {
        Ended::Now => EndHow::AtTarget,
        Ended::DiesAtExpiry => EndHow::DiesAtExpiry,
    }
}
