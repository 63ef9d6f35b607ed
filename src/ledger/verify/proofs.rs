//! What says how long the chains must be: later writers, checkpoints in the store, and one kept elsewhere.

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use rusqlite::{Connection, OptionalExtension, params};

use super::chains::State;
use super::{At, FindingKind, Proven, Report};
use crate::ledger::checkpoint::{self, Claims, hex};
use crate::ledger::error::LedgerError;
use crate::ledger::explained::time;
use crate::ledger::kind::HeadText;
use crate::ledger::seal::Seals;
use crate::ledger::sqlite::queries::stored_keys;
use crate::secret::Fingerprint;
use crate::signing::Purpose;

/// Why a file proves nothing.
const NONE_FOUND: &str = "it holds none: take the events as `audit.file` or a sink of the kind `file` has them, or one \
                          JWS of them; an export of the chain has no checkpoints";

/// Holds the chains against every head that somebody has seen.
pub(super) fn verify(
    connection: &Connection,
    state: &State,
    kept: Option<&mut dyn BufRead>,
    report: &mut Report,
) -> Result<(), LedgerError> {
    for (witness, head) in &state.witnessed {
        hold(connection, &state.seals, head, &format!("writer {witness}"), report)?;
    }
    let keys: Vec<String> = stored_keys(connection)?
        .into_iter()
        .filter(|key| key.purpose == Purpose::Checkpoints.as_str())
        .map(|key| key.public_jwk)
        .collect();
    let stored = stored_checkpoints(connection, state, &keys, report)?;
    let proof = match kept {
        None => stored.map(|claims| (claims, false)),
        Some(kept) => kept_elsewhere(connection, state, kept, &keys, report)?.map(|claims| (claims, true)),
    };
    report.proven = proof.as_ref().map(|(claims, kept_elsewhere)| Proven {
        checkpoint: claims.n,
        at: time(claims.at),
        kept_elsewhere: *kept_elsewhere,
    });
    let heads = proof.map(|(claims, _)| claims.heads).unwrap_or_default();
    report.unproven_since = first_after(connection, &covered(heads, state))?.map(time);
    Ok(())
}

/// The checkpoints in the store, each against the chains; returns the newest.
fn stored_checkpoints(
    connection: &Connection,
    state: &State,
    keys: &[String],
    report: &mut Report,
) -> Result<Option<Claims>, LedgerError> {
    let mut select = connection.prepare("SELECT n, at, jws, tenant FROM checkpoints ORDER BY n")?;
    let mut rows = select.query([])?;
    let (mut expected, mut newest) = (1, None);
    while let Some(row) = rows.next()? {
        let (n, at, jws): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        report.checkpoints += 1;
        if n != expected {
            let detail = format!("checkpoints {expected} to {} are gone", n - 1);
            report.find(FindingKind::Missing, At::STORE, detail);
        }
        expected = n + 1;
        match checkpoint::open(&jws, keys) {
            Err(why) => report.find(FindingKind::Signature, At::STORE, format!("checkpoint {n}: {why}")),
            Ok(claims) => {
                if claims.n != n || claims.at != at || !row.get::<_, String>(3)?.is_empty() {
                    report.find(
                        FindingKind::Changed,
                        At::STORE,
                        format!("checkpoint {n} differs from what it signs"),
                    );
                }
                hold_all(connection, state, &claims, report)?;
                newest = Some(claims);
            }
        }
    }
    Ok(newest)
}

/// The checkpoints kept elsewhere, each against the chains; returns the newest. All of them count: after a rollback the
/// store goes on, and its newer checkpoints agree with it again, while older ones in the same file still show what is gone.
fn kept_elsewhere(
    connection: &Connection,
    state: &State,
    kept: &mut dyn BufRead,
    keys: &[String],
    report: &mut Report,
) -> Result<Option<Claims>, LedgerError> {
    let (mut newest, mut told, mut is_empty) = (None::<Claims>, HashSet::new(), true);
    for jws in checkpoint::each(kept) {
        is_empty = false;
        let claims = match checkpoint::open(&jws?, keys) {
            Ok(claims) => claims,
            // The key may be gone with a store that was rolled back to before it was made.
            Err(why) => {
                let detail = format!("a checkpoint kept elsewhere: {why}");
                report.find(FindingKind::Signature, At::STORE, detail);
                continue;
            }
        };
        hold_new(connection, state, &claims, &mut told, report)?;
        if newest.as_ref().is_none_or(|newest| newest.at <= claims.at) {
            newest = Some(claims);
        }
    }
    if is_empty { Err(LedgerError::Checkpoint(NONE_FOUND.to_owned())) } else { Ok(newest) }
}

/// Holds the chains against one checkpoint.
fn hold_all(
    connection: &Connection,
    state: &State,
    claims: &Claims,
    report: &mut Report,
) -> Result<(), LedgerError> {
    hold_new(connection, state, claims, &mut HashSet::new(), report)
}

/// The same, without the writers in `told`, of which something is known to be wrong: what follows a gap is gone too, and
/// to say so once is enough.
fn hold_new(
    connection: &Connection,
    state: &State,
    claims: &Claims,
    told: &mut HashSet<i64>,
    report: &mut Report,
) -> Result<(), LedgerError> {
    if claims.store != hex(&state.store) {
        let detail = format!("checkpoint {} is of another store", claims.n);
        report.find(FindingKind::Signature, At::STORE, detail);
    }
    let witness = format!("checkpoint {} of {}", claims.n, time(claims.at));
    for head in &claims.heads {
        let before = report.found;
        if !told.contains(&head.writer) {
            hold(connection, &state.seals, head, &witness, report)?;
        }
        if report.found > before {
            told.insert(head.writer);
        }
    }
    Ok(())
}

/// Finds the record that somebody saw.
fn hold(
    connection: &Connection,
    seals: &Seals,
    head: &HeadText,
    witness: &str,
    report: &mut Report,
) -> Result<(), LedgerError> {
    let stored: Option<[u8; 32]> = connection
        .prepare_cached("SELECT hash FROM audit WHERE writer = ?1 AND seq = ?2")?
        .query_row([head.writer, head.seq], |row| row.get(0))
        .optional()?;
    let at = At::record(head.writer, head.seq);
    let pruned = seals.of(head.writer).filter(|seal| head.seq <= seal.last);
    match stored {
        None if pruned.is_some_and(|seal| head.seq < seal.last || seal.after == head.hash) => {}
        None => {
            let detail = format!(
                "{witness} saw this record, which is not there: the tail was cut, or the store rolled back"
            );
            report.find(FindingKind::CutOrRolledBack, at, detail);
        }
        Some(hash) if Fingerprint::from_bytes(hash).to_string() != head.hash => {
            report.find(FindingKind::Changed, at, format!("{witness} saw another record here"));
        }
        Some(_) => {}
    }
    Ok(())
}

/// Up to which record each writer's chain is proven by `heads`: a head proves its own chain, whose first record proves
/// the chains that it follows.
fn covered(heads: Vec<HeadText>, state: &State) -> HashMap<i64, i64> {
    let mut covered = HashMap::new();
    let mut proven = heads;
    while let Some(HeadText { writer, seq, .. }) = proven.pop() {
        let known = covered.get(&writer).copied().unwrap_or(0);
        if seq <= known {
            continue;
        }
        covered.insert(writer, seq);
        if known == 0 {
            let follows = state.witnessed.iter().filter(|(witness, _)| *witness == writer);
            proven.extend(follows.map(|(_, head)| head.clone()));
        }
    }
    covered
}

/// The time of the earliest record that is not covered.
fn first_after(connection: &Connection, covered: &HashMap<i64, i64>) -> Result<Option<i64>, LedgerError> {
    let mut writers = connection.prepare("SELECT id FROM writers")?;
    let mut after =
        connection.prepare("SELECT at FROM audit WHERE writer = ?1 AND seq > ?2 ORDER BY seq LIMIT 1")?;
    let mut earliest: Option<i64> = None;
    for writer in writers.query_map([], |row| row.get::<_, i64>(0))? {
        let writer = writer?;
        let seq = covered.get(&writer).copied().unwrap_or(0);
        let at = after.query_row(params![writer, seq], |row| row.get(0)).optional()?;
        earliest = earliest.into_iter().chain(at).min();
    }
    Ok(earliest)
}
