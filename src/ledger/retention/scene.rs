//! What is known of all chains before one is cut: what they are, and how far each is proven and delivered.

use std::collections::HashMap;

use jiff::Timestamp;

use super::held::Held;
use super::rows::{Candidate, ChainEnds, Chains};
use super::segment::Rules;
use crate::config::Retention;
use crate::ledger::checkpoint::{self, Claims, hex};
use crate::ledger::kind::{HeadText, Started};
use crate::ledger::rows::StoredKey;
use crate::ledger::seal::{self, Seals};
use crate::ledger::sinks::Cursor;
use crate::ledger::{LedgerError, Reader};
use crate::signing::Purpose;

/// All chains at one moment.
pub(super) struct Scene {
    pub(super) chains: Chains,
    /// The store's id, hex.
    pub(super) store: String,
    /// The newest checkpoint; 0 without one, which proves nothing.
    pub(super) checkpoint: i64,
    pub(super) seals: Seals,
    /// The last record of each chain that the newest checkpoint proves.
    covered: HashMap<i64, i64>,
    /// What the chains have to say of each signing key, by its id.
    keys: HashMap<String, String>,
    /// How far each configured sink has come, by its name.
    cursors: Vec<(String, Cursor)>,
    /// What is younger stays, Unix milliseconds.
    pub(super) cutoff: i64,
    /// How old what goes has to be, milliseconds.
    age: i64,
}

impl Scene {
    /// Looks at the store; `sinks` are the names of all sinks that are configured.
    ///
    /// # Errors
    /// The store cannot be read, or its newest checkpoint or a seal is not genuine.
    pub(super) async fn look(
        reader: &Reader,
        retention: Retention,
        sinks: &[String],
        now: Timestamp,
    ) -> Result<Self, LedgerError> {
        let now = now.as_millisecond();
        let chains = reader.chains(now).await?;
        let mut cursors = Vec::new();
        for sink in sinks {
            cursors.push((sink.clone(), reader.sink_cursor(sink.clone()).await?));
        }
        let store = hex(&chains.store);
        let signing = chains.keys.iter().filter(|key| key.purpose == Purpose::Checkpoints.as_str());
        let public: Vec<String> = signing.map(|key| key.public_jwk.clone()).collect();
        let mut seals = Seals::default();
        for body in &chains.seals {
            seals.add(seal::open(body, &store, &public).map_err(LedgerError::Seal)?);
        }
        let (mut checkpoint, mut heads) = (0, Vec::new());
        if let Some((n, jws)) = &chains.checkpoint {
            let claims: Claims = checkpoint::open(jws, &public).map_err(LedgerError::Checkpoint)?;
            (checkpoint, heads) = (*n, claims.heads);
        }
        let covered = covered(heads, &chains.starts, &seals);
        let said =
            |key: &StoredKey| (key.kid.clone(), serde_json::to_string(&key.change()).unwrap_or_default());
        let keys = chains.keys.iter().map(said).collect();
        let age = i64::try_from(retention.records().as_millis()).unwrap_or(i64::MAX);
        let cutoff = now.saturating_sub(age);
        Ok(Self { chains, store, checkpoint, seals, covered, keys, cursors, cutoff, age })
    }

    /// What decides about every record.
    pub(super) fn rules(&self) -> Rules<'_> {
        let Self { cutoff, age, seals, keys, .. } = self;
        Rules { cutoff: *cutoff, age: *age, remembered: self.chains.remembered, seals, keys }
    }

    /// What holds a record of `chain` whatever it is about.
    pub(super) fn holds(&self, chain: &ChainEnds, row: &Candidate) -> Vec<Held> {
        let seq = row.seq;
        if seq >= chain.newest {
            return vec![Held::Newest];
        }
        let mut held = Vec::new();
        if row.at > self.cutoff {
            held.push(Held::Young { until: Held::past(row.at, self.age) });
        }
        if seq > self.covered.get(&chain.writer).copied().unwrap_or(0) {
            held.push(Held::Unproven);
        }
        let late = self.cursors.iter().filter(|(_, cursor)| seq > cursor.delivered(chain.writer));
        held.extend(late.map(|(sink, _)| Held::Undelivered { sink: sink.clone() }));
        held
    }
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
