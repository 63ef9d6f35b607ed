//! The other direction: rows that no record of a chain vouches for.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::authorisations::Authorisations;
use super::chains::State;
use super::rows::Rows;
use super::{At, FindingKind, Report};
use crate::ledger::error::LedgerError;
use crate::ledger::seal::bytes;
use crate::ledger::sqlite::block_queries::all_blocks;
use crate::ledger::sqlite::queries::stored_keys;

const DECISION: &str = "a decision";
const FRAME: &str = "a frame";

/// What must not exist without a record, and how to find it. SQLite indexes `audit` for the time of each query.
const ORPHANS: [(&str, &str); 10] = [
    (
        DECISION,
        "SELECT hex(d.id) FROM decisions d LEFT JOIN audit a ON a.subject = d.id
             AND a.kind IN ('authorised', 'would_allow', 'permitted', 'refused') WHERE a.seq IS NULL",
    ),
    (
        "an input",
        "SELECT i.decision FROM inputs i LEFT JOIN decisions d ON d.n = i.decision WHERE d.n IS NULL",
    ),
    (FRAME, "SELECT f.id FROM frames f LEFT JOIN decisions d ON d.frame = f.id WHERE d.n IS NULL"),
    (
        "a lease",
        "SELECT hex(l.id) FROM leases l LEFT JOIN audit a ON a.subject = l.id AND a.kind = 'leased'
             WHERE a.seq IS NULL",
    ),
    (
        "the request to end a lease",
        "SELECT hex(l.id) FROM leases l LEFT JOIN audit a ON a.subject = l.id AND a.kind = 'end_asked'
             WHERE l.end_asked_at IS NOT NULL AND a.seq IS NULL",
    ),
    (
        "the end of a lease",
        "SELECT hex(l.id) FROM leases l LEFT JOIN audit a ON a.subject = l.id AND a.kind = 'ended'
             WHERE (l.ended_at IS NOT NULL OR l.end_how IS NOT NULL) AND a.seq IS NULL",
    ),
    (
        "a count of refusals",
        "SELECT c.minute FROM refusal_counts c LEFT JOIN audit a
             ON a.writer = c.writer AND a.seq = c.seq AND a.kind = 'counted' WHERE a.seq IS NULL",
    ),
    (
        "the keys of a decision",
        "SELECT k.decision FROM decision_keys k LEFT JOIN decisions d ON d.n = k.decision WHERE d.n IS NULL",
    ),
    (
        "the effect of a block",
        "SELECT hex(e.subject) FROM block_effects e LEFT JOIN audit a
             ON a.writer = e.writer AND a.seq = e.seq AND a.kind = 'block_marked' WHERE a.seq IS NULL",
    ),
    (
        "a record",
        "SELECT a.writer || '/' || a.seq FROM audit a LEFT JOIN writers w ON w.id = a.writer WHERE w.id IS NULL",
    ),
];

/// Looks for rows without a record, and compares the tables whose rows come and go with what the chains say.
pub(super) fn verify(
    connection: &Connection,
    rows: &Rows<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), LedgerError> {
    for (what, query) in ORPHANS {
        let mut select = connection.prepare(query)?;
        let mut found = select.query([])?;
        while let Some(row) = found.next()? {
            // Frames are shared, and stay when the last decision that used them was pruned.
            if what == FRAME && !state.seals.is_empty() {
                continue;
            }
            let name = match row.get(0)? {
                rusqlite::types::Value::Text(text) => text.to_lowercase(),
                other => format!("{other:?}"),
            };
            if what == DECISION && state.seals.kept_by_name(&name).is_some() {
                continue;
            }
            report.find(FindingKind::Inserted, At::STORE, format!("no chain holds {what}: {name}"));
        }
    }
    kept(connection, rows, state, report)?;
    authorisations(connection, &state.authorisations, report)?;
    renewals(connection, state, report)?;
    blocks(connection, state, report)?;
    signing_keys(connection, &state.keys, report)
}

/// Decisions whose records were pruned and that a lease still needs are what their seals say.
fn kept(
    connection: &Connection,
    rows: &Rows<'_>,
    state: &State,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let mut needed = connection.prepare("SELECT 1 FROM leases WHERE decision = ?1")?;
    for seal in state.seals.iter() {
        for kept in &seal.kept {
            let id: [u8; 16] = bytes(&kept.decision).unwrap_or_default();
            let stored = rows.payload_of(&id)?.map(|payload| payload.to_string());
            let gone = stored.is_none() && !needed.exists([id])?;
            if !gone && stored.as_ref() != Some(&kept.payload) {
                let detail = format!("the decision {} differs from what its seal says", kept.decision);
                report.find(FindingKind::Changed, At::writer(seal.writer), detail);
            }
        }
    }
    Ok(())
}

fn authorisations(
    connection: &Connection,
    expected: &Authorisations,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let mut select = connection.prepare(
        "SELECT a.decision, a.state, a.dies_by IS d.dies_by AND a.tenant IS d.tenant
         FROM authorisations a LEFT JOIN decisions d ON d.id = a.decision",
    )?;
    let mut rows = select.query([])?;
    let mut present = HashSet::new();
    while let Some(row) = rows.next()? {
        let decision: Vec<u8> = row.get(0)?;
        if !expected.agree(&decision, row.get::<_, String>(1)?.as_str()) || !row.get::<_, bool>(2)? {
            let detail = format!("the authorisation {} differs from its chain", name(&decision));
            report.find(FindingKind::Changed, At::STORE, detail);
        }
        present.insert(decision);
    }
    for decision in expected.missing(&present) {
        let detail = format!("the open authorisation {} is gone", name(&decision));
        report.find(FindingKind::Missing, At::STORE, detail);
    }
    Ok(())
}

/// A renewed lease dies when its last renewal says, and no other lease claims to be renewed.
fn renewals(connection: &Connection, state: &State, report: &mut Report) -> Result<(), LedgerError> {
    let mut select = connection.prepare("SELECT id, dies_at FROM leases WHERE first_dies_at IS NOT NULL")?;
    let mut rows = select.query([])?;
    let mut missing = state.renewed.clone();
    while let Some(row) = rows.next()? {
        let lease: Vec<u8> = row.get(0)?;
        let renewed = <[u8; 16]>::try_from(lease.as_slice()).ok().and_then(|id| missing.remove(&id));
        if renewed != Some(row.get(1)?) {
            let detail = format!("the renewal of the lease {} differs from its chain", name(&lease));
            report.find(FindingKind::Changed, At::STORE, detail);
        }
    }
    let mut there = connection.prepare("SELECT 1 FROM leases WHERE id = ?1")?;
    for lease in missing.keys() {
        // A lease that is gone is found by its own record, unless that was pruned, and the lease with it.
        if !state.seals.is_empty() && !there.exists([lease])? {
            continue;
        }
        let detail = format!("the renewal of the lease {} is gone", name(lease));
        report.find(FindingKind::Missing, At::STORE, detail);
    }
    Ok(())
}

fn blocks(connection: &Connection, state: &State, report: &mut Report) -> Result<(), LedgerError> {
    let expected = &state.blocks;
    let stored = all_blocks(connection)?;
    for block in &stored {
        let fits = expected.get(block.id.as_bytes().as_slice()).is_some_and(|recorded| {
            recorded.set.as_ref() == Some(&block.body())
                && recorded.tenant == block.tenant
                && recorded.lifted == block.lift_body()
                && block.lifted_at.is_some() == block.lifted_by.is_some()
        });
        if !fits {
            let detail = format!("the block {} differs from what was recorded", block.id);
            report.find(FindingKind::Changed, At::STORE, detail);
        }
    }
    let stored: HashSet<&[u8]> = stored.iter().map(|block| block.id.as_bytes().as_slice()).collect();
    // What was pruned has left no record that it was set.
    let pruned =
        |id: &[u8]| !state.seals.is_empty() && expected.get(id).is_none_or(|block| block.set.is_none());
    for (at, id) in &state.bare_marks {
        if !pruned(id) {
            report.find(FindingKind::Changed, *at, "what its block ended is gone");
        }
    }
    for id in expected.keys() {
        if !stored.contains(id.as_slice()) && !pruned(id) {
            report.find(FindingKind::Missing, At::STORE, format!("the block {} is gone", name(id)));
        }
    }
    Ok(())
}

fn name(id: &[u8]) -> String {
    crate::ledger::checkpoint::hex(id)
}

fn signing_keys(
    connection: &Connection,
    expected: &HashMap<Vec<u8>, HashMap<i64, String>>,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let keys = stored_keys(connection)?;
    let foreign: i64 =
        connection.query_row("SELECT count(*) FROM signing_keys WHERE tenant <> ''", [], |row| row.get(0))?;
    if foreign > 0 {
        report.find(FindingKind::Changed, At::STORE, "a signing key was given to a tenant");
    }
    for key in &keys {
        let stored = serde_json::to_string(&key.change()).unwrap_or_default();
        let said = expected.get(key.kid.as_bytes());
        if !said.is_some_and(|said| said.values().any(|word| *word == stored)) {
            let detail = format!("the signing key {} differs from what was recorded", key.kid);
            report.find(FindingKind::Changed, At::STORE, detail);
        }
    }
    for kid in expected.keys() {
        if !keys.iter().any(|key| key.kid.as_bytes() == kid.as_slice()) {
            let detail = format!("the signing key {} is gone", String::from_utf8_lossy(kid));
            report.find(FindingKind::Missing, At::STORE, detail);
        }
    }
    Ok(())
}
