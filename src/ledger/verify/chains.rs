//! Walks every chain from its genesis, record by record.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row};

use super::authorisations::Authorisations;
use super::rows::Rows;
use super::seals;
use super::{At, FindingKind, Report};
use crate::domain::DecisionId;
use crate::ledger::chain::{Link, body_payload, genesis};
use crate::ledger::checkpoint::hex;
use crate::ledger::error::LedgerError;
use crate::ledger::kind::{BlockBody, Closed, HeadText, Kind, LiftBody, RenewedBody, Started};
use crate::ledger::seal::Seals;
use crate::secret::Fingerprint;

/// What the chains say, for the checks that follow.
#[derive(Default)]
pub(super) struct State {
    /// The store's id, as stored.
    pub(super) store: [u8; 16],
    /// What the chains say of each authorisation.
    pub(super) authorisations: Authorisations,
    /// When each lease that was renewed dies.
    pub(super) renewed: HashMap<[u8; 16], i64>,
    /// The last record's body for each signing key, of every writer that changed it.
    pub(super) keys: HashMap<Vec<u8>, HashMap<i64, String>>,
    /// The body of each block's record, its tenant, and the body of the record that lifted it.
    pub(super) blocks: HashMap<Vec<u8>, RecordedBlock>,
    /// Heads that starts of writers vouch for, with who does.
    pub(super) witnessed: Vec<(i64, HeadText)>,
    /// What vouches for the records that were pruned.
    pub(super) seals: Seals,
    /// Places of marks of blocks without a row, by their block: the block may be pruned.
    pub(super) bare_marks: Vec<(At, Vec<u8>)>,
}

/// What the chain holds of a block.
#[derive(Default)]
pub(super) struct RecordedBlock {
    pub(super) tenant: String,
    pub(super) set: Option<BlockBody>,
    pub(super) lifted: Option<LiftBody>,
}

/// One row of `audit`.
pub(super) struct Record {
    pub(super) writer: i64,
    pub(super) seq: i64,
    at: i64,
    kind: String,
    pub(super) tenant: String,
    pub(super) subject: Vec<u8>,
    pub(super) payload: Fingerprint,
    hash: Fingerprint,
    pub(super) body: Option<String>,
}

impl Record {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            writer: row.get(0)?,
            seq: row.get(1)?,
            at: row.get(2)?,
            kind: row.get(3)?,
            tenant: row.get(4)?,
            subject: row.get(5)?,
            payload: Fingerprint::from_bytes(row.get(6)?),
            hash: Fingerprint::from_bytes(row.get(7)?),
            body: row.get(8)?,
        })
    }

    /// Where it is.
    pub(super) const fn place(&self) -> At {
        At::record(self.writer, self.seq)
    }

    fn computed(&self, previous: &Fingerprint) -> Fingerprint {
        let Self { writer, seq, at, kind, tenant, subject, payload, .. } = self;
        Link { writer: *writer, seq: *seq, at: *at, kind, tenant, subject, payload }.hash(previous)
    }

    /// The 16 bytes of a decision or lease; zeros if it is about something else.
    pub(super) fn id(&self) -> [u8; 16] {
        self.subject.as_slice().try_into().unwrap_or_default()
    }
}

/// Walks all chains, and checks the rows that their records vouch for.
pub(super) fn verify(
    connection: &Connection,
    rows: &Rows<'_>,
    report: &mut Report,
) -> Result<State, LedgerError> {
    let store: Option<[u8; 16]> = connection
        .query_row("SELECT id FROM store WHERE only = 1 AND tenant = ''", [], |row| row.get(0))
        .optional()?;
    let Some(store) = store else {
        report.find(FindingKind::Missing, At::STORE, "the store's own row is gone or changed");
        return Ok(State::default());
    };
    let seals = seals::load(connection, &hex(&store), report)?;
    let mut state = State { store, seals, ..State::default() };
    let writers: Vec<(i64, [u8; 16], i64, String)> = connection
        .prepare("SELECT id, instance, started_at, tenant FROM writers ORDER BY id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_, _>>()?;
    let mut expected = 1;
    for (writer, instance, started_at, tenant) in writers {
        if writer != expected || !tenant.is_empty() {
            report.find(
                FindingKind::Missing,
                At::writer(expected),
                "its row among the writers is gone or changed",
            );
        }
        expected = writer + 1;
        report.writers += 1;
        chain(connection, writer, genesis(&store, &instance, started_at), rows, &mut state, report)?;
    }
    Ok(state)
}

fn chain(
    connection: &Connection,
    writer: i64,
    genesis: Fingerprint,
    rows: &Rows<'_>,
    state: &mut State,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let mut previous = genesis;
    let mut expected = 1;
    if let Some(seal) = state.seals.of(writer) {
        if seal.before != genesis.to_string() || seal.first != 1 {
            report.find(FindingKind::Changed, At::record(writer, 1), "its seal begins with something else");
        }
        previous = seal.after().unwrap_or(genesis);
        expected = seal.last + 1;
        state.witnessed.extend(seal.follows.iter().map(|head| (writer, head.clone())));
    }
    let begins = expected;
    let mut select = connection.prepare(
        "SELECT writer, seq, at, kind, tenant, subject, payload, hash, body FROM audit WHERE writer = ?1 ORDER BY seq",
    )?;
    let mut records = select.query_map([writer], Record::read)?;
    while let Some(record) = records.next().transpose()? {
        report.records += 1;
        if record.seq < begins {
            report.find(FindingKind::Inserted, record.place(), "a seal says that it was pruned");
            continue;
        }
        if record.seq != expected {
            let gap = format!("records {expected} to {} are gone, and no seal says so", record.seq - 1);
            report.find(FindingKind::Missing, At::record(writer, expected), gap);
        } else if record.computed(&previous) != record.hash {
            report.find(FindingKind::Changed, record.place(), "the record differs from its hash");
        }
        previous = record.hash;
        expected = record.seq + 1;
        content(&record, rows, state, report)?;
    }
    if expected == begins {
        report.find(FindingKind::CutOrRolledBack, At::writer(writer), "its whole chain is gone");
    }
    Ok(())
}

/// Checks what a record is about, and follows the state that it leads to.
fn content(
    record: &Record,
    rows: &Rows<'_>,
    state: &mut State,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let Some(kind) = Kind::parse(&record.kind) else {
        report.find(FindingKind::Changed, record.place(), "its kind is unknown");
        return Ok(());
    };
    match kind {
        Kind::Authorised => {
            state.authorisations.opened(record.id());
            rows.decision(record, report)?;
        }
        Kind::WouldAllow | Kind::Permitted | Kind::Refused => rows.decision(record, report)?,
        Kind::Leased => {
            if let Some(decision) = rows.lease(record, report)? {
                state.authorisations.closed(decision);
            }
        }
        Kind::Counted => rows.counts(record, report)?,
        Kind::Started => {
            let started: Option<Started> = body(record, report);
            let follows = started.into_iter().flat_map(|started| started.follows);
            state.witnessed.extend(follows.map(|head| (record.writer, head)));
        }
        Kind::Revision | Kind::EndGivenUp | Kind::Sealed => drop(body::<serde_json::Value>(record, report)),
        Kind::Key => {
            if body::<serde_json::Value>(record, report).is_some() {
                let of_key = state.keys.entry(record.subject.clone()).or_default();
                of_key.insert(record.writer, record.body.clone().unwrap_or_default());
            }
        }
        Kind::BlockSet => {
            let set = body(record, report);
            let block = state.blocks.entry(record.subject.clone()).or_default();
            (block.tenant, block.set) = (record.tenant.clone(), set);
        }
        Kind::BlockLifted => {
            state.blocks.entry(record.subject.clone()).or_default().lifted = body(record, report);
        }
        Kind::BlockMarked => {
            if rows.block_effects(record, report)? {
                state.bare_marks.push((record.place(), record.subject.clone()));
            }
        }
        Kind::Abandoned => closed(record, "abandoned", state, report),
        Kind::Resolved | Kind::Expired => closed(record, "unknown", state, report),
        Kind::Superseded => {
            drop(body::<serde_json::Value>(record, report));
            state.authorisations.is_now(record.id(), record.writer, "superseded");
        }
        Kind::EndAsked => {
            if let Some(asked) = body(record, report) {
                rows.end_asked(record, &asked, &state.seals, report)?;
            }
        }
        Kind::Renewed => {
            if let Some(renewed) = body::<RenewedBody>(record, report) {
                renewal(record, &renewed, state);
            }
        }
        Kind::Ended => {
            if let Some(ended) = body(record, report) {
                rows.ended(record, &ended, &state.seals, report)?;
            }
        }
    }
    Ok(())
}

/// A renewal settles its authorisation, and never makes a lease die earlier.
fn renewal(record: &Record, renewed: &RenewedBody, state: &mut State) {
    if let Ok(decision) = renewed.decision.parse::<DecisionId>() {
        state.authorisations.closed(*decision.as_bytes());
    }
    let dies_at = state.renewed.entry(record.id()).or_insert(renewed.dies_at);
    *dies_at = (*dies_at).max(renewed.dies_at);
}

fn closed(record: &Record, becomes: &'static str, state: &mut State, report: &mut Report) {
    match body(record, report) {
        Some(Closed { dead: true, .. }) => state.authorisations.closed(record.id()),
        Some(Closed { dead: false, .. }) => {
            state.authorisations.is_now(record.id(), record.writer, becomes);
        }
        None => {}
    }
}

/// The body of a record that is about nothing else, if it is what the chain holds.
fn body<T: serde::de::DeserializeOwned>(record: &Record, report: &mut Report) -> Option<T> {
    let text = record.body.as_deref().unwrap_or_default();
    if body_payload(text) != record.payload {
        report.find(FindingKind::Changed, record.place(), "its body differs from its hash");
        return None;
    }
    serde_json::from_str(text).ok()
}
