//! What is read from the store, one query each.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::keys::KEY_COLUMNS;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::Waiting;
use crate::ledger::error::LedgerError;
use crate::ledger::explained::Stored;
use crate::ledger::rows::{LOOK, LeaseRow, StoredKey, UnleasedRow};
use crate::signing::KeyRecord;

/// True if something that is to be ended has its turn at ?1 and is not claimed by another worker of writer ?2.
const DUE: &str = "(q.subject IS NULL OR (q.next_try_at <= ?1
        AND (q.claimed_until IS NULL OR q.claimed_until <= ?1 OR q.claimed_by <> ?2)))";

const LEASE: &str =
    "SELECT l.id, l.decision, l.secret, l.issued_at, l.dies_at, l.revocable, l.ended_at, l.end_how,
        d.role, d.target, d.handle, l.end_asked_at, h.every, h.beat_at, l.bound_to";

const FROM_LEASES: &str = "FROM leases l JOIN decisions d ON d.id = l.decision
     LEFT JOIN heartbeats h ON h.lease = l.id";

impl LeaseRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            decision: row.get(1)?,
            secret: row.get(2)?,
            issued_at: row.get(3)?,
            dies_at: row.get(4)?,
            revocable: row.get(5)?,
            ended_at: row.get(6)?,
            end_how: row.get(7)?,
            role: row.get(8)?,
            target: row.get(9)?,
            handle: row.get(10)?,
            end_asked_at: row.get(11)?,
            heartbeat: row.get::<_, Option<i64>>(12)?.zip(row.get(13)?),
            bound_to: row.get(14)?,
            due: row.get(15)?,
        })
    }
}

/// A decision's stored parts.
pub(in crate::ledger) fn decision(
    connection: &Connection,
    id: DecisionId,
) -> rusqlite::Result<Option<Stored>> {
    connection
        .prepare_cached(
            "SELECT d.id, d.operation, d.tenant, d.principal, d.role, d.at, d.outcome, d.token, f.body, d.body, i.body,
                 d.target, d.dies_by
             FROM decisions d JOIN frames f ON f.id = d.frame LEFT JOIN inputs i ON i.decision = d.n
             WHERE d.id = ?1",
        )?
        .query_row([id.as_bytes()], |row| {
            Ok(Stored {
                decision: row.get(0)?,
                operation: row.get(1)?,
                tenant: row.get(2)?,
                principal: row.get(3)?,
                role: row.get(4)?,
                at: row.get(5)?,
                result: row.get(6)?,
                token: row.get(7)?,
                frame: row.get(8)?,
                body: row.get(9)?,
                values: row.get(10)?,
                target: row.get(11)?,
                dies_by: row.get(12)?,
            })
        })
        .optional()
}

/// A lease.
pub(in crate::ledger) fn lease(connection: &Connection, id: LeaseId) -> rusqlite::Result<Option<LeaseRow>> {
    connection
        .prepare_cached(&format!("{LEASE}, 0 {FROM_LEASES} WHERE l.id = ?1"))?
        .query_row([id.as_bytes()], LeaseRow::read)
        .optional()
}

/// Leases that somebody asked to end and that may still live, longest waiting first; `writer` is the one that asks.
pub(in crate::ledger) fn leases_to_end(
    connection: &Connection,
    now: i64,
    writer: i64,
) -> rusqlite::Result<Vec<LeaseRow>> {
    connection
        .prepare_cached(&format!(
            "{LEASE}, p.due {FROM_LEASES} JOIN (
                SELECT id, due, row_number() OVER (PARTITION BY target ORDER BY due DESC, asked) AS place FROM (
                    SELECT w.id, w.end_asked_at AS asked, e.target, {DUE} AS due
                    FROM leases w JOIN decisions e ON e.id = w.decision LEFT JOIN endings q ON q.subject = w.id
                    WHERE w.end_asked_at IS NOT NULL AND w.end_how IS NULL AND w.dies_at > ?1
                )
             ) p ON p.id = l.id
             WHERE p.place <= {LOOK} ORDER BY l.end_asked_at"
        ))?
        .query_map([now, writer], LeaseRow::read)?
        .collect()
}

/// True if a lease has a heartbeat.
pub(in crate::ledger) fn any_heartbeat(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare_cached("SELECT 1 FROM heartbeats LIMIT 1")?.exists([])
}

/// The newest decision's row; 0 without one.
pub(in crate::ledger) fn last_decision(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(n), 0) FROM decisions", [], |row| row.get(0))
}

/// How many leases are alive.
pub(in crate::ledger) fn live_leases(connection: &Connection, now: i64) -> rusqlite::Result<u32> {
    connection
        .prepare_cached("SELECT count(*) FROM leases WHERE end_how IS NULL AND dies_at > ?1")?
        .query_row([now], |row| row.get(0))
}

/// What was tried to be ended, or is being tried.
pub(in crate::ledger) fn endings(connection: &Connection) -> rusqlite::Result<Waiting> {
    connection
        .prepare_cached("SELECT count(*), count(dead_at) FROM endings")?
        .query_row([], |row| Ok(Waiting { all: row.get(0)?, dead: row.get(1)? }))
}

/// Authorisations without a lease that may have led to something that lives, oldest first; `before` is the newest
/// decision's row of earlier runs, and `writer` the one that asks.
pub(in crate::ledger) fn unleased(
    connection: &Connection,
    now: i64,
    writer: i64,
    before: i64,
) -> rusqlite::Result<Vec<UnleasedRow>> {
    connection
        .prepare_cached(&format!(
            "SELECT decision, role, target, handle, at, dies_by, n <= ?3, due, body, blocked FROM (
                SELECT *, row_number() OVER (
                    PARTITION BY target ORDER BY due DESC, blocked DESC, n
                ) AS place FROM (
                    SELECT a.decision, d.role, d.target, d.handle, d.at, a.dies_by, d.n, d.body,
                        a.state <> 'unknown' AND {DUE} AS due,
                        EXISTS (SELECT 1 FROM block_effects e WHERE e.subject = a.decision) AS blocked
                    FROM authorisations a JOIN decisions d ON d.id = a.decision
                    LEFT JOIN endings q ON q.subject = a.decision
                    WHERE a.dies_by > ?1
                )
             ) WHERE place <= {LOOK} ORDER BY n"
        ))?
        .query_map([now, writer, before], |row| {
            Ok(UnleasedRow {
                decision: row.get(0)?,
                role: row.get(1)?,
                target: row.get(2)?,
                handle: row.get(3)?,
                authorised_at: row.get(4)?,
                dies_by: row.get(5)?,
                left_behind: row.get(6)?,
                due: row.get(7)?,
                body: row.get(8)?,
                blocked: row.get(9)?,
            })
        })?
        .collect()
}

/// Every signing key, oldest first, each as the chain recorded it last.
pub(in crate::ledger) fn signing_keys(connection: &Connection) -> Result<Vec<KeyRecord>, LedgerError> {
    // One snapshot for row and record: a server may write both meanwhile.
    let snapshot = connection.unchecked_transaction()?;
    let mut recorded = recorded_keys(&snapshot)?;
    let keys = stored_keys(&snapshot)?.into_iter().map(|key| {
        let stored = serde_json::to_string(&key.change()).unwrap_or_default();
        if recorded.remove(key.kid.as_bytes()) != Some(stored) {
            return Err(LedgerError::KeyChanged(key.kid));
        }
        key.into_record().ok_or(LedgerError::Damaged { what: "signing key" })
    });
    let keys = keys.collect::<Result<_, _>>()?;
    match recorded.into_keys().next() {
        // A deleted row gives its predecessor back the right to sign.
        Some(kid) => Err(LedgerError::KeyChanged(String::from_utf8_lossy(&kid).into_owned())),
        None => Ok(keys),
    }
}

/// The newest record of each signing key, by its id.
fn recorded_keys(connection: &Connection) -> rusqlite::Result<HashMap<Vec<u8>, String>> {
    connection
        .prepare_cached(
            "SELECT subject, body FROM audit INDEXED BY audit_keys WHERE kind = 'key' ORDER BY writer, seq",
        )?
        .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default())))?
        .collect()
}

/// Every signing key as stored.
pub(in crate::ledger) fn stored_keys(connection: &Connection) -> rusqlite::Result<Vec<StoredKey>> {
    connection
        .prepare_cached(&format!("SELECT {KEY_COLUMNS} FROM signing_keys ORDER BY created_at, kid"))?
        .query_map([], StoredKey::read)?
        .collect()
}

/// The sealed keys of the issuers that follow `after` by name, with when they were fetched; a page of them.
pub(in crate::ledger) fn issuer_keys_after(
    connection: &Connection,
    after: &str,
) -> rusqlite::Result<Vec<(String, Vec<u8>, i64)>> {
    connection
        .prepare_cached(
            "SELECT issuer, sealed, fetched_at FROM issuer_keys WHERE issuer > ?1 ORDER BY issuer LIMIT 64",
        )?
        .query_map([after], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// The first bytes of the handles of what may be alive, how many begin so, and when the last of them is dead.
pub(in crate::ledger) fn living_seals(
    connection: &Connection,
    now: i64,
    length: i64,
) -> rusqlite::Result<Vec<(Vec<u8>, u32, i64)>> {
    connection
        .prepare_cached(
            "SELECT substr(handle, 1, ?2), count(*), max(until) FROM (
                SELECT d.handle AS handle, l.dies_at AS until FROM leases l JOIN decisions d ON d.id = l.decision
                WHERE l.end_how IS NULL AND l.dies_at > ?1
                UNION ALL
                SELECT d.handle, a.dies_by FROM authorisations a JOIN decisions d ON d.id = a.decision
                WHERE a.dies_by > ?1
             ) WHERE handle IS NOT NULL GROUP BY 1",
        )?
        .query_map(params![now, length], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect()
}

/// An issuer's remembered keys, sealed, and when they were fetched.
pub(in crate::ledger) fn issuer_keys(
    connection: &Connection,
    issuer: &str,
) -> rusqlite::Result<Option<(Vec<u8>, i64)>> {
    connection
        .prepare_cached("SELECT sealed, fetched_at FROM issuer_keys WHERE issuer = ?1")?
        .query_row([issuer], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

/// The number of the newest checkpoint; 0 without one.
pub(in crate::ledger) fn last_checkpoint(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT coalesce(max(n), 0) FROM checkpoints", [], |row| row.get(0))
}
