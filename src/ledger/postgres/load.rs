//! Reads what a batch needs, one statement per table, and locks it against other servers until the commit.
//!
//! Rows are locked in key order, and the tables always in the order below.

use sqlx::{PgConnection, Row};

use super::held::{Attempt, Authorisation, Claim, Held, Lease, Planned};
use super::load_blocks::{self, Known};
use super::load_ends;
use super::lock;
use super::needs::{Also, Needs};
use super::queries::stored_keys;
use super::{retention, sinks};

/// Authorisations closed per call of upkeep.
const EXPIRED_PER_CALL: i64 = 256;

/// Loads what `needs` names. A retry's needs grow on the way: what its earlier attempt left is known only now.
pub(super) async fn load(
    connection: &mut PgConnection,
    mut needs: Needs,
    now: i64,
    known: &Known,
) -> sqlx::Result<Held> {
    let mut held = Held::default();
    if needs.wants(Also::SigningKeys) {
        lock::until_commit(connection, lock::KEYS).await?;
        let keys = stored_keys(connection).await?;
        held.signing_keys = keys.into_iter().map(|key| (key.kid.clone(), key)).collect();
    }
    if needs.wants(Also::LastCheckpoint) {
        lock::until_commit(connection, lock::CHECKPOINTS).await?;
        let last = sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM checkpoints");
        held.last_checkpoint = last.fetch_one(&mut *connection).await?;
    }
    if let Some(writer) = needs.pruning {
        held.chain = retention::load(connection, writer).await?;
    }
    held.sinks = sinks::load(connection, &needs.sinks).await?;
    if needs.wants(Also::Blocks) {
        held.blocks = Some(load_blocks::in_force(connection, known, now).await?);
    }
    load_blocks::touched(connection, &mut needs, now, &mut held).await?;
    load_ends::name(connection, &mut needs, now, &mut held).await?;
    issuer_keys(connection, &needs, &mut held).await?;
    // Claims before attempts: each statement sees what was committed before it, and whoever sees another server's claim
    // must see the attempt that made it.
    replay(connection, &needs, &mut held).await?;
    idempotency(connection, &mut needs, &mut held).await?;
    authorisations(connection, &needs, now, &mut held).await?;
    load_blocks::suspects(connection, &needs, &mut held).await?;
    leases(connection, &needs, &mut held).await?;
    load_ends::endings(connection, &needs, &mut held).await?;
    load_ends::heartbeats(connection, &needs, &mut held).await?;
    decisions(connection, &needs, &mut held).await?;
    Ok(held)
}

async fn issuer_keys(connection: &mut PgConnection, needs: &Needs, held: &mut Held) -> sqlx::Result<()> {
    if needs.issuers.is_empty() {
        return Ok(());
    }
    let issuers: Vec<&str> = needs.issuers.iter().map(String::as_str).collect();
    let rows = sqlx::query(
        "SELECT issuer, sealed FROM issuer_keys WHERE issuer = ANY ($1) ORDER BY issuer FOR UPDATE",
    );
    for row in rows.bind(issuers).fetch_all(connection).await? {
        held.issuer_keys.insert(row.try_get(0)?, row.try_get(1)?);
    }
    Ok(())
}

async fn idempotency(connection: &mut PgConnection, needs: &mut Needs, held: &mut Held) -> sqlx::Result<()> {
    if needs.idempotency.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = needs.idempotency.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = sqlx::query(
        "SELECT key, tenant, request, decision, lease, first_at, expires FROM idempotency
         WHERE key = ANY ($1) ORDER BY key FOR UPDATE",
    );
    for row in rows.bind(keys).fetch_all(connection).await? {
        let attempt = Attempt {
            tenant: row.try_get(1)?,
            request: row.try_get(2)?,
            decision: row.try_get(3)?,
            lease: row.try_get(4)?,
            first_at: row.try_get(5)?,
            expires: row.try_get(6)?,
        };
        needs.authorisations.insert(attempt.decision);
        needs.decisions.insert(attempt.decision);
        needs.leases.extend(attempt.lease);
        held.idempotency.hold(row.try_get(0)?, attempt);
    }
    Ok(())
}

async fn replay(connection: &mut PgConnection, needs: &Needs, held: &mut Held) -> sqlx::Result<()> {
    if needs.replay.is_empty() {
        return Ok(());
    }
    let keys: Vec<&[u8]> = needs.replay.iter().map(<[u8; 32]>::as_slice).collect();
    let rows = sqlx::query(
        "SELECT key, tenant, decision, expires FROM replay WHERE key = ANY ($1) ORDER BY key FOR UPDATE",
    );
    for row in rows.bind(keys).fetch_all(connection).await? {
        let claim = Claim { tenant: row.try_get(1)?, decision: row.try_get(2)?, expires: row.try_get(3)? };
        held.replay.hold(row.try_get(0)?, claim);
    }
    Ok(())
}

async fn authorisations(
    connection: &mut PgConnection,
    needs: &Needs,
    now: i64,
    held: &mut Held,
) -> sqlx::Result<()> {
    if !needs.authorisations.is_empty() {
        let ids: Vec<&[u8]> = needs.authorisations.iter().map(<[u8; 16]>::as_slice).collect();
        let rows = sqlx::query(
            "SELECT decision, tenant, state, epoch, dies_by FROM authorisations
             WHERE decision = ANY ($1) ORDER BY decision FOR UPDATE",
        );
        hold_authorisations(rows.bind(ids).fetch_all(&mut *connection).await?, held, false)?;
    }
    if needs.wants(Also::Expired) {
        // What another server is closing just now is left to it.
        let rows = sqlx::query(
            "SELECT decision, tenant, state, epoch, dies_by FROM authorisations
             WHERE dies_by <= $1 ORDER BY decision LIMIT $2 FOR UPDATE SKIP LOCKED",
        );
        let rows = rows.bind(now).bind(EXPIRED_PER_CALL).fetch_all(connection).await?;
        hold_authorisations(rows, held, true)?;
    }
    Ok(())
}

fn hold_authorisations(rows: Vec<sqlx::postgres::PgRow>, held: &mut Held, expired: bool) -> sqlx::Result<()> {
    for row in rows {
        let decision = row.try_get(0)?;
        if expired {
            held.expired.push(decision);
        }
        let authorisation = Authorisation {
            tenant: row.try_get(1)?,
            state: row.try_get(2)?,
            epoch: row.try_get(3)?,
            dies_by: row.try_get(4)?,
        };
        held.authorisations.hold(decision, authorisation);
    }
    Ok(())
}

async fn leases(connection: &mut PgConnection, needs: &Needs, held: &mut Held) -> sqlx::Result<()> {
    if needs.leases.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = needs.leases.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query(
        "SELECT id, tenant, decision, secret, issued_at, dies_at, revocable, end_asked_at, ended_at, end_how,
             first_dies_at, bound_to
         FROM leases WHERE id = ANY ($1) ORDER BY id FOR UPDATE",
    );
    for row in rows.bind(ids).fetch_all(connection).await? {
        let lease = Lease {
            tenant: row.try_get(1)?,
            decision: row.try_get(2)?,
            secret: row.try_get(3)?,
            issued_at: row.try_get(4)?,
            dies_at: row.try_get(5)?,
            revocable: row.try_get(6)?,
            end_asked_at: row.try_get(7)?,
            ended_at: row.try_get(8)?,
            end_how: row.try_get(9)?,
            first_dies_at: row.try_get(10)?,
            bound_to: row.try_get(11)?,
        };
        held.leases.hold(row.try_get(0)?, lease);
    }
    Ok(())
}

/// Not locked: a decision never changes.
async fn decisions(connection: &mut PgConnection, needs: &Needs, held: &mut Held) -> sqlx::Result<()> {
    if needs.decisions.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = needs.decisions.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query("SELECT id, tenant, role, target, handle FROM decisions WHERE id = ANY ($1)");
    for row in rows.bind(ids).fetch_all(connection).await? {
        let planned = Planned {
            tenant: row.try_get(1)?,
            role: row.try_get(2)?,
            target: row.try_get(3)?,
            handle: row.try_get(4)?,
        };
        held.decisions.insert(row.try_get(0)?, planned);
    }
    Ok(())
}
