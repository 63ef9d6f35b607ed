//! Pruning: what is read to plan it, and its one transaction. Of several servers one prunes at a time.

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::Apply;
use super::batch::{Batch, Entry};
use super::lock;
use super::needs::{Also, Needs};
use super::queries::stored_keys;
use crate::ledger::chain::body_payload;
use crate::ledger::event::About;
use crate::ledger::intent::Prune;
use crate::ledger::kind::Kind;
use crate::ledger::retention::{Candidate, ChainEnds, Chains};

/// All chains, and what says how far each is proven; `now` is Unix milliseconds.
pub(super) async fn chains(connection: &mut PgConnection, now: i64) -> sqlx::Result<Chains> {
    let rows = sqlx::query(
        "SELECT w.id, w.instance, w.started_at, f.seq, f.at, (SELECT max(seq) FROM audit WHERE writer = w.id)
         FROM writers w
         CROSS JOIN LATERAL (SELECT seq, at FROM audit WHERE writer = w.id ORDER BY seq LIMIT 1) f ORDER BY w.id",
    );
    let read = |row: &PgRow| {
        Ok(ChainEnds {
            writer: row.try_get(0)?,
            instance: row.try_get(1)?,
            started_at: row.try_get(2)?,
            first: row.try_get(3)?,
            first_at: row.try_get(4)?,
            newest: row.try_get(5)?,
        })
    };
    let chains = rows.fetch_all(&mut *connection).await?.iter().map(read).collect::<sqlx::Result<_>>()?;
    let starts = sqlx::query_as(
        "SELECT w.id, a.body FROM writers w JOIN audit a ON a.writer = w.id AND a.seq = 1 WHERE a.body IS NOT NULL",
    );
    let starts = starts.fetch_all(&mut *connection).await?;
    let checkpoint = sqlx::query_as("SELECT n, jws FROM checkpoints ORDER BY n DESC LIMIT 1");
    let checkpoint = checkpoint.fetch_optional(&mut *connection).await?;
    let remembered: Option<[u8; 16]> = sqlx::query_scalar(
        "SELECT decision FROM (SELECT decision FROM replay WHERE expires > $1
         UNION ALL SELECT decision FROM idempotency WHERE expires > $1) known ORDER BY decision LIMIT 1",
    )
    .bind(now)
    .fetch_optional(&mut *connection)
    .await?;
    let store = sqlx::query_scalar("SELECT id FROM store").fetch_one(&mut *connection).await?;
    let (seals, keys) = (seals(connection).await?, stored_keys(connection).await?);
    Ok(Chains { store, ends: chains, starts, seals, checkpoint, keys, remembered })
}

/// Bodies of all seals.
pub(super) async fn seals(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    let seals = sqlx::query_scalar("SELECT body FROM audit WHERE kind = 'sealed' AND body IS NOT NULL");
    seals.fetch_all(connection).await
}

/// At most `limit` records of `writer` from `first` to `last`, each with what is there of what it is about.
pub(super) async fn candidates(
    connection: &mut PgConnection,
    [writer, first, last, limit]: [i64; 4],
) -> sqlx::Result<Vec<Candidate>> {
    let rows = sqlx::query(
        "SELECT a.seq, a.at, a.kind, a.tenant, a.subject, a.payload, a.hash, a.body, d.n IS NOT NULL,
             au.decision IS NOT NULL, l.decision, coalesce(l.ended_at, l.dies_at),
             coalesce(m.ended_at, m.dies_at), e.subject IS NOT NULL, CASE WHEN b.id IS NOT NULL
                THEN coalesce(b.lifted_at, b.expires_at, 9223372036854775807) END, m.id
         FROM audit a LEFT JOIN decisions d ON d.id = a.subject
             LEFT JOIN authorisations au ON au.decision = a.subject
             LEFT JOIN leases l ON l.id = a.subject LEFT JOIN leases m ON m.decision = a.subject
             LEFT JOIN endings e ON e.subject = a.subject LEFT JOIN blocks b ON b.id = a.subject
         WHERE a.writer = $1 AND a.seq BETWEEN $2 AND $3 ORDER BY a.seq LIMIT $4",
    );
    let rows = rows.bind(writer).bind(first).bind(last).bind(limit).fetch_all(connection).await?;
    rows.iter().map(candidate).collect()
}

fn candidate(row: &PgRow) -> sqlx::Result<Candidate> {
    let lease: Option<[u8; 16]> = row.try_get(10)?;
    let led_to: Option<[u8; 16]> = row.try_get(15)?;
    Ok(Candidate {
        seq: row.try_get(0)?,
        at: row.try_get(1)?,
        kind: row.try_get(2)?,
        tenant: row.try_get(3)?,
        subject: row.try_get(4)?,
        payload: row.try_get(5)?,
        hash: row.try_get(6)?,
        body: row.try_get(7)?,
        is_decision: row.try_get(8)?,
        is_open: row.try_get(9)?,
        lease: lease.zip(row.try_get(11)?),
        led_to: led_to.zip(row.try_get(12)?),
        is_ending: row.try_get(13)?,
        block: row.try_get(14)?,
    })
}

impl Apply for Prune {
    fn needs(&self, needs: &mut Needs) {
        needs.pruning = Some(self.writer);
        needs.also(Also::SigningKeys);
    }

    fn apply(&self, batch: &mut Batch) -> sqlx::Result<bool> {
        let keys_are = self.keys.iter().all(|(kid, body)| {
            let stored = batch.held.signing_keys.get(kid);
            stored.and_then(|key| serde_json::to_string(&key.change()).ok()).as_ref() == Some(body)
        });
        let fits = batch.held.chain.is_some_and(|(first, newest)| first == self.first && newest > self.last);
        if !keys_are || !fits {
            return Ok(false);
        }
        for (kid, body) in &self.keys {
            append(batch, Kind::Key, kid.as_bytes(), body)?;
        }
        for (writer, body) in &self.seals {
            append(batch, Kind::Sealed, &writer.to_be_bytes(), body)?;
        }
        append(batch, Kind::Sealed, &self.writer.to_be_bytes(), &self.body)?;
        batch.added.pruned.push(self.clone());
        Ok(true)
    }
}

fn append(batch: &mut Batch, kind: Kind, subject: &[u8], body: &str) -> sqlx::Result<()> {
    let data = serde_json::value::RawValue::from_string(body.to_owned())
        .map_err(|error| sqlx::Error::Encode(error.into()))?;
    let (payload, body) = (body_payload(body), Some(body.to_owned()));
    batch.append(Entry { kind, tenant: "", subject, payload, body }, || About::Server { data });
    Ok(())
}

/// The first and the newest record of the chain that is to be cut, which no other server cuts meanwhile.
pub(super) async fn load(connection: &mut PgConnection, writer: i64) -> sqlx::Result<Option<(i64, i64)>> {
    lock::until_commit(connection, lock::RETENTION).await?;
    let ends: (Option<i64>, Option<i64>) =
        sqlx::query_as("SELECT min(seq), max(seq) FROM audit WHERE writer = $1")
            .bind(writer)
            .fetch_one(connection)
            .await?;
    Ok(ends.0.zip(ends.1))
}

/// Removes what goes: each row before what it refers to.
pub(super) async fn flush(connection: &mut PgConnection, pruned: &[Prune]) -> sqlx::Result<()> {
    for prune in pruned {
        for (ids, statements) in [
            (
                &prune.blocks,
                [
                    "DELETE FROM block_effects WHERE block = ANY ($1)",
                    "DELETE FROM blocks WHERE id = ANY ($1)",
                ]
                .as_slice(),
            ),
            (
                &prune.leases,
                &["DELETE FROM heartbeats WHERE lease = ANY ($1)", "DELETE FROM leases WHERE id = ANY ($1)"],
            ),
            (
                &prune.decisions,
                &[
                    "DELETE FROM inputs WHERE decision IN (SELECT n FROM decisions WHERE id = ANY ($1))",
                    "DELETE FROM decision_keys WHERE decision IN (SELECT n FROM decisions WHERE id = ANY ($1))",
                    "DELETE FROM decisions WHERE id = ANY ($1)",
                ],
            ),
        ] {
            let ids: Vec<&[u8]> = ids.iter().map(<[u8; 16]>::as_slice).collect();
            for statement in statements {
                sqlx::query(*statement).bind(ids.clone()).execute(&mut *connection).await?;
            }
        }
        for statement in [
            "DELETE FROM refusal_counts WHERE writer = $1 AND seq <= $2",
            "DELETE FROM audit WHERE writer = $1 AND seq <= $2",
        ] {
            sqlx::query(statement).bind(prune.writer).bind(prune.last).execute(&mut *connection).await?;
        }
    }
    Ok(())
}
