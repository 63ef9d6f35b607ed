//! Writes the blocks that were set and lifted, and what they found alive.

use sqlx::PgConnection;

use super::batch::{Added, Effect, Lifted};
use crate::ledger::intent::BlockRow;

/// Writes what changed.
pub(super) async fn flush(connection: &mut PgConnection, added: &Added, writer: i64) -> sqlx::Result<()> {
    if added.epochs > 0 {
        let grow = sqlx::query("UPDATE store SET epoch = epoch + $1");
        grow.bind(added.epochs).execute(&mut *connection).await?;
    }
    blocks(connection, &added.blocks).await?;
    lifted(connection, &added.lifted).await?;
    effects(connection, writer, &added.effects).await
}

async fn blocks(connection: &mut PgConnection, rows: &[BlockRow]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO blocks (id, tenant, subject, reason, set_by, set_at, expires_at)
         SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[],
             $7::bigint[])",
    )
    .bind(rows.iter().map(|row| row.id.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.subject.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.reason.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.set_by.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.set_at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.expires_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Rare and few: one statement each.
async fn lifted(connection: &mut PgConnection, rows: &[Lifted]) -> sqlx::Result<()> {
    for row in rows {
        sqlx::query("UPDATE blocks SET lifted_at = $2, lifted_by = $3 WHERE id = $1")
            .bind(row.block.as_bytes())
            .bind(row.at)
            .bind(&row.by)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn effects(connection: &mut PgConnection, writer: i64, rows: &[Effect]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO block_effects (writer, subject, block, tenant, leased, seq)
         SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::text[], $5::bigint[], $6::bigint[])",
    )
    .bind(writer)
    .bind(rows.iter().map(|row| row.subject.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.block.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| i64::from(row.leased)).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
