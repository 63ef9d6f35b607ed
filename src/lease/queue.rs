//! The look at everything that may live and should not: claimed, ended target by target, or put off.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use jiff::{SignedDuration, Timestamp};

use super::{Doomed, give_back, not_yet, try_end};
use crate::clock::Clock;
use crate::domain::Code;
use crate::ledger::{Claim, Ledger, Record, Unleased};
use crate::provider::Providers;

/// Pause between two looks. One that finds nothing due reads two indexes and writes nothing.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Age under which an authorisation without a lease is most likely just being minted.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Targets that are worked at side by side.
const TARGETS_AT_ONCE: usize = 16;

/// Longest time at one target per look; well within what a claim holds. What is left waits for a later look.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks once for all that may live and should not, and ends what is due: leases that somebody wants ended,
/// authorisations that an earlier run of the server left without a lease, and those of this run that have had none for a
/// while. A renewal that was lost is added to the lease that it may have prolonged.
///
/// Each has a handle that was recorded before the mint, and a time by which it is dead. The targets are worked at side
/// by side, each for a bounded time; one that does not answer is asked again after a pause that grows.
pub async fn sweep(ledger: &Ledger, providers: &Providers, clock: &Clock) {
    let mut doomed: BTreeMap<String, Vec<Doomed>> = BTreeMap::new();
    for lost in lost(ledger, clock.now()).await {
        let (decision, dies_by) = (lost.decision, lost.dies_by);
        tracing::warn!(%decision, %dies_by, "authorised, and no lease is known: unknown until ended");
        doomed.entry(lost.target.clone()).or_default().push(lost.into());
    }
    match ledger.leases_to_end().await {
        Ok(leases) => {
            for lease in leases.into_iter().filter(|lease| lease.due) {
                doomed.entry(lease.target.clone()).or_default().push(lease.into());
            }
        }
        Err(error) => tracing::error!(%error, "cannot look for leases to end"),
    }
    let records: Vec<Record> = doomed.values().flatten().map(|one| one.record).collect();
    if records.is_empty() {
        return;
    }
    let claims: HashMap<Record, Claim> = match ledger.claim(records).await {
        Ok(claims) => claims.into_iter().map(|claim| (claim.record(), claim)).collect(),
        Err(why) => return tracing::warn!(%why, "nothing can be claimed, so nothing is ended"),
    };
    let targets: Vec<_> = doomed.values().map(|all| end_all(ledger, providers, all, &claims)).collect();
    stream::iter(targets).buffer_unordered(TARGETS_AT_ONCE).collect::<()>().await;
}

/// Authorisations that nobody is minting any more, whose turn has come.
async fn lost(ledger: &Ledger, now: Timestamp) -> Vec<Unleased> {
    let young = now.saturating_sub(YOUNG).unwrap_or(Timestamp::MIN);
    match ledger.unleased(now).await {
        Ok(unleased) => unleased.into_iter().filter(|lost| is_lost(lost, young)).collect(),
        Err(error) => {
            tracing::error!(%error, "cannot look for authorisations without a lease");
            Vec::new()
        }
    }
}

/// True if nobody is minting `lost` any more and there may be something to end.
fn is_lost(lost: &Unleased, young: Timestamp) -> bool {
    lost.due && !lost.settled && (lost.left_behind || lost.authorised_at < young)
}

/// Ends what is claimed at one target, until it stops answering or the time is up.
async fn end_all(ledger: &Ledger, providers: &Providers, all: &[Doomed], claims: &HashMap<Record, Claim>) {
    let claimed = all.iter().filter_map(|doomed| Some((doomed, *claims.get(&doomed.record)?)));
    let mut waiting: Vec<(&Doomed, Claim)> = claimed.collect();
    // Worked at from the end, which is cheap to take from: the longest waiting first.
    waiting.reverse();
    let mut failed = Vec::new();
    let mut code = Code::Timeout;
    let until = tokio::time::Instant::now() + PATIENCE;
    while let Some((doomed, claim)) = waiting.pop() {
        match tokio::time::timeout_at(until, try_end(ledger, providers, doomed, claim)).await {
            Ok(Ok(())) => {}
            Ok(Err(refusal)) => {
                not_yet(doomed, &refusal);
                code = refusal.code;
                failed.push((claim, true));
                // It would say the same of the others, each after its time limit.
                if matches!(code, Code::ProviderUnavailable | Code::ProviderThrottled) {
                    break;
                }
            }
            Err(_) => {
                let target = doomed.target.as_str();
                tracing::warn!(target, "ending what should not live here takes long; the rest waits");
                failed.push((claim, true));
                break;
            }
        }
    }
    failed.extend(waiting.into_iter().map(|(_, claim)| (claim, false)));
    give_back(ledger, failed, code).await;
}
