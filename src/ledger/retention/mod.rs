//! Retention: the beginning of each chain is pruned once it is old, proven, delivered, and needed by nothing.
//!
//! A bite at a time: what goes is planned by readers, sealed by the checkpoint key, and removed in one transaction that
//! records the seal. The newest record of each chain stays, so that what was cut off behind it is still found.
//!
//! What must never happen here: that something goes which may live, which a sink has not got, or which no checkpoint
//! covers; that a chain which does not verify is cut; that a grant waits for more than one bite.

mod forecast;
mod held;
mod plan;
mod rows;
mod scene;
mod segment;

pub use self::forecast::{ChainForecast, Forecast};
pub use self::held::Held;
use self::plan::{Plan, plan};
pub(super) use self::rows::{Candidate, ChainEnds, Chains};
use self::scene::Scene;
use self::segment::Segment;
use super::chain::genesis;
use super::intent::Prune;
use super::seal::Seal;
use super::{Ledger, LedgerError};
use crate::config::Retention;
use crate::domain::DecisionId;
use crate::signing::Keyring;

/// Most records in one bite: what one transaction removes.
const BITE: usize = 128;

impl Ledger {
    /// Prunes a bite of each chain that has one; returns how many records went. Call it again until none did.
    ///
    /// `sinks` are the names of all sinks that are configured: what one of them has not got stays.
    ///
    /// # Errors
    /// The store cannot be read or written, or no key signs. What was pruned until then is.
    pub async fn prune(
        &self,
        retention: Retention,
        sinks: &[String],
        keyring: &Keyring,
    ) -> Result<usize, LedgerError> {
        let scene = Scene::look(self.store.reader(), retention, sinks, self.clock.now()).await?;
        let mut pruned = 0;
        for chain in &scene.chains.ends {
            if chain.first_at <= scene.cutoff && chain.first < chain.newest {
                pruned += self.bite(&scene, chain, keyring).await?;
            }
        }
        Ok(pruned)
    }

    async fn bite(&self, scene: &Scene, chain: &ChainEnds, keyring: &Keyring) -> Result<usize, LedgerError> {
        let Plan { segment, due, .. } = plan(self.store.reader(), scene, chain, BITE).await?;
        if due.count == 0 {
            return Ok(0);
        }
        let body = self.seal(scene, chain, &segment).sign(keyring).await?;
        let prune = Prune {
            writer: chain.writer,
            first: chain.first,
            last: segment.last,
            leases: segment.leases,
            decisions: segment.decisions,
            blocks: segment.blocks,
            keys: segment.keys,
            seals: segment.seals,
            body,
        };
        let done = self.store.run(prune).await?;
        Ok(if done { due.count } else { 0 })
    }

    fn seal(&self, scene: &Scene, chain: &ChainEnds, segment: &Segment<'_>) -> Seal {
        let genesis = genesis(&scene.chains.store, &chain.instance, chain.started_at);
        Seal {
            store: scene.store.clone(),
            writer: chain.writer,
            first: 1,
            last: segment.last,
            before: genesis.to_string(),
            after: segment.after.to_string(),
            until: segment.until,
            at: self.clock.now().as_millisecond(),
            checkpoint: scene.checkpoint,
            follows: segment.follows.clone(),
            kept: segment.kept(),
        }
    }

    /// True if records of the time at which `id` was made were pruned: whether there was such a decision cannot be told.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn is_pruned(&self, id: DecisionId) -> Result<bool, LedgerError> {
        Ok(is_before(id, self.store.reader().pruned_until().await?))
    }
}

/// True if `id` was made until then, Unix milliseconds.
pub(super) fn is_before(id: DecisionId, until: Option<i64>) -> bool {
    until
        .and_then(|until| u64::try_from(until).ok())
        .is_some_and(|until| id <= DecisionId::new(until, &[255; 10]))
}
