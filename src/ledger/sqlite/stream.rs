//! The audit table as a stream: what lies beyond a sink's cursor, a bounded batch at a time.

use rusqlite::{Connection, Row, params};

use crate::ledger::counts::Counted;
use crate::ledger::kind::Kind;
use crate::ledger::sinks::{
    Ahead, CHECKPOINTS, Content, Cursor, DecisionParts, Place, StoredRecord, StreamRow,
};

/// How far a sink has come.
pub(in crate::ledger) fn cursor(connection: &Connection, sink: &str) -> rusqlite::Result<Cursor> {
    let places = connection
        .prepare_cached("SELECT writer, seq FROM sink_cursors WHERE sink = ?1")?
        .query_map([sink], |row| Ok(Place { writer: row.get(0)?, seq: row.get(1)? }))?
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Cursor::new(places))
}

/// How many records lie beyond `cursor`.
pub(in crate::ledger) fn lag(connection: &Connection, cursor: &Cursor) -> rusqlite::Result<i64> {
    Ok(behind(connection, cursor)?.iter().map(|(place, head)| head - place.seq).sum())
}

/// The next records beyond `cursor`: at most `limit`, or about `bytes`. Chains that are behind take turns.
pub(in crate::ledger) fn ahead(
    connection: &Connection,
    cursor: &Cursor,
    limit: usize,
    bytes: usize,
) -> rusqlite::Result<Ahead> {
    let behind = behind(connection, cursor)?;
    let records = behind.iter().map(|(place, head)| head - place.seq).sum();
    let share = (limit / behind.len().max(1)).max(1);
    let mut rows = Vec::new();
    let mut weight = 0;
    for (from, _) in behind.into_iter().take(limit) {
        let (sql, read): (_, fn(&Row<'_>) -> _) = if from.writer == CHECKPOINTS {
            (CHECKPOINT_ROWS, read_checkpoint)
        } else {
            (RECORD_ROWS, read_record)
        };
        let mut statement = connection.prepare_cached(sql)?;
        let found = statement
            .query_map(params![from.writer, from.seq, i64::try_from(share).unwrap_or(i64::MAX)], read)?;
        for row in found {
            let row = row?;
            weight += row.weight();
            rows.push(row);
            if weight >= bytes {
                return with_counts(connection, rows, records);
            }
        }
    }
    with_counts(connection, rows, records)
}

/// The chains with records beyond `cursor`: where the cursor stands, and the newest sequence number.
fn behind(connection: &Connection, cursor: &Cursor) -> rusqlite::Result<Vec<(Place, i64)>> {
    let mut heads = connection.prepare_cached(
        "SELECT id, (SELECT max(seq) FROM audit WHERE writer = id) FROM writers WHERE id >= ?1
         UNION ALL SELECT 0, max(n) FROM checkpoints",
    )?;
    let heads = heads.query_map([cursor.first_writer()], |row| {
        Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.unwrap_or(0)))
    })?;
    Ok(cursor.behind(heads.collect::<rusqlite::Result<Vec<_>>>()?))
}

const RECORD_ROWS: &str =
    "SELECT a.writer, a.seq, a.at, a.kind, a.tenant, a.subject, a.hash, a.body, l.decision,
        coalesce(l.first_dies_at, l.dies_at),
        d.principal, d.role, d.operation, d.outcome
     FROM audit a LEFT JOIN leases l ON l.id = a.subject
        LEFT JOIN decisions d ON d.id = coalesce(l.decision, a.subject)
     WHERE a.writer = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3";

const CHECKPOINT_ROWS: &str = "SELECT ?1, n, at, jws FROM checkpoints WHERE n > ?2 ORDER BY n LIMIT ?3";

fn read_record(row: &Row<'_>) -> rusqlite::Result<StreamRow> {
    let lease: Option<[u8; 16]> = row.get(8)?;
    let lease = match lease {
        Some(decision) => Some((decision, row.get(9)?)),
        None => None,
    };
    let decision = match row.get(10)? {
        Some(principal) => {
            let (role, operation, outcome) = (row.get(11)?, row.get(12)?, row.get(13)?);
            Some(DecisionParts { principal, role, operation, outcome })
        }
        None => None,
    };
    let record = StoredRecord {
        kind: row.get(3)?,
        tenant: row.get(4)?,
        subject: row.get(5)?,
        hash: row.get(6)?,
        body: row.get(7)?,
        lease,
        decision,
        marked: (0, 0),
        counted: Vec::new(),
    };
    let place = Place { writer: row.get(0)?, seq: row.get(1)? };
    Ok(StreamRow { place, at: row.get(2)?, content: Content::Record(Box::new(record)) })
}

fn read_checkpoint(row: &Row<'_>) -> rusqlite::Result<StreamRow> {
    let place = Place { writer: row.get(0)?, seq: row.get(1)? };
    Ok(StreamRow { place, at: row.get(2)?, content: Content::Checkpoint { jws: row.get(3)? } })
}

/// Adds the counts to the records that cover some; a flush has some hundreds of rows at most.
fn with_counts(connection: &Connection, mut rows: Vec<StreamRow>, records: i64) -> rusqlite::Result<Ahead> {
    for row in &mut rows {
        let Content::Record(record) = &mut row.content else { continue };
        if !record.may_count() {
            continue;
        }
        if record.kind == Kind::BlockMarked.as_str() {
            record.marked = marked(connection, row.place)?;
            continue;
        }
        record.counted = connection
            .prepare_cached(
                "SELECT minute, tenant, code, source, count FROM refusal_counts WHERE writer = ?1 AND seq = ?2
                 ORDER BY minute, tenant, code, source",
            )?
            .query_map([row.place.writer, row.place.seq], |row| {
                Ok(Counted {
                    minute: row.get(0)?,
                    tenant: row.get(1)?,
                    code: row.get(2)?,
                    source: row.get(3)?,
                    count: row.get(4)?,
                })
            })?
            .collect::<Result<_, _>>()?;
    }
    Ok(Ahead { rows, records })
}

/// How many leases and authorisations the record at `place` says a block marked.
fn marked(connection: &Connection, place: Place) -> rusqlite::Result<(i64, i64)> {
    connection
        .prepare_cached(
            "SELECT count(*) FILTER (WHERE leased), count(*) FILTER (WHERE NOT leased) FROM block_effects
             WHERE writer = ?1 AND seq = ?2",
        )?
        .query_row([place.writer, place.seq], |row| Ok((row.get(0)?, row.get(1)?)))
}
