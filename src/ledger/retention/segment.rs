//! The part of a chain that can be pruned: from its first record to the first one that something still needs.
//!
//! A row goes with the record that vouches for it. Whatever says more of the same thing waits for that record: so that
//! verification can tell what was pruned from what was taken away.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::held::Held;
use super::rows::Candidate;
use crate::domain::{BlockId, DecisionId, LeaseId};
use crate::ledger::checkpoint::hex;
use crate::ledger::kind::{HeadText, Kind, RenewedBody, Started};
use crate::ledger::seal::{Kept, Seal, Sealed, Seals, bytes};
use crate::secret::Fingerprint;

/// What decides about every record.
pub(super) struct Rules<'a> {
    /// What was over later stays, Unix milliseconds.
    pub(super) cutoff: i64,
    /// How old what goes has to be, milliseconds.
    pub(super) age: i64,
    /// The oldest decision whose token or idempotency key is remembered.
    pub(super) remembered: Option<[u8; 16]>,
    pub(super) seals: &'a Seals,
    /// What the chain has to say of each signing key, by its id.
    pub(super) keys: &'a HashMap<String, String>,
}

impl Rules<'_> {
    /// When `at` is long enough ago.
    pub(super) fn past(&self, at: i64) -> Timestamp {
        Held::past(at, self.age)
    }

    /// A lease that is over at `over`, for long enough.
    fn over(&self, lease: [u8; 16], over: i64) -> Result<(), Held> {
        let lease = LeaseId::from_bytes(lease);
        if over > self.cutoff { Err(Held::Lease { lease, until: self.past(over) }) } else { Ok(()) }
    }
}

/// A segment in the making.
pub(super) struct Segment<'a> {
    rules: Rules<'a>,
    writer: i64,
    /// Decisions whose records are in it or before it, and whose rows are there: their payload.
    recorded: BTreeMap<[u8; 16], [u8; 32]>,
    /// Of them, those that led to a lease.
    needed: HashSet<[u8; 16]>,
    pub(super) leases: Vec<[u8; 16]>,
    pub(super) decisions: Vec<[u8; 16]>,
    pub(super) blocks: Vec<[u8; 16]>,
    /// Signing keys whose last word is in it: it has to be said again.
    pub(super) keys: Vec<(String, String)>,
    /// Seals of other chains that are in it.
    pub(super) seals: Vec<(i64, String)>,
    pub(super) follows: Vec<HeadText>,
    pub(super) count: usize,
    pub(super) last: i64,
    pub(super) until: i64,
    pub(super) after: Fingerprint,
}

impl<'a> Segment<'a> {
    /// An empty one of `writer`'s chain, which goes on from `previous`, or from `genesis` without one.
    pub(super) fn new(
        rules: Rules<'a>,
        writer: i64,
        previous: Option<&Seal>,
        genesis: Fingerprint,
    ) -> Option<Self> {
        let mut segment = Self {
            rules,
            writer,
            recorded: BTreeMap::new(),
            needed: HashSet::new(),
            leases: Vec::new(),
            decisions: Vec::new(),
            blocks: Vec::new(),
            keys: Vec::new(),
            seals: Vec::new(),
            follows: Vec::new(),
            count: 0,
            last: 0,
            until: 0,
            after: genesis,
        };
        if let Some(seal) = previous {
            segment.last = seal.last;
            segment.after = seal.after()?;
            segment.follows.clone_from(&seal.follows);
            for kept in &seal.kept {
                let id = bytes::<16>(&kept.decision)?;
                segment.recorded.insert(id, bytes(&kept.payload)?);
                segment.needed.insert(id);
            }
        }
        Some(segment)
    }

    /// The decisions that have to stay although their records go.
    pub(super) fn kept(&self) -> Vec<Kept> {
        let kept = self.recorded.iter().filter(|(id, _)| self.needed.contains(*id));
        kept.map(|(id, payload)| Kept { decision: hex(id), payload: hex(payload) }).collect()
    }

    /// Adds a record, unless something needs it. `renewal` says that the decision of a renewal is still there.
    pub(super) fn take(&mut self, row: &Candidate, renewal: bool) -> Result<(), Held> {
        let kind = Kind::parse(&row.kind).ok_or(Held::Unknown)?;
        let id: [u8; 16] = row.subject.as_slice().try_into().unwrap_or_default();
        match kind {
            Kind::Authorised | Kind::WouldAllow | Kind::Permitted | Kind::Refused => self.decision(id, row),
            Kind::Leased => self.lease(id, row),
            Kind::EndAsked | Kind::Ended => self.of_lease(id, row),
            Kind::Renewed => self.of_lease(id, row).and_then(|()| self.renewal(row, renewal)),
            Kind::Abandoned | Kind::Superseded | Kind::Resolved | Kind::Expired => self.of_decision(id, row),
            Kind::EndGivenUp => self.of_lease(id, row).and_then(|()| self.of_decision(id, row)),
            Kind::BlockSet => self.block(id, row),
            Kind::BlockMarked | Kind::BlockLifted => self.of_block(id, row),
            Kind::Key => {
                self.key(row);
                Ok(())
            }
            Kind::Started => self.start(row),
            Kind::Sealed => self.seal(row),
            Kind::Revision | Kind::Counted => Ok(()),
        }?;
        (self.count, self.last, self.until) = (self.count + 1, row.seq, row.at);
        self.after = Fingerprint::from_bytes(row.hash);
        Ok(())
    }

    fn decision(&mut self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let decision = DecisionId::from_bytes(id);
        if !row.is_decision {
            return Err(Held::Broken);
        }
        if row.is_open {
            return Err(Held::Open { decision });
        }
        if row.is_ending {
            return Err(Held::Ending { of: decision.to_string() });
        }
        if self.rules.remembered.is_some_and(|oldest| id >= oldest) {
            return Err(Held::Remembered { decision });
        }
        if let Some((lease, over)) = row.led_to {
            self.rules.over(lease, over)?;
            self.needed.insert(id);
        } else {
            self.decisions.push(id);
        }
        self.recorded.insert(id, row.payload);
        Ok(())
    }

    fn lease(&mut self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let Some((decision, over)) = row.lease else { return Err(Held::Broken) };
        let is_own = self.recorded.contains_key(&decision);
        self.rules.over(id, over)?;
        if row.is_ending {
            return Err(Held::Ending { of: LeaseId::from_bytes(id).to_string() });
        }
        if !is_own && self.rules.seals.kept(&decision).is_none() {
            return Err(Held::Elsewhere { of: DecisionId::from_bytes(decision).to_string() });
        }
        self.leases.push(id);
        if is_own && self.needed.remove(&decision) {
            self.decisions.push(decision);
        }
        Ok(())
    }

    /// What else is said of a lease.
    fn of_lease(&self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let can = row.lease.is_none() || self.leases.contains(&id);
        can.then_some(()).ok_or_else(|| Held::Elsewhere { of: LeaseId::from_bytes(id).to_string() })
    }

    /// What else is said of an authorisation.
    fn of_decision(&self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let can = !row.is_decision || self.recorded.contains_key(&id) || self.rules.seals.kept(&id).is_some();
        can.then_some(()).ok_or_else(|| Held::Elsewhere { of: DecisionId::from_bytes(id).to_string() })
    }

    fn renewal(&self, row: &Candidate, rests: bool) -> Result<(), Held> {
        match renewal(row).filter(|_| rests) {
            Some(decision) if !self.recorded.contains_key(decision.as_bytes()) => {
                Err(Held::Elsewhere { of: decision.to_string() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn block(&mut self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let block = BlockId::from_bytes(id);
        match row.block {
            Some(over) if over <= self.rules.cutoff => self.blocks.push(id),
            Some(i64::MAX) => return Err(Held::Block { block, until: None }),
            Some(over) => return Err(Held::Block { block, until: Some(self.rules.past(over)) }),
            None => return Err(Held::Broken),
        }
        Ok(())
    }

    /// What else is said of a block.
    fn of_block(&self, id: [u8; 16], row: &Candidate) -> Result<(), Held> {
        let can = row.block.is_none() || self.blocks.contains(&id);
        can.then_some(()).ok_or_else(|| Held::Elsewhere { of: BlockId::from_bytes(id).to_string() })
    }

    fn key(&mut self, row: &Candidate) {
        let kid = String::from_utf8_lossy(&row.subject).into_owned();
        let body = row.body.clone().unwrap_or_default();
        if self.rules.keys.get(&kid) == Some(&body) && !self.keys.iter().any(|(known, _)| *known == kid) {
            self.keys.push((kid, body));
        }
    }

    fn start(&mut self, row: &Candidate) -> Result<(), Held> {
        let started = row.body.as_deref().and_then(|body| serde_json::from_str::<Started>(body).ok());
        self.follows.extend(started.ok_or(Held::Broken)?.follows);
        Ok(())
    }

    /// A seal that still counts is recorded again; the one of this chain is followed by another one anyway.
    fn seal(&mut self, row: &Candidate) -> Result<(), Held> {
        let body = row.body.as_ref().ok_or(Held::Broken)?;
        let Sealed { seal, .. } = serde_json::from_str(body).map_err(|_| Held::Broken)?;
        let counts = self.rules.seals.of(seal.writer).is_some_and(|newest| newest.last == seal.last);
        if counts && seal.writer != self.writer && !self.seals.iter().any(|(known, _)| *known == seal.writer)
        {
            self.seals.push((seal.writer, body.clone()));
        }
        Ok(())
    }
}

/// The decision that a renewal rests on.
pub(super) fn renewal(row: &Candidate) -> Option<DecisionId> {
    if row.kind != Kind::Renewed.as_str() {
        return None;
    }
    let body: RenewedBody = serde_json::from_str(row.body.as_deref()?).ok()?;
    body.decision.parse().ok()
}
