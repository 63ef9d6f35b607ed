//! The audit chain as a list: what lies beyond a place, oldest first, each chain in its own order.

use std::collections::HashMap;

use jiff::Timestamp;
use serde_json::value::{RawValue, to_raw_value};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::queries::live_writers;
use crate::domain::{DecisionId, LeaseId, Tenants};
use crate::ledger::counts::Counted;
use crate::ledger::explained::time;
use crate::ledger::search::{AuditEntry, AuditPage, AuditPlace};
use crate::secret::Fingerprint;

/// Most records that one page looks at.
const LOOK: usize = 2000;

/// The newest chains, any of which may still grow, whether its server's session is seen or not.
const GROWING: i64 = 64;

/// Records of `tenants` beyond `place`: at most `limit`, of a bounded number that are looked at.
pub(super) async fn audit(
    connection: &mut PgConnection,
    tenants: &Tenants,
    place: AuditPlace,
    limit: usize,
) -> sqlx::Result<AuditPage> {
    // Before the records: a chain that ended has nothing beyond the head that is read now.
    let live = live_writers(connection).await?;
    let heads = heads(connection, place.base).await?;
    let mut page = AuditPage { entries: Vec::new(), place, more: false };
    let mut left = LOOK;
    for (writer, head) in &heads {
        let from = page.place.of(*writer);
        if *head <= from {
            continue;
        }
        for row in records(connection, *writer, from, left + 1).await? {
            if left == 0 || page.entries.len() == limit {
                page.more = true;
                break;
            }
            left -= 1;
            page.place.read.insert(*writer, row.try_get(1)?);
            if tenants.include(&row.try_get::<String, _>(4)?) {
                page.entries.push(entry(&row)?);
            }
        }
        if page.more {
            break;
        }
    }
    counts(connection, &mut page.entries).await?;
    forget_ended(&mut page.place, &heads, &live);
    Ok(page)
}

/// The place beyond which all records were made at `since` or later.
pub(super) async fn place_at(
    connection: &mut PgConnection,
    since: Option<Timestamp>,
) -> sqlx::Result<AuditPlace> {
    let heads = heads(connection, 0).await?;
    let last = match since {
        Some(since) => last_before(connection, &heads, since.as_millisecond()).await?,
        None => heads,
    };
    let read = last.into_iter().filter(|(_, seq)| *seq > 0).collect();
    Ok(AuditPlace { read, ..AuditPlace::default() })
}

/// The writers beyond `base` in order, with their last records.
async fn heads(connection: &mut PgConnection, base: i64) -> sqlx::Result<Vec<(i64, i64)>> {
    let heads = sqlx::query_as(
        "SELECT w.id, coalesce(h.seq, 0) FROM writers w
         LEFT JOIN LATERAL (SELECT seq FROM audit WHERE writer = w.id ORDER BY seq DESC LIMIT 1) h ON true
         WHERE w.id > $1 ORDER BY w.id",
    );
    heads.bind(base).fetch_all(connection).await
}

/// The last record of each writer made before `since`, found by halving all chains at once: times grow along a chain.
async fn last_before(
    connection: &mut PgConnection,
    heads: &[(i64, i64)],
    since: i64,
) -> sqlx::Result<Vec<(i64, i64)>> {
    let mut within: Vec<(i64, i64, i64)> =
        heads.iter().map(|&(writer, head)| (writer, 0, head + 1)).collect();
    while within.iter().any(|(_, before, after)| after - before > 1) {
        let middles = within.iter().filter(|(_, before, after)| after - before > 1);
        let (writers, seqs): (Vec<i64>, Vec<i64>) =
            middles.map(|(writer, before, after)| (*writer, before + (after - before) / 2)).unzip();
        let made = sqlx::query_as(
            "SELECT a.writer, a.at FROM audit a
             JOIN unnest($1::bigint[], $2::bigint[]) AS t (writer, seq) ON t.writer = a.writer AND t.seq = a.seq",
        );
        let made: Vec<(i64, i64)> = made.bind(writers).bind(seqs).fetch_all(&mut *connection).await?;
        let made: HashMap<i64, i64> = made.into_iter().collect();
        for (writer, before, after) in within.iter_mut().filter(|(_, before, after)| after - before > 1) {
            let middle = *before + (*after - *before) / 2;
            if made.get(writer).is_none_or(|made| *made >= since) {
                *after = middle;
            } else {
                *before = middle;
            }
        }
    }
    Ok(within.into_iter().map(|(writer, before, _)| (writer, before)).collect())
}

async fn records(
    connection: &mut PgConnection,
    writer: i64,
    from: i64,
    limit: usize,
) -> sqlx::Result<Vec<PgRow>> {
    sqlx::query(
        "SELECT a.writer, a.seq, a.at, a.kind, a.tenant, a.hash, a.body, l.id, d.id, d.principal, d.role, d.operation,
             d.outcome
         FROM audit a LEFT JOIN leases l ON l.id = a.subject
             LEFT JOIN decisions d ON d.id = coalesce(l.decision, a.subject)
         WHERE a.writer = $1 AND a.seq > $2 ORDER BY a.seq LIMIT $3",
    )
    .bind(writer)
    .bind(from)
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
}

/// Keeps the place small: chains that were read to their end and cannot grow any more are one number.
fn forget_ended(place: &mut AuditPlace, heads: &[(i64, i64)], live: &[i64]) {
    let newest = heads.last().map_or(0, |(writer, _)| *writer);
    for (writer, head) in heads {
        if *writer > newest - GROWING || live.contains(writer) || place.of(*writer) < *head {
            break;
        }
        place.base = *writer;
        place.read.remove(writer);
    }
}

fn entry(row: &PgRow) -> sqlx::Result<AuditEntry> {
    let body: Option<String> = row.try_get(6)?;
    Ok(AuditEntry {
        writer: row.try_get(0)?,
        seq: row.try_get(1)?,
        at: time(row.try_get(2)?),
        kind: row.try_get(3)?,
        tenant: row.try_get(4)?,
        hash: Fingerprint::from_bytes(row.try_get(5)?).to_string(),
        lease: row.try_get::<Option<_>, _>(7)?.map(LeaseId::from_bytes),
        decision: row.try_get::<Option<_>, _>(8)?.map(DecisionId::from_bytes),
        principal: row.try_get(9)?,
        role: row.try_get(10)?,
        operation: row.try_get(11)?,
        result: row.try_get(12)?,
        data: body.and_then(|body| RawValue::from_string(body).ok()),
    })
}

/// Adds what the records of counts cover; a flush has some hundreds of rows at most.
async fn counts(connection: &mut PgConnection, entries: &mut [AuditEntry]) -> sqlx::Result<()> {
    let is_counts = |entry: &&mut AuditEntry| entry.kind == "counted" && entry.data.is_none();
    let (writers, seqs): (Vec<i64>, Vec<i64>) =
        entries.iter_mut().filter(is_counts).map(|entry| (entry.writer, entry.seq)).unzip();
    if writers.is_empty() {
        return Ok(());
    }
    let rows = sqlx::query(
        "SELECT c.writer, c.seq, c.minute, c.tenant, c.code, c.source, c.count FROM refusal_counts c
         JOIN unnest($1::bigint[], $2::bigint[]) AS t (writer, seq) ON t.writer = c.writer AND t.seq = c.seq
         ORDER BY c.minute, c.tenant, c.code, c.source",
    );
    let mut found: HashMap<(i64, i64), Vec<Counted>> = HashMap::new();
    for row in rows.bind(writers).bind(seqs).fetch_all(connection).await? {
        let counted = Counted {
            minute: row.try_get(2)?,
            tenant: row.try_get(3)?,
            code: row.try_get(4)?,
            source: row.try_get(5)?,
            count: row.try_get(6)?,
        };
        found.entry((row.try_get(0)?, row.try_get(1)?)).or_default().push(counted);
    }
    for entry in entries.iter_mut().filter(is_counts) {
        let rows = found.remove(&(entry.writer, entry.seq)).unwrap_or_default();
        entry.data = to_raw_value(&rows).ok();
    }
    Ok(())
}
