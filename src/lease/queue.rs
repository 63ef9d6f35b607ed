//! The look at everything that may live and should not: claimed, ended target by target, or put off.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use futures_util::stream::{self, FuturesUnordered, StreamExt};
use jiff::{SignedDuration, Timestamp};
use tokio::time::{Instant, timeout_at};

use super::{Doomed, give_back, not_yet, try_end};
use crate::clock::Clock;
use crate::domain::{Code, Refusal};
use crate::ledger::{Claim, Ledger, Record, Unleased};
use crate::provider::Providers;

/// Pause between two looks. One that finds nothing due reads two indexes and writes nothing.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Age under which an authorisation without a lease is most likely just being minted.
const YOUNG: SignedDuration = SignedDuration::from_secs(60);

/// Targets that are worked at side by side.
const TARGETS_AT_ONCE: usize = 16;

/// Ends at one target side by side: what a block is about is dead within seconds, and no target is flooded.
const ENDS_AT_ONCE: usize = 8;

/// Longest time at one target per look; well within what a claim holds. What is left waits for a later look.
const PATIENCE: Duration = Duration::from_secs(20);

/// Looks once for all that may live and should not, and ends what is due: leases that somebody wants ended,
/// authorisations that an earlier run of the server left without a lease, and those of this run that have had none for a
/// while. A renewal that was lost is added to the lease that it may have prolonged.
///
/// Each has a handle that was recorded before the mint, and a time by which it is dead. The targets are worked at side
/// by side, each for a bounded time; one that does not answer is asked again after a pause that grows.
///
/// Returns how many were settled; if there were any, there may be more that this look had no room for.
pub async fn sweep(ledger: &Ledger, providers: &Providers, clock: &Clock) -> usize {
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
        return 0;
    }
    let claims: HashMap<Record, Claim> = match ledger.claim(records).await {
        Ok(claims) => claims.into_iter().map(|claim| (claim.record(), claim)).collect(),
        Err(why) => {
            tracing::warn!(%why, "nothing can be claimed, so nothing is ended");
            return 0;
        }
    };
    let targets: Vec<_> = doomed.values().map(|all| end_all(ledger, providers, all, &claims)).collect();
    let settled = stream::iter(targets).buffer_unordered(TARGETS_AT_ONCE);
    settled.fold(0, async |all, of_target| all + of_target).await
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

/// True if nobody is minting `lost` any more, or nobody may, and there may be something to end.
fn is_lost(lost: &Unleased, young: Timestamp) -> bool {
    lost.due && (lost.left_behind || lost.blocked || lost.authorised_at < young)
}

/// Ends what is claimed at one target, until it stops answering or the time is up; returns how many were settled.
async fn end_all(
    ledger: &Ledger,
    providers: &Providers,
    all: &[Doomed],
    claims: &HashMap<Record, Claim>,
) -> usize {
    // Those that wait longest come first.
    let mut waiting = all.iter().filter_map(|doomed| Some((doomed, *claims.get(&doomed.record)?)));
    let until = Instant::now() + PATIENCE;
    let mut working = FuturesUnordered::new();
    let (mut settled, mut failed, mut stopped) = (0, Vec::new(), None);
    // One alone finds out whether the target answers.
    let mut at_once = 1;
    loop {
        while stopped.is_none() && working.len() < at_once {
            let Some((doomed, claim)) = waiting.next() else { break };
            working.push(attempt(ledger, providers, doomed, claim, until));
        }
        let Some((claim, done)) = working.next().await else { break };
        at_once = ENDS_AT_ONCE;
        match done {
            Ok(()) => settled += 1,
            Err(code) => {
                failed.push((claim, code));
                // It would say the same of the others, each after its time limit.
                if matches!(code, Code::ProviderUnavailable | Code::ProviderThrottled | Code::Timeout) {
                    stopped = Some(code);
                }
            }
        }
    }
    for (claim, code) in failed {
        give_back(ledger, [(claim, true)], code).await;
    }
    give_back(ledger, waiting.map(|(_, claim)| (claim, false)), stopped.unwrap_or(Code::Timeout)).await;
    settled
}

/// One attempt; its failure is logged.
async fn attempt(
    ledger: &Ledger,
    providers: &Providers,
    doomed: &Doomed,
    claim: Claim,
    until: Instant,
) -> (Claim, Result<(), Code>) {
    let done = match timeout_at(until, try_end(ledger, providers, doomed, claim)).await {
        Ok(done) => done,
        Err(_) => Err(Refusal::new(Code::Timeout, "ending what should not live here takes long")),
    };
    if let Err(refusal) = &done {
        not_yet(doomed, refusal);
    }
    (claim, done.map_err(|refusal| refusal.code))
}
