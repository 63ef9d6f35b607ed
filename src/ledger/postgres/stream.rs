//! The audit table as a stream: what lies beyond a sink's cursor, a bounded batch at a time.

use std::collections::HashMap;

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::ledger::counts::Counted;
use crate::ledger::sinks::{
    Ahead, CHECKPOINTS, Content, Cursor, DecisionParts, Place, StoredRecord, StreamRow,
};

const RECORD_ROWS: &str =
    "SELECT a.writer, a.seq, a.at, a.kind, a.tenant, a.subject, a.hash, a.body, l.decision,
        coalesce(l.first_dies_at, l.dies_at),
        d.principal, d.role, d.operation, d.outcome
     FROM audit a LEFT JOIN leases l ON l.id = a.subject
        LEFT JOIN decisions d ON d.id = coalesce(l.decision, a.subject)
     WHERE a.writer = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3";

const CHECKPOINT_ROWS: &str = "SELECT $1, n, at, jws FROM checkpoints WHERE n > $2 ORDER BY n LIMIT $3";

/// How far a sink has come.
pub(super) async fn cursor(connection: &mut PgConnection, sink: &str) -> sqlx::Result<Cursor> {
    let rows = sqlx::query("SELECT writer, seq FROM sink_cursors WHERE sink = $1").bind(sink);
    let read = |row: PgRow| Ok(Place { writer: row.try_get(0)?, seq: row.try_get(1)? });
    let places = rows.fetch_all(connection).await?.into_iter().map(read);
    Ok(Cursor::new(places.collect::<sqlx::Result<Vec<_>>>()?))
}

/// The writers that may have something to send, in order, with their newest sequence numbers.
pub(super) async fn heads(connection: &mut PgConnection, cursor: &Cursor) -> sqlx::Result<Vec<(i64, i64)>> {
    let heads = sqlx::query_as(
        "SELECT w.id, coalesce((SELECT max(seq) FROM audit WHERE writer = w.id), 0) FROM writers w
         WHERE w.id >= $1 ORDER BY w.id",
    );
    heads.bind(cursor.first_writer()).fetch_all(connection).await
}

/// How many records lie beyond `cursor`.
pub(super) async fn lag(connection: &mut PgConnection, cursor: &Cursor) -> sqlx::Result<i64> {
    Ok(behind(connection, cursor).await?.iter().map(|(place, head)| head - place.seq).sum())
}

/// The next records beyond `cursor`: at most `limit`, or about `bytes`. Chains that are behind take turns.
pub(super) async fn ahead(
    connection: &mut PgConnection,
    cursor: &Cursor,
    limit: usize,
    bytes: usize,
) -> sqlx::Result<Ahead> {
    let behind = behind(connection, cursor).await?;
    let records = behind.iter().map(|(place, head)| head - place.seq).sum();
    let share = i64::try_from((limit / behind.len().max(1)).max(1)).unwrap_or(i64::MAX);
    let mut ahead = Ahead { rows: Vec::new(), records };
    let mut weight = 0;
    for (from, _) in behind.into_iter().take(limit) {
        let (sql, read): (_, fn(&PgRow) -> _) = if from.writer == CHECKPOINTS {
            (CHECKPOINT_ROWS, read_checkpoint)
        } else {
            (RECORD_ROWS, read_record)
        };
        let mut found = sqlx::query(sql).bind(from.writer).bind(from.seq).bind(share).fetch(&mut *connection);
        while weight < bytes
            && let Some(row) = found.try_next().await?
        {
            let row = read(&row)?;
            weight += row.weight();
            ahead.rows.push(row);
        }
        if weight >= bytes {
            break;
        }
    }
    add_counts(connection, &mut ahead.rows).await?;
    Ok(ahead)
}

/// The chains with records beyond `cursor`: where the cursor stands, and the newest sequence number.
async fn behind(connection: &mut PgConnection, cursor: &Cursor) -> sqlx::Result<Vec<(Place, i64)>> {
    let mut heads = heads(connection, cursor).await?;
    let last = sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM checkpoints");
    heads.push((CHECKPOINTS, last.fetch_one(connection).await?));
    Ok(cursor.behind(heads))
}

fn read_record(row: &PgRow) -> sqlx::Result<StreamRow> {
    let lease: Option<[u8; 16]> = row.try_get(8)?;
    let lease = match lease {
        Some(decision) => Some((decision, row.try_get(9)?)),
        None => None,
    };
    let decision = match row.try_get(10)? {
        Some(principal) => {
            let (role, operation, outcome) = (row.try_get(11)?, row.try_get(12)?, row.try_get(13)?);
            Some(DecisionParts { principal, role, operation, outcome })
        }
        None => None,
    };
    let record = StoredRecord {
        kind: row.try_get(3)?,
        tenant: row.try_get(4)?,
        subject: row.try_get(5)?,
        hash: row.try_get(6)?,
        body: row.try_get(7)?,
        lease,
        decision,
        marked: (0, 0),
        counted: Vec::new(),
    };
    let place = Place { writer: row.try_get(0)?, seq: row.try_get(1)? };
    Ok(StreamRow { place, at: row.try_get(2)?, content: Content::Record(Box::new(record)) })
}

fn read_checkpoint(row: &PgRow) -> sqlx::Result<StreamRow> {
    let place = Place { writer: row.try_get(0)?, seq: row.try_get(1)? };
    Ok(StreamRow { place, at: row.try_get(2)?, content: Content::Checkpoint { jws: row.try_get(3)? } })
}

/// Adds the counts, and how much a block marked, to the records that cover some.
async fn add_counts(connection: &mut PgConnection, rows: &mut [StreamRow]) -> sqlx::Result<()> {
    let counting = rows.iter_mut().filter_map(|row| match &mut row.content {
        Content::Record(record) if record.may_count() => Some(((row.place.writer, row.place.seq), record)),
        Content::Record(_) | Content::Checkpoint { .. } => None,
    });
    let mut counting: HashMap<(i64, i64), &mut Box<StoredRecord>> = counting.collect();
    if counting.is_empty() {
        return Ok(());
    }
    let (writers, seqs): (Vec<i64>, Vec<i64>) = counting.keys().copied().unzip();
    let marked = sqlx::query(
        "SELECT e.writer, e.seq, count(*) FILTER (WHERE e.leased = 1), count(*) FILTER (WHERE e.leased = 0)
         FROM block_effects e JOIN unnest($1::bigint[], $2::bigint[]) AS t (writer, seq) USING (writer, seq)
         GROUP BY 1, 2",
    );
    for row in marked.bind(&writers).bind(&seqs).fetch_all(&mut *connection).await? {
        if let Some(record) = counting.get_mut(&(row.try_get(0)?, row.try_get(1)?)) {
            record.marked = (row.try_get(2)?, row.try_get(3)?);
        }
    }
    let found = sqlx::query(
        "SELECT c.writer, c.seq, c.minute, c.tenant, c.code, c.source, c.count
         FROM refusal_counts c JOIN unnest($1::bigint[], $2::bigint[]) AS t (writer, seq) USING (writer, seq)
         ORDER BY c.minute, c.tenant COLLATE \"C\", c.code COLLATE \"C\", c.source COLLATE \"C\"",
    );
    for row in found.bind(writers).bind(seqs).fetch_all(connection).await? {
        let Some(record) = counting.get_mut(&(row.try_get(0)?, row.try_get(1)?)) else { continue };
        record.counted.push(Counted {
            minute: row.try_get(2)?,
            tenant: row.try_get(3)?,
            code: row.try_get(4)?,
            source: row.try_get(5)?,
            count: row.try_get(6)?,
        });
    }
    Ok(())
}
