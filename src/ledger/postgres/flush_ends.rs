//! Writes the attempts to end something, the heartbeats, and when this server was ready to hear them.

use sqlx::PgConnection;

use super::held::{Ending, Heartbeat, Held, Table};
use crate::ledger::heartbeats::Interval;

/// Intervals are kept this long, milliseconds: longer than any lease lives between two looks.
const KEPT_MILLIS: i64 = 24 * 3_600_000;

type Rows<'a, V> = [(&'a [u8; 16], &'a V)];

/// Writes what changed.
pub(super) async fn flush(connection: &mut PgConnection, held: &Held) -> sqlx::Result<()> {
    endings(connection, &held.endings).await?;
    heartbeats(connection, &held.heartbeats).await
}

async fn endings(connection: &mut PgConnection, table: &Table<[u8; 16], Ending>) -> sqlx::Result<()> {
    let insert = "INSERT INTO endings (subject, tenant, attempts, next_try_at, claimed_by, claimed_until, fence, dead_at)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[],
             $7::bigint[], $8::bigint[])";
    let update = "UPDATE endings e SET tenant = t.tenant, attempts = t.attempts, next_try_at = t.next_try_at,
             claimed_by = t.claimed_by, claimed_until = t.claimed_until, fence = t.fence, dead_at = t.dead_at
         FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
             $8::bigint[]) AS t (subject, tenant, attempts, next_try_at, claimed_by, claimed_until, fence, dead_at)
         WHERE e.subject = t.subject";
    write_endings(connection, insert, &table.added()).await?;
    write_endings(connection, update, &table.updated()).await?;
    delete(connection, "DELETE FROM endings WHERE subject = ANY ($1)", &table.removed()).await
}

async fn write_endings(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &Rows<'_, Ending>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(statement)
        .bind(rows.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.attempts).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.next_try_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.claimed_by).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.claimed_until).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.fence).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.dead_at).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn heartbeats(connection: &mut PgConnection, table: &Table<[u8; 16], Heartbeat>) -> sqlx::Result<()> {
    let insert = "INSERT INTO heartbeats (lease, tenant, every, beat_at, due_at)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])";
    let update =
        "UPDATE heartbeats h SET tenant = t.tenant, every = t.every, beat_at = t.beat_at, due_at = t.due_at
         FROM unnest($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
             AS t (lease, tenant, every, beat_at, due_at)
         WHERE h.lease = t.lease";
    write_heartbeats(connection, insert, &table.added()).await?;
    write_heartbeats(connection, update, &table.updated()).await?;
    delete(connection, "DELETE FROM heartbeats WHERE lease = ANY ($1)", &table.removed()).await
}

async fn write_heartbeats(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &Rows<'_, Heartbeat>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(statement)
        .bind(rows.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.every).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.beat_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.due_at).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn delete(
    connection: &mut PgConnection,
    statement: &'static str,
    keys: &[&[u8; 16]],
) -> sqlx::Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = keys.iter().map(|key| key.as_slice()).collect();
    sqlx::query(statement).bind(keys).execute(connection).await?;
    Ok(())
}

/// Notes when `writer` was ready, and forgets what was long ago.
pub(super) async fn ready(
    connection: &mut PgConnection,
    writer: i64,
    intervals: &[Interval],
) -> sqlx::Result<()> {
    for interval in intervals {
        sqlx::query(
            "INSERT INTO ready (writer, tenant, since, until) VALUES ($1, '', $2, $3)
             ON CONFLICT (writer, since) DO UPDATE SET until = excluded.until",
        )
        .bind(writer)
        .bind(interval.since)
        .bind(interval.until)
        .execute(&mut *connection)
        .await?;
        // What another server forgets just now is left to it.
        sqlx::query(
            "DELETE FROM ready WHERE (writer, since) IN (
                 SELECT writer, since FROM ready WHERE until < $1 FOR UPDATE SKIP LOCKED)",
        )
        .bind(interval.until - KEPT_MILLIS)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
