//! Reads what a batch needs of the attempts to end something, and of the heartbeats.

use sqlx::{PgConnection, Row};

use super::held::{Ending, Heartbeat, Held};
use super::needs::{Also, Needs};
use crate::ledger::heartbeats::Interval;

/// Attempts looked at per call of upkeep, for what died by itself meanwhile.
const LAPSED_PER_CALL: i64 = 256;

/// Leases looked at per call, for who is silent; the next call finds the others.
const SILENT_PER_CALL: i64 = 512;

/// Names the rows that only the store can name. They are locked with all others, in order, and looked at again then.
pub(super) async fn name(
    connection: &mut PgConnection,
    needs: &mut Needs,
    now: i64,
    held: &mut Held,
) -> sqlx::Result<()> {
    if needs.wants(Also::Lapsed) {
        let rows = sqlx::query_scalar(
            "SELECT e.subject FROM endings e
             LEFT JOIN leases l ON l.id = e.subject LEFT JOIN authorisations a ON a.decision = e.subject
             WHERE NOT coalesce(l.end_how IS NULL AND l.dies_at > $1, false) AND NOT coalesce(a.dies_by > $1, false)
             LIMIT $2",
        );
        held.lapsed = rows.bind(now).bind(LAPSED_PER_CALL).fetch_all(&mut *connection).await?;
        needs.endings.extend(&held.lapsed);
        needs.leases.extend(&held.lapsed);
        needs.authorisations.extend(&held.lapsed);
    }
    if let Some(at) = needs.silent_at {
        let rows =
            sqlx::query_scalar("SELECT lease FROM heartbeats WHERE due_at <= $1 ORDER BY due_at LIMIT $2");
        held.silent = rows.bind(at).bind(SILENT_PER_CALL).fetch_all(connection).await?;
        needs.leases.extend(&held.silent);
        needs.heartbeats.extend(&held.silent);
    }
    Ok(())
}

/// The attempts to end something.
pub(super) async fn endings(
    connection: &mut PgConnection,
    needs: &Needs,
    held: &mut Held,
) -> sqlx::Result<()> {
    if needs.endings.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = needs.endings.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query(
        "SELECT subject, tenant, attempts, next_try_at, claimed_by, claimed_until, fence, dead_at FROM endings
         WHERE subject = ANY ($1) ORDER BY subject FOR UPDATE",
    );
    for row in rows.bind(ids).fetch_all(connection).await? {
        let ending = Ending {
            tenant: row.try_get(1)?,
            attempts: row.try_get(2)?,
            next_try_at: row.try_get(3)?,
            claimed_by: row.try_get(4)?,
            claimed_until: row.try_get(5)?,
            fence: row.try_get(6)?,
            dead_at: row.try_get(7)?,
        };
        held.endings.hold(row.try_get(0)?, ending);
    }
    Ok(())
}

/// The heartbeats, and when servers were ready to hear those who may have been silent too long.
pub(super) async fn heartbeats(
    connection: &mut PgConnection,
    needs: &Needs,
    held: &mut Held,
) -> sqlx::Result<()> {
    if needs.heartbeats.is_empty() {
        return Ok(());
    }
    let ids: Vec<&[u8]> = needs.heartbeats.iter().map(<[u8; 16]>::as_slice).collect();
    let rows = sqlx::query(
        "SELECT lease, tenant, every, beat_at, due_at FROM heartbeats
         WHERE lease = ANY ($1) ORDER BY lease FOR UPDATE",
    );
    for row in rows.bind(ids).fetch_all(&mut *connection).await? {
        let heartbeat = Heartbeat {
            tenant: row.try_get(1)?,
            every: row.try_get(2)?,
            beat_at: row.try_get(3)?,
            due_at: row.try_get(4)?,
        };
        held.heartbeats.hold(row.try_get(0)?, heartbeat);
    }
    let beats = held.silent.iter().filter_map(|lease| held.heartbeats.get(lease));
    if let Some(oldest) = beats.map(|heartbeat| heartbeat.beat_at).min() {
        let rows = sqlx::query("SELECT since, until FROM ready WHERE until > $1 ORDER BY since");
        for row in rows.bind(oldest).fetch_all(connection).await? {
            held.ready.push(Interval { since: row.try_get(0)?, until: row.try_get(1)? });
        }
    }
    Ok(())
}
