//! Writes what a batch's steps left, one multi-row statement per table.

use std::collections::{BTreeMap, HashMap};

use sqlx::{PgConnection, Row};

use super::batch::{Batch, Record};
use super::{flush_blocks, flush_ends, flush_held, retention, sinks};
use crate::ledger::counts::Counted;
use crate::ledger::intent::{KeepIssuerKeys, ResealIssuerKeys, StoreCheckpoint};
use crate::ledger::matching::Keys;
use crate::ledger::record::{DecisionRow, Text};
use crate::ledger::rows::StoredKey;
use crate::secret::Fingerprint;

/// Numbers of frames that are stored already.
pub(super) type Frames = HashMap<Fingerprint, i64>;

/// Writes everything; returns the frames that are new.
pub(super) async fn flush(
    connection: &mut PgConnection,
    batch: &Batch,
    known: &Frames,
) -> sqlx::Result<Frames> {
    let (added, writer, now) = (&batch.added, batch.head().writer, batch.now());
    records(connection, writer, now, &added.records).await?;
    let new = frames(connection, &added.decisions, known).await?;
    decisions(connection, &added.decisions, known, &new).await?;
    flush_held::flush(connection, &batch.held, writer).await?;
    counts(connection, writer, &added.counts).await?;
    signing_keys(connection, &added.signing_keys).await?;
    issuer_keys(connection, &added.issuer_keys).await?;
    resealed(connection, &added.resealed).await?;
    checkpoints(connection, &added.checkpoints).await?;
    flush_blocks::flush(connection, added, writer).await?;
    flush_ends::ready(connection, writer, &added.ready).await?;
    sinks::flush(connection, &added.cursors).await?;
    retention::flush(connection, &added.pruned).await?;
    Ok(new)
}

async fn records(connection: &mut PgConnection, writer: i64, at: i64, rows: &[Record]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO audit (writer, seq, at, kind, tenant, subject, payload, hash, body)
         SELECT $1, t.seq, $2, t.kind, t.tenant, t.subject, t.payload, t.hash, t.body
         FROM unnest($3::bigint[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::bytea[], $9::text[])
             AS t (seq, kind, tenant, subject, payload, hash, body)",
    )
    .bind(writer)
    .bind(at)
    .bind(rows.iter().map(|row| row.seq).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.subject.as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.payload.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.body.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Stores the frames that are not known yet; another server may have done so meanwhile.
async fn frames(connection: &mut PgConnection, rows: &[DecisionRow], known: &Frames) -> sqlx::Result<Frames> {
    let unknown = rows.iter().filter(|row| !known.contains_key(&row.frame.hash));
    // In the order of their hashes, as every server inserts them.
    let unknown: BTreeMap<Fingerprint, (&str, &Text)> =
        unknown.map(|row| (row.frame.hash, (row.tenant.as_str(), &row.frame))).collect();
    if unknown.is_empty() {
        return Ok(Frames::new());
    }
    let hashes: Vec<&[u8]> = unknown.keys().map(|hash| hash.as_bytes().as_slice()).collect();
    sqlx::query(
        "INSERT INTO frames (tenant, hash, body)
         SELECT * FROM unnest($1::text[], $2::bytea[], $3::text[]) ON CONFLICT (hash) DO NOTHING",
    )
    .bind(unknown.values().map(|(tenant, _)| *tenant).collect::<Vec<_>>())
    .bind(hashes.clone())
    .bind(unknown.values().map(|(_, frame)| frame.text.as_str()).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await?;
    let stored = sqlx::query("SELECT hash, id FROM frames WHERE hash = ANY ($1)").bind(hashes);
    let read = |row: sqlx::postgres::PgRow| Ok((Fingerprint::from_bytes(row.try_get(0)?), row.try_get(1)?));
    stored.fetch_all(connection).await?.into_iter().map(read).collect()
}

/// Decisions with their inputs and keys, which are named by the numbers that the decisions get.
async fn decisions(
    connection: &mut PgConnection,
    rows: &[DecisionRow],
    known: &Frames,
    new: &Frames,
) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let frame = |row: &DecisionRow| known.get(&row.frame.hash).or_else(|| new.get(&row.frame.hash)).copied();
    let planned = |row: &DecisionRow| row.planned.as_ref().map(|planned| planned.dies_by);
    sqlx::query(
        "WITH given AS (
             SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[],
                 $8::bytea[], $9::bigint[], $10::text[], $11::bytea[], $12::text[], $13::text[], $14::bytea[],
                 $15::bigint[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[])
             AS t (id, tenant, principal, role, at, operation, outcome, token, frame, body, input, text, target,
                 handle, dies_by, issuer, subject, repository_id, repository, runner)
         ), numbered AS (
             INSERT INTO decisions (id, tenant, principal, role, at, operation, outcome, token, frame, body, input,
                 target, handle, dies_by)
             SELECT id, tenant, principal, role, at, operation, outcome, token, frame, body, input, target, handle,
                 dies_by FROM given
             RETURNING n, id
         ), kept AS (
             INSERT INTO inputs (decision, tenant, body)
             SELECT numbered.n, given.tenant, given.text FROM numbered JOIN given ON given.id = numbered.id
         )
         INSERT INTO decision_keys (decision, tenant, issuer, subject, repository_id, repository, runner)
         SELECT numbered.n, given.tenant, given.issuer, given.subject, given.repository_id, given.repository, given.runner
         FROM numbered JOIN given ON given.id = numbered.id WHERE given.issuer IS NOT NULL",
    )
    .bind(rows.iter().map(|row| row.id.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.principal.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.role.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.at).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.operation).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.outcome).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.token.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(frame).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.body.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.input.hash.as_bytes().as_slice()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.input.text.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| Some(row.planned.as_ref()?.target.as_str())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| Some(row.planned.as_ref()?.handle.as_slice())).collect::<Vec<_>>())
    .bind(rows.iter().map(planned).collect::<Vec<_>>())
    .bind(keys(rows, |keys| Some(keys.issuer.as_str())))
    .bind(keys(rows, |keys| Some(keys.subject.as_str())))
    .bind(keys(rows, |keys| keys.repository_id.as_deref()))
    .bind(keys(rows, |keys| keys.repository.as_deref()))
    .bind(keys(rows, |keys| keys.runner.as_deref()))
    .execute(connection)
    .await?;
    Ok(())
}

/// One key of each decision that was authorised.
fn keys(rows: &[DecisionRow], key: impl Fn(&Keys) -> Option<&str>) -> Vec<Option<&str>> {
    rows.iter().map(|row| key(&row.planned.as_ref()?.keys)).collect()
}

async fn counts(connection: &mut PgConnection, writer: i64, rows: &[(i64, Counted)]) -> sqlx::Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO refusal_counts (writer, seq, minute, tenant, code, source, count)
         SELECT $1, * FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[])",
    )
    .bind(writer)
    .bind(rows.iter().map(|(seq, _)| *seq).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.minute).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.tenant.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.code.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.source.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|(_, row)| row.count).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Rare and few: one statement each.
async fn signing_keys(connection: &mut PgConnection, rows: &[StoredKey]) -> sqlx::Result<()> {
    for key in rows {
        sqlx::query(
            "INSERT INTO signing_keys (kid, tenant, purpose, algorithm, state, created_at, activates_at, sealed, public_jwk,
                 place)
             VALUES ($1, '', $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (kid) DO UPDATE SET purpose = excluded.purpose, algorithm = excluded.algorithm,
                 state = excluded.state, created_at = excluded.created_at, activates_at = excluded.activates_at,
                 sealed = excluded.sealed, public_jwk = excluded.public_jwk, place = excluded.place",
        )
        .bind(&key.kid)
        .bind(&key.purpose)
        .bind(&key.algorithm)
        .bind(&key.state)
        .bind(key.created_at)
        .bind(key.activates_at)
        .bind(&key.sealed)
        .bind(&key.public_jwk)
        .bind(&key.place)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// What several servers remember of one issuer is told by the one that asked last.
async fn issuer_keys(connection: &mut PgConnection, rows: &[KeepIssuerKeys]) -> sqlx::Result<()> {
    for row in rows {
        sqlx::query(
            "INSERT INTO issuer_keys (issuer, tenant, sealed, fetched_at) VALUES ($1, '', $2, $3)
             ON CONFLICT (issuer) DO UPDATE SET sealed = excluded.sealed, fetched_at = excluded.fetched_at
             WHERE issuer_keys.fetched_at <= excluded.fetched_at",
        )
        .bind(&row.issuer)
        .bind(&row.sealed)
        .bind(row.fetched_at)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn resealed(connection: &mut PgConnection, rows: &[ResealIssuerKeys]) -> sqlx::Result<()> {
    for row in rows {
        sqlx::query("UPDATE issuer_keys SET sealed = $3 WHERE issuer = $1 AND sealed = $2")
            .bind(&row.issuer)
            .bind(&row.former)
            .bind(&row.sealed)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn checkpoints(connection: &mut PgConnection, rows: &[StoreCheckpoint]) -> sqlx::Result<()> {
    for row in rows {
        sqlx::query("INSERT INTO checkpoints (n, tenant, at, jws) VALUES ($1, '', $2, $3)")
            .bind(row.n)
            .bind(row.at)
            .bind(&row.jws)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
