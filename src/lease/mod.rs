//! What happens to credentials after they were handed out, or never were: ending them, and finding the lost ones.
//!
//! It ends what the ledger names, by the handle that was recorded before the mint. It never mints.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::domain::{Code, DecisionId, Handle, LeaseId, Refusal, TargetName};
use crate::ledger::{EndHow, Ledger, Superseded, ToEnd, Unleased};
use crate::provider::{Ended, Providers};

/// Pause between two looks for what is not known to be dead.
pub const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// Age under which an authorisation without a lease is most likely just being minted.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Targets that are worked at side by side.
const TARGETS_AT_ONCE: usize = 16;

/// Longest time at one target per look. What is left waits for the next look: it stays marked in the ledger.
const PATIENCE: Duration = Duration::from_secs(20);

/// Longest that a retry waits for the end of what it takes the place of.
const SUPERSEDED_PATIENCE: Duration = Duration::from_secs(5);

/// Something that may live and should not.
struct Doomed {
    record: Record,
    role: String,
    handle: Handle,
}

/// Where the ledger keeps it.
#[derive(Debug, Clone, Copy)]
enum Record {
    Lease(LeaseId),
    Authorisation(DecisionId),
}

impl From<Unleased> for Doomed {
    fn from(Unleased { decision, role, handle, .. }: Unleased) -> Self {
        Self { record: Record::Authorisation(decision), role, handle }
    }
}

impl From<ToEnd> for Doomed {
    fn from(ToEnd { lease, role, handle, .. }: ToEnd) -> Self {
        Self { record: Record::Lease(lease), role, handle }
    }
}

impl From<&Superseded> for Doomed {
    fn from(earlier: &Superseded) -> Self {
        let record = earlier.lease.map_or(Record::Authorisation(earlier.decision), Record::Lease);
        Self { record, role: earlier.role.clone(), handle: earlier.handle.clone() }
    }
}

/// Ends what an earlier attempt of the same request left behind, now that this one takes its place.
///
/// A failure, or a target that is too slow, leaves it marked in the ledger, and the sweep tries again.
pub async fn end_superseded(ledger: &Ledger, providers: &Providers, earlier: &Superseded) {
    let Ok(target) = earlier.target.parse::<TargetName>() else { return };
    let doomed = Doomed::from(earlier);
    match tokio::time::timeout(SUPERSEDED_PATIENCE, end(ledger, providers, &target, &doomed)).await {
        Ok(Ok(())) => {}
        Ok(Err(refusal)) => not_yet(&target, &doomed, &refusal),
        Err(_) => tracing::warn!(record = ?doomed.record, %target, "superseded; its end takes long"),
    }
}

/// Looks once for all that may live and should not, and ends it: leases that somebody wants ended, authorisations that an
/// earlier run of the server left without a lease, and those of this run that have had none for a while.
///
/// Each has a handle that was recorded before the mint, and a time by which it is dead. The targets are worked at side
/// by side, each for a bounded time, and one that does not answer is left alone until the next look.
pub async fn sweep(ledger: &Ledger, providers: &Providers, clock: &Clock) {
    let mut doomed: BTreeMap<TargetName, Vec<Doomed>> = BTreeMap::new();
    let young = clock.now().saturating_sub(YOUNG).unwrap_or(Timestamp::MIN);
    match ledger.unleased(clock.now()).await {
        Ok(unleased) => {
            for lost in unleased.into_iter().filter(|lost| is_lost(lost, young)) {
                let (decision, dies_by) = (lost.decision, lost.dies_by);
                tracing::warn!(%decision, %dies_by, "authorised, and no lease is known: unknown until ended");
                add(&mut doomed, &lost.target.clone(), lost.into());
            }
        }
        Err(error) => tracing::error!(%error, "cannot look for authorisations without a lease"),
    }
    match ledger.leases_to_end().await {
        Ok(leases) => {
            for lease in leases {
                add(&mut doomed, &lease.target.clone(), lease.into());
            }
        }
        Err(error) => tracing::error!(%error, "cannot look for leases to end"),
    }
    let targets: Vec<_> =
        doomed.iter().map(|(target, all)| end_all(ledger, providers, target, all)).collect();
    stream::iter(targets).buffer_unordered(TARGETS_AT_ONCE).collect::<()>().await;
}

/// True if nobody is minting `lost` any more, or nobody may, and there may be something to end.
fn is_lost(lost: &Unleased, young: Timestamp) -> bool {
    !lost.settled && (lost.left_behind || lost.blocked || lost.authorised_at < young)
}

fn add(doomed: &mut BTreeMap<TargetName, Vec<Doomed>>, target: &str, one: Doomed) {
    if let Ok(target) = target.parse() {
        doomed.entry(target).or_default().push(one);
    } else {
        tracing::error!(target, "a record names no target");
    }
}

/// Ends what is doomed at one target, until it stops answering or the time is up.
async fn end_all(ledger: &Ledger, providers: &Providers, target: &TargetName, all: &[Doomed]) {
    let ending = async {
        for doomed in all {
            let Err(refusal) = end(ledger, providers, target, doomed).await else { continue };
            not_yet(target, doomed, &refusal);
            // It would say the same of the others, each after its time limit.
            if matches!(refusal.code, Code::ProviderUnavailable | Code::ProviderThrottled) {
                return;
            }
        }
    };
    if tokio::time::timeout(PATIENCE, ending).await.is_err() {
        tracing::warn!(%target, "ending what should not live here takes long; the rest waits for the next look");
    }
}

/// Ends one credential at its target and records it.
async fn end(
    ledger: &Ledger,
    providers: &Providers,
    target: &TargetName,
    doomed: &Doomed,
) -> Result<(), Refusal> {
    let ended = providers.end(target, &doomed.role, &doomed.handle).await?;
    let recorded = match doomed.record {
        Record::Lease(lease) => ledger.ended(lease, how(ended)).await,
        Record::Authorisation(decision) => ledger.resolve_unleased(decision, ended == Ended::Now).await,
    };
    if let Err(why) = recorded {
        // It is marked still: the next look finds it dead, and records that.
        tracing::warn!(record = ?doomed.record, %why, "an end was not recorded yet");
    }
    Ok(())
}

fn not_yet(target: &TargetName, doomed: &Doomed, refusal: &Refusal) {
    let (record, detail) = (doomed.record, refusal.detail.as_deref().unwrap_or_default());
    tracing::warn!(?record, %target, code = %refusal.code, detail, "could not be ended yet");
}

const fn how(ended: Ended) -> EndHow {
    match ended {
        Ended::Now => EndHow::AtTarget,
        Ended::DiesAtExpiry => EndHow::DiesAtExpiry,
    }
}
