//! Retention: the beginning of each chain is pruned once it is old, proven, delivered, and needed by nothing.
//!
//! A bite at a time: what goes is planned by readers, sealed by the checkpoint key, and removed in one transaction that
//! records the seal. The newest record of each chain stays, so that what was cut off behind it is still found.
//!
//! What must never happen here: that something goes which may live, which a sink has not got, or which no checkpoint
//! covers; that a chain which does not verify is cut; that a grant waits for more than one bite.

mod rows;
mod segment;

use std::collections::HashMap;
use std::time::Duration;

pub(super) use self::rows::{Candidate, ChainEnds, Chains};
use self::segment::{Rules, Segment, renewal};
use super::chain::{Link, genesis};
use super::checkpoint::{self, Claims, hex};
use super::intent::Prune;
use super::kind::{HeadText, Started};
use super::seal::{self, Seal, Seals};
use super::sinks::Cursor;
use super::{Ledger, LedgerError};
use crate::config::Retention;
use crate::domain::DecisionId;
use crate::secret::Fingerprint;
use crate::signing::{Keyring, Purpose};

/// Most records in one bite: what one transaction removes.
const BITE: usize = 128;

/// How much longer than it has to a record may stay, so that few records do not get a seal each.
const SLACK: Duration = Duration::from_hours(24);

/// What is known of all chains before one is cut.
struct Scene {
    chains: Chains,
    store: String,
    checkpoint: i64,
    seals: Seals,
    /// The last record of each chain that the newest checkpoint proves.
    covered: HashMap<i64, i64>,
    keys: HashMap<String, String>,
}

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
        let now = self.clock.now().as_millisecond();
        let cutoff = now.saturating_sub(millis(retention.records()));
        let Some(scene) = self.scene().await? else { return Ok(0) };
        let mut cursors = Vec::new();
        for sink in sinks {
            cursors.push(self.store.reader().sink_cursor(sink.clone()).await?);
        }
        let mut pruned = 0;
        for chain in &scene.chains.ends {
            if chain.first_at <= cutoff && chain.first < chain.newest {
                pruned += self.bite(&scene, chain, cutoff, &cursors, keyring).await?;
            }
        }
        Ok(pruned)
    }

    /// What is known of all chains; none as long as no checkpoint proves anything.
    async fn scene(&self) -> Result<Option<Scene>, LedgerError> {
        let chains = self.store.reader().chains(self.clock.now().as_millisecond()).await?;
        let Some((n, jws)) = &chains.checkpoint else { return Ok(None) };
        let checkpoint = *n;
        let store = hex(self.store.id());
        let checkpoints = chains.keys.iter().filter(|key| key.purpose == Purpose::Checkpoints.as_str());
        let public: Vec<String> = checkpoints.map(|key| key.public_jwk.clone()).collect();
        let claims: Claims = checkpoint::open(jws, &public).map_err(LedgerError::Checkpoint)?;
        let mut seals = Seals::default();
        for body in &chains.seals {
            let seal = seal::open(body, &store, &public).map_err(LedgerError::Seal)?;
            seals.add(seal);
        }
        let covered = covered(claims.heads, &chains.starts, &seals);
        let words = chains
            .keys
            .iter()
            .map(|key| (key.kid.clone(), serde_json::to_string(&key.change()).unwrap_or_default()));
        let keys = words.collect();
        Ok(Some(Scene { chains, store, checkpoint, seals, covered, keys }))
    }

    async fn bite(
        &self,
        scene: &Scene,
        chain: &ChainEnds,
        cutoff: i64,
        cursors: &[Cursor],
        keyring: &Keyring,
    ) -> Result<usize, LedgerError> {
        let ChainEnds { writer, instance, started_at, first, first_at, newest } = *chain;
        let covered = scene.covered.get(&writer).copied().unwrap_or(0);
        let delivered = cursors.iter().map(|cursor| cursor.delivered(writer)).min().unwrap_or(i64::MAX);
        let limit = covered.min(newest - 1).min(delivered);
        let rules =
            Rules { cutoff, remembered: scene.chains.remembered, seals: &scene.seals, keys: &scene.keys };
        let genesis = genesis(self.store.id(), &instance, started_at);
        let previous = scene.seals.of(writer);
        let Some(mut segment) = Segment::new(&rules, writer, previous, genesis) else {
            return Err(LedgerError::Damaged { what: "seal" });
        };
        if first != segment.last + 1 {
            return Err(LedgerError::Cut { writer });
        }
        for row in self.store.reader().candidates(writer, first, limit, BITE).await? {
            // Another server was faster.
            if segment.count == 0 && row.seq > first {
                return Ok(0);
            }
            if row.seq != segment.last + 1 || computed(writer, &row, &segment.after) != row.hash {
                return Err(LedgerError::Cut { writer });
            }
            let rests = match renewal(&row) {
                Some(decision) => self.store.reader().stored(decision).await?.is_some(),
                None => false,
            };
            if !segment.take(&row, rests) {
                break;
            }
        }
        let is_due = segment.count == BITE || first_at <= cutoff.saturating_sub(millis(SLACK));
        if segment.count == 0 || !is_due {
            return Ok(0);
        }
        let body = self.seal(scene, chain, &segment, genesis).sign(keyring).await?;
        let prune = Prune {
            writer,
            first,
            last: segment.last,
            leases: segment.leases,
            decisions: segment.decisions,
            blocks: segment.blocks,
            keys: segment.keys,
            seals: segment.seals,
            body,
        };
        let done = self.store.run(prune).await?;
        Ok(if done { segment.count } else { 0 })
    }

    fn seal(&self, scene: &Scene, chain: &ChainEnds, segment: &Segment<'_>, genesis: Fingerprint) -> Seal {
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

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn computed(writer: i64, row: &Candidate, previous: &Fingerprint) -> [u8; 32] {
    let Candidate { seq, at, kind, tenant, subject, payload, .. } = row;
    let payload = Fingerprint::from_bytes(*payload);
    *Link { writer, seq: *seq, at: *at, kind, tenant, subject, payload: &payload }.hash(previous).as_bytes()
}

/// The last record of each chain that `heads` prove: a head proves its own chain, whose first record, or whose seal, proves
/// the chains that it follows.
fn covered(heads: Vec<HeadText>, starts: &[(i64, String)], seals: &Seals) -> HashMap<i64, i64> {
    let mut follows: HashMap<i64, Vec<HeadText>> = HashMap::new();
    for (writer, body) in starts {
        let started = serde_json::from_str::<Started>(body).map(|started| started.follows);
        follows.insert(*writer, started.unwrap_or_default());
    }
    for seal in seals.iter() {
        follows.insert(seal.writer, seal.follows.clone());
    }
    let (mut covered, mut proven) = (HashMap::new(), heads);
    while let Some(HeadText { writer, seq, .. }) = proven.pop() {
        let known = covered.entry(writer).or_insert(0);
        *known = seq.max(*known);
        proven.extend(follows.remove(&writer).unwrap_or_default());
    }
    covered
}
