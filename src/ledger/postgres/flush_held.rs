//! Writes the rows that come and go: what is new is inserted, and fails if another server came first.

use sqlx::PgConnection;

use super::flush_ends;
use super::held::{Attempt, Authorisation, Claim, Held, Lease, Table};

type Rows<'a, V> = [(&'a [u8; 32], &'a V)];

/// Writes what changed.
pub(super) async fn flush(connection: &mut PgConnection, held: &Held, writer: i64) -> sqlx::Result<()> {
    authorisations(connection, &held.authorisations, writer).await?;
    leases(connection, &held.leases).await?;
    flush_ends::flush(connection, held).await?;
    idempotency(connection, &held.idempotency).await?;
    replay(connection, &held.replay).await
}

async fn authorisations(
    connection: &mut PgConnection,
    table: &Table<[u8; 16], Authorisation>,
    writer: i64,
) -> sqlx::Result<()> {
    let added = table.added();
    if !added.is_empty() {
        sqlx::query(
            "INSERT INTO authorisations (decision, tenant, state, epoch, dies_by, writer)
             SELECT t.*, $6 FROM unnest($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) AS t",
        )
        .bind(added.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.state.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.epoch).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.dies_by).collect::<Vec<_>>())
        .bind(writer)
        .execute(&mut *connection)
        .await?;
    }
    let updated = table.updated();
    if !updated.is_empty() {
        sqlx::query(
            "UPDATE authorisations a SET state = t.state FROM unnest($1::bytea[], $2::text[]) AS t (decision, state)
             WHERE a.decision = t.decision",
        )
        .bind(updated.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.state.as_str()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    let removed = table.removed();
    if !removed.is_empty() {
        sqlx::query("DELETE FROM authorisations WHERE decision = ANY ($1)")
            .bind(removed.iter().map(|id| id.as_slice()).collect::<Vec<_>>())
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn leases(connection: &mut PgConnection, table: &Table<[u8; 16], Lease>) -> sqlx::Result<()> {
    let added = table.added();
    if !added.is_empty() {
        sqlx::query(
            "INSERT INTO leases (id, tenant, decision, secret, issued_at, dies_at, revocable, end_asked_at,
                 bound_to)
             SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bigint[], $6::bigint[],
                 $7::bigint[], $8::bigint[], $9::bytea[])",
        )
        .bind(added.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.decision.as_slice()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.secret.as_slice()).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.issued_at).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.dies_at).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.revocable).collect::<Vec<_>>())
        // A retry in the same batch may take its place at once.
        .bind(added.iter().map(|(_, row)| row.end_asked_at).collect::<Vec<_>>())
        .bind(added.iter().map(|(_, row)| row.bound_to.as_ref().map(<[u8; 32]>::as_slice)).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    }
    let updated = table.updated();
    if !updated.is_empty() {
        sqlx::query(
            "UPDATE leases l SET end_asked_at = t.asked, ended_at = t.ended, end_how = t.how, dies_at = t.dies,
                 first_dies_at = t.first
             FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[])
                 AS t (id, asked, ended, how, dies, first)
             WHERE l.id = t.id",
        )
        .bind(updated.iter().map(|(id, _)| id.as_slice()).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.end_asked_at).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.ended_at).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.end_how.as_deref()).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.dies_at).collect::<Vec<_>>())
        .bind(updated.iter().map(|(_, row)| row.first_dies_at).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    }
    Ok(())
}

async fn idempotency(connection: &mut PgConnection, table: &Table<[u8; 32], Attempt>) -> sqlx::Result<()> {
    let insert = "INSERT INTO idempotency (key, tenant, request, decision, lease, first_at, expires)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[],
             $7::bigint[])";
    let update = "UPDATE idempotency i SET tenant = t.tenant, request = t.request, decision = t.decision,
             lease = t.lease, first_at = t.first_at, expires = t.expires
         FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bigint[])
             AS t (key, tenant, request, decision, lease, first_at, expires)
         WHERE i.key = t.key";
    attempts(connection, insert, &table.added()).await?;
    attempts(connection, update, &table.updated()).await
}

async fn attempts(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &Rows<'_, Attempt>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(statement)
        .bind(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.request.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.decision.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.lease.as_ref().map(<[u8; 16]>::as_slice)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.first_at).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.expires).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}

async fn replay(connection: &mut PgConnection, table: &Table<[u8; 32], Claim>) -> sqlx::Result<()> {
    let insert = "INSERT INTO replay (key, tenant, decision, expires)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bigint[])";
    let update = "UPDATE replay r SET tenant = t.tenant, decision = t.decision, expires = t.expires
         FROM unnest($1::bytea[], $2::text[], $3::bytea[], $4::bigint[]) AS t (key, tenant, decision, expires)
         WHERE r.key = t.key";
    claims(connection, insert, &table.added()).await?;
    claims(connection, update, &table.updated()).await
}

async fn claims(
    connection: &mut PgConnection,
    statement: &'static str,
    rows: &Rows<'_, Claim>,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(statement)
        .bind(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.decision.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.expires).collect::<Vec<_>>())
        .execute(connection)
        .await?;
    Ok(())
}
