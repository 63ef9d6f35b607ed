//! Pruning: what is read to plan it, and its one transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::Apply;
use super::batch::{Batch, Entry};
use super::keys::KEY_COLUMNS;
use super::queries::stored_keys;
use crate::ledger::chain::body_payload;
use crate::ledger::event::About;
use crate::ledger::intent::Prune;
use crate::ledger::kind::Kind;
use crate::ledger::retention::{Candidate, ChainEnds, Chains};
use crate::ledger::rows::StoredKey;

/// All chains, and what says how far each is proven; `now` is Unix milliseconds.
pub(in crate::ledger) fn chains(connection: &Connection, now: i64) -> rusqlite::Result<Chains> {
    let snapshot = connection.unchecked_transaction()?;
    let chains = snapshot
        .prepare_cached(
            "SELECT w.id, w.instance, w.started_at, a.seq, a.at, (SELECT max(seq) FROM audit WHERE writer = w.id)
             FROM writers w JOIN audit a ON a.writer = w.id
                AND a.seq = (SELECT min(seq) FROM audit WHERE writer = w.id)
             ORDER BY w.id",
        )?
        .query_map([], |row| {
            Ok(ChainEnds {
                writer: row.get(0)?,
                instance: row.get(1)?,
                started_at: row.get(2)?,
                first: row.get(3)?,
                first_at: row.get(4)?,
                newest: row.get(5)?,
            })
        })?
        .collect::<Result<_, _>>()?;
    let starts = snapshot
        .prepare_cached(
            "SELECT w.id, a.body FROM writers w JOIN audit a ON a.writer = w.id AND a.seq = 1
             WHERE a.body IS NOT NULL",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let checkpoint = snapshot
        .prepare_cached("SELECT n, jws FROM checkpoints ORDER BY n DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let remembered = snapshot
        .prepare_cached(
            "SELECT min(decision) FROM (SELECT decision FROM replay WHERE expires > ?1
             UNION ALL SELECT decision FROM idempotency WHERE expires > ?1)",
        )?
        .query_row([now], |row| row.get(0))?;
    let store = snapshot.query_row("SELECT id FROM store", [], |row| row.get(0))?;
    let (seals, keys) = (seals(&snapshot)?, stored_keys(&snapshot)?);
    Ok(Chains { store, ends: chains, starts, seals, checkpoint, keys, remembered })
}

/// Bodies of all seals.
pub(in crate::ledger) fn seals(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    connection
        .prepare_cached(
            "SELECT body FROM audit WHERE kind = 'sealed' AND body IS NOT NULL ORDER BY writer, seq",
        )?
        .query_map([], |row| row.get(0))?
        .collect()
}

/// At most `limit` records of `writer` from `first` to `last`, each with what is there of what it is about.
pub(in crate::ledger) fn candidates(
    connection: &Connection,
    [writer, first, last, limit]: [i64; 4],
) -> rusqlite::Result<Vec<Candidate>> {
    connection
        .prepare_cached(
            "SELECT a.seq, a.at, a.kind, a.tenant, a.subject, a.payload, a.hash, a.body, d.n IS NOT NULL,
                au.decision IS NOT NULL, l.decision, coalesce(l.ended_at, l.dies_at),
                coalesce(m.ended_at, m.dies_at), e.subject IS NOT NULL, CASE WHEN b.id IS NOT NULL
                THEN coalesce(b.lifted_at, b.expires_at, 9223372036854775807) END, m.id
             FROM audit a LEFT JOIN decisions d ON d.id = a.subject
                LEFT JOIN authorisations au ON au.decision = a.subject
                LEFT JOIN leases l ON l.id = a.subject LEFT JOIN leases m ON m.decision = a.subject
                LEFT JOIN endings e ON e.subject = a.subject LEFT JOIN blocks b ON b.id = a.subject
             WHERE a.writer = ?1 AND a.seq BETWEEN ?2 AND ?3 ORDER BY a.seq LIMIT ?4",
        )?
        .query_map([writer, first, last, limit], |row| {
            let lease: Option<[u8; 16]> = row.get(10)?;
            let led_to: Option<[u8; 16]> = row.get(15)?;
            Ok(Candidate {
                seq: row.get(0)?,
                at: row.get(1)?,
                kind: row.get(2)?,
                tenant: row.get(3)?,
                subject: row.get(4)?,
                payload: row.get(5)?,
                hash: row.get(6)?,
                body: row.get(7)?,
                is_decision: row.get(8)?,
                is_open: row.get(9)?,
                lease: lease.zip(row.get(11)?),
                led_to: led_to.zip(row.get(12)?),
                is_ending: row.get(13)?,
                block: row.get(14)?,
            })
        })?
        .collect()
}

/// What goes, table by table: each row before what it refers to.
const OF_BLOCKS: [&str; 2] =
    ["DELETE FROM block_effects WHERE block = ?1", "DELETE FROM blocks WHERE id = ?1"];
const OF_LEASES: [&str; 2] = ["DELETE FROM heartbeats WHERE lease = ?1", "DELETE FROM leases WHERE id = ?1"];
const OF_DECISIONS: [&str; 3] = [
    "DELETE FROM inputs WHERE decision = (SELECT n FROM decisions WHERE id = ?1)",
    "DELETE FROM decision_keys WHERE decision = (SELECT n FROM decisions WHERE id = ?1)",
    "DELETE FROM decisions WHERE id = ?1",
];

impl Apply for Prune {
    fn apply(&self, batch: &mut Batch<'_>) -> rusqlite::Result<bool> {
        let Self { writer, first, last, .. } = *self;
        let ends: (Option<i64>, Option<i64>) = batch
            .sql("SELECT (SELECT min(seq) FROM audit WHERE writer = ?1), (SELECT max(seq) FROM audit WHERE writer = ?1)")?
            .query_row([writer], |row| Ok((row.get(0)?, row.get(1)?)))?;
        if ends.0 != Some(first)
            || ends.1.is_none_or(|newest| newest <= last)
            || !keys_are(batch, &self.keys)?
        {
            return Ok(false);
        }
        for (ids, statements) in [
            (&self.blocks, OF_BLOCKS.as_slice()),
            (&self.leases, OF_LEASES.as_slice()),
            (&self.decisions, OF_DECISIONS.as_slice()),
        ] {
            for id in ids {
                for statement in statements {
                    batch.sql(statement)?.execute([id])?;
                }
            }
        }
        for statement in [
            "DELETE FROM refusal_counts WHERE writer = ?1 AND seq <= ?2",
            "DELETE FROM audit WHERE writer = ?1 AND seq <= ?2",
        ] {
            batch.sql(statement)?.execute([writer, last])?;
        }
        for (kid, body) in &self.keys {
            append(batch, Kind::Key, kid.as_bytes(), body)?;
        }
        for (writer, body) in &self.seals {
            append(batch, Kind::Sealed, &writer.to_be_bytes(), body)?;
        }
        append(batch, Kind::Sealed, &writer.to_be_bytes(), &self.body)?;
        Ok(true)
    }
}

/// True if the keys are still as the plan says.
fn keys_are(batch: &Batch<'_>, keys: &[(String, String)]) -> rusqlite::Result<bool> {
    for (kid, body) in keys {
        let stored = batch
            .sql(&format!("SELECT {KEY_COLUMNS} FROM signing_keys WHERE kid = ?1"))?
            .query_row(params![kid], StoredKey::read)
            .optional()?;
        let said = stored.and_then(|key| serde_json::to_string(&key.change()).ok());
        if said.as_ref() != Some(body) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn append(batch: &mut Batch<'_>, kind: Kind, subject: &[u8], body: &str) -> rusqlite::Result<()> {
    let data = serde_json::value::RawValue::from_string(body.to_owned())
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    let entry = Entry { kind, tenant: "", subject, payload: body_payload(body), body: Some(body) };
    batch.append(&entry, || About::Server { data })
}
