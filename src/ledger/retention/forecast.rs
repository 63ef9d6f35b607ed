//! What pruning would do now, told without doing it: for whoever sets a retention, and wonders what holds records longer.

use jiff::Timestamp;
use serde::Serialize;

use super::held::Held;
use super::plan::{Due, plan};
use super::rows::ChainEnds;
use super::scene::Scene;
use super::{BITE, Retention};
use crate::ledger::{LedgerError, Reader};

/// Most records of one chain that are looked at: what is known of them is in memory.
const LOOKED_AT: usize = 1024 * BITE;

/// What would go of all chains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forecast {
    /// Records that would go now; at least so many, if a chain is not looked at to its end.
    pub records: u64,
    /// Chain by chain, oldest first.
    pub chains: Vec<ChainForecast>,
}

/// What would go of one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainForecast {
    /// Whose.
    pub writer: i64,
    /// Its first record that is there.
    pub first: i64,
    /// Its newest record.
    pub newest: i64,
    /// Records that would go now.
    pub records: u64,
    /// The last of them; none if none would.
    pub last: Option<i64>,
    /// When that was made.
    pub until: Option<Timestamp>,
    /// What holds the record behind it, and with it all that follow; empty if more were there than are looked at.
    pub held: Vec<Held>,
}

impl Reader {
    /// What pruning would do at the time `now`. What one chain lets go can free more of another one: that is not foreseen.
    ///
    /// `sinks` are the names of all sinks that are configured.
    ///
    /// # Errors
    /// The store cannot be read, or its newest checkpoint or a seal is not genuine. A chain that is not whole is one
    /// that is held.
    pub async fn forecast(
        &self,
        retention: Retention,
        sinks: &[String],
        now: Timestamp,
    ) -> Result<Forecast, LedgerError> {
        let scene = Scene::look(self, retention, sinks, now).await?;
        let mut chains = Vec::new();
        for chain in &scene.chains.ends {
            let (due, held) = match plan(self, &scene, chain, LOOKED_AT).await {
                Ok(plan) => (plan.due, plan.held),
                Err(LedgerError::Cut { .. }) => (Due::default(), vec![Held::Broken]),
                Err(error) => return Err(error),
            };
            chains.push(ChainForecast::new(chain, due, held));
        }
        Ok(Forecast { records: chains.iter().map(|chain| chain.records).sum(), chains })
    }
}

impl ChainForecast {
    fn new(chain: &ChainEnds, due: Due, held: Vec<Held>) -> Self {
        let ChainEnds { writer, first, newest, .. } = *chain;
        let Due { count, last, until } = due;
        let some = count > 0;
        Self {
            writer,
            first,
            newest,
            records: u64::try_from(count).unwrap_or(u64::MAX),
            last: some.then_some(last),
            until: some.then(|| Timestamp::from_millisecond(until).unwrap_or(Timestamp::UNIX_EPOCH)),
            held,
        }
    }
}
