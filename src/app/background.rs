//! What a server does without being asked: ends what may be lost, signs checkpoints, moves keys on, refreshes issuers,
//! counts.
//!
//! Each has a task of its own, so that a target that is down delays nothing but what is to be ended there.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Core, KeyReport};
use crate::causes;
use crate::lease;
use crate::ledger::HEAR_EVERY;
use crate::signing::{KeyState, Purpose};
use crate::telemetry;

/// Pause between two looks at what the ledger has to write or can forget.
const UPKEEP_EVERY: Duration = Duration::from_secs(1);
/// Pause between two signed checkpoints of the audit chain.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(10);
/// Pause between two counts of the leases that are alive and the blocks in force.
const LEASES_COUNTED_EVERY: Duration = Duration::from_secs(10);
/// Pause between two looks for keys that another server changed: as long goes on signing what was revoked there.
const KEYS_FOLLOWED_EVERY: Duration = Duration::from_secs(5);
/// Pause between two looks for what can be pruned.
const PRUNE_EVERY: Duration = Duration::from_mins(1);
/// Pause between two bites, in which whoever asks for a credential comes first.
const BETWEEN_BITES: Duration = Duration::from_millis(20);
/// Pause between two looks at issuers' keys and our own.
const HOUSEKEEPING_EVERY: Duration = Duration::from_mins(1);

/// Runs until `stop`; what fails is logged and tried again at its next turn.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let tasks = TaskTracker::new();
    every(&tasks, &stop, UPKEEP_EVERY, &core, |core| async move { core.ledger.upkeep().await });
    every(&tasks, &stop, CHECKPOINT_EVERY, &core, |core| async move { sign_checkpoint(&core).await });
    every(&tasks, &stop, LEASES_COUNTED_EVERY, &core, |core| async move { count_leases(&core).await });
    every(&tasks, &stop, HEAR_EVERY, &core, |core| async move { hear(&core).await });
    every(&tasks, &stop, KEYS_FOLLOWED_EVERY, &core, |core| async move { follow_keys(&core).await });
    // What waits for others is cut off at the end, and begins anew at the next start.
    let cut = stop.clone();
    every(&tasks, &stop, HOUSEKEEPING_EVERY, &core, move |core| {
        let cut = cut.clone();
        async move { cut.run_until_cancelled(keep_house(&core)).await.unwrap_or_default() }
    });
    let cut = stop.clone();
    every(&tasks, &stop, PRUNE_EVERY, &core, move |core| {
        let cut = cut.clone();
        async move { cut.run_until_cancelled(prune(&core)).await.unwrap_or_default() }
    });
    let cut = stop.clone();
    every(&tasks, &stop, lease::SWEEP_EVERY, &core, move |core| {
        let cut = cut.clone();
        async move { cut.run_until_cancelled(sweep(&core)).await.unwrap_or_default() }
    });
    let (cut, core_of_blocks) = (stop.clone(), Arc::clone(&core));
    tasks.spawn(async move { cut.run_until_cancelled(end_what_is_blocked(&core_of_blocks)).await });
    tasks.close();
    tasks.wait().await;
    core.broker.loaded().identity.stop().await;
    core.ledger.close().await;
    // The last one makes the tail of this writer's chain provable.
    sign_checkpoint(&core).await;
}

/// Does `work` now and after each pause, until `stop`; a turn that is under way is finished first, so that the last
/// checkpoint does not race with one that was left half way.
fn every<F>(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    pause: Duration,
    core: &Arc<Core>,
    work: impl Fn(Arc<Core>) -> F + Send + Sync + 'static,
) where
    F: Future<Output = ()> + Send,
{
    let (stop, core) = (stop.clone(), Arc::clone(core));
    tasks.spawn(async move {
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            work(Arc::clone(&core)).await;
        }
    });
}

/// Looks until nothing more can be ended now: one look takes a bounded part of what waits.
async fn sweep(core: &Core) {
    while lease::sweep(&core.ledger, &core.broker.loaded().providers, &core.clock).await > 0 {}
}

async fn hear(core: &Core) {
    match core.ledger.hear().await {
        Ok(silent) => {
            for lease in silent {
                tracing::warn!(%lease, "its holder was silent too long; it is ended");
            }
        }
        Err(why) => tracing::warn!(%why, "heartbeats wait for the store"),
    }
}

/// A block does not wait for the sweep's turn.
async fn end_what_is_blocked(core: &Core) {
    loop {
        core.ledger.end_wanted().await;
        sweep(core).await;
    }
}

async fn sign_checkpoint(core: &Core) {
    if let Err(error) = core.ledger.checkpoint(&core.keys.current()).await {
        tracing::error!(%error, "no checkpoint of the audit chain was signed");
    }
}

/// Prunes bite by bite until nothing is left to go; nothing unless the configuration says how long records are kept.
async fn prune(core: &Core) {
    let loaded = core.broker.loaded();
    let audit = &loaded.config.settings.audit;
    let Some(retention) = audit.retention else { return };
    let sinks: Vec<String> = audit.sinks.keys().cloned().collect();
    loop {
        match core.ledger.prune(retention, &sinks, &core.keys.current()).await {
            Ok(0) => return,
            Ok(records) => tracing::info!(records, "records past their retention were pruned"),
            Err(error) => {
                let why = causes::in_full(&error);
                return tracing::error!(%why, "records past their retention cannot be pruned");
            }
        }
        tokio::time::sleep(BETWEEN_BITES).await;
    }
}

async fn count_leases(core: &Core) {
    telemetry::readiness(core.ledger.is_alive());
    telemetry::blocks_in_force(core.ledger.blocks_in_force());
    match core.ledger.live_leases().await {
        Ok(count) => telemetry::leases_live(count),
        Err(error) => tracing::warn!(%error, "the leases cannot be counted"),
    }
    match core.ledger.endings().await {
        Ok(waiting) => telemetry::ends_waiting(waiting.all, waiting.dead),
        Err(error) => tracing::warn!(%error, "what waits for its end cannot be counted"),
    }
}

async fn follow_keys(core: &Core) {
    if let Err(error) = core.keys.follow().await {
        // Housekeeping looks as well, and its failure is an error.
        tracing::debug!(%error, "the signing keys could not be looked at");
    }
}

async fn keep_house(core: &Core) {
    let loaded = core.broker.loaded();
    loaded.identity.refresh().await;
    for keys in loaded.identity.key_ages() {
        telemetry::issuer_keys_aged(&keys.issuer, keys.age);
    }
    if let Err(error) = core.keys.settle().await {
        tracing::error!(%error, "the signing keys could not be moved on");
    }
    match core.keys.list().await {
        Ok(keys) => count_keys(&keys),
        Err(error) => tracing::warn!(%error, "the signing keys cannot be counted"),
    }
}

/// Every purpose in every state, also where there is none: an alert waits for a purpose without an active key.
fn count_keys(keys: &[KeyReport]) {
    for purpose in Purpose::ALL.map(Purpose::as_str) {
        for state in KeyState::ALL.map(KeyState::as_str) {
            let count = keys.iter().filter(|key| key.purpose == purpose && key.state == state).count();
            telemetry::signing_keys(purpose, state, count);
        }
    }
}
