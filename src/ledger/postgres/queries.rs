//! What is read from the store, one query each.

use std::collections::{HashMap, HashSet};

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::lock::CLASS;
use super::retention;
use crate::domain::{DecisionId, LeaseId};
use crate::ledger::chain::Head;
use crate::ledger::explained::Stored;
use crate::ledger::kind::{HeadText, Started};
use crate::ledger::rows::{LOOK, LeaseRow, StoredKey, UnleasedRow};
use crate::ledger::seal::Sealed;
use crate::secret::Fingerprint;

/// Age, in milliseconds, under which an authorisation whose writer holds no lock is not yet taken for left behind: a
/// writer whose connection broke comes back meanwhile.
const GRACE: i64 = 15_000;

/// A decision's stored parts.
pub(super) async fn decision(connection: &mut PgConnection, id: DecisionId) -> sqlx::Result<Option<Stored>> {
    let found = sqlx::query(
        "SELECT d.id, d.operation, d.tenant, d.principal, d.role, d.at, d.outcome, d.token, f.body, d.body, i.body,
             d.target, d.dies_by
         FROM decisions d JOIN frames f ON f.id = d.frame LEFT JOIN inputs i ON i.decision = d.n
         WHERE d.id = $1",
    );
    let Some(row) = found.bind(id.as_bytes()).fetch_optional(connection).await? else { return Ok(None) };
    Ok(Some(Stored {
        decision: row.try_get(0)?,
        operation: row.try_get(1)?,
        tenant: row.try_get(2)?,
        principal: row.try_get(3)?,
        role: row.try_get(4)?,
        at: row.try_get(5)?,
        result: row.try_get(6)?,
        token: row.try_get(7)?,
        frame: row.try_get(8)?,
        body: row.try_get(9)?,
        values: row.try_get(10)?,
        target: row.try_get(11)?,
        dies_by: row.try_get(12)?,
    }))
}

fn lease_row(row: &PgRow) -> sqlx::Result<LeaseRow> {
    Ok(LeaseRow {
        id: row.try_get(0)?,
        decision: row.try_get(1)?,
        secret: row.try_get(2)?,
        issued_at: row.try_get(3)?,
        dies_at: row.try_get(4)?,
        revocable: row.try_get::<i64, _>(5)? == 1,
        ended_at: row.try_get(6)?,
        end_how: row.try_get(7)?,
        role: row.try_get(8)?,
        target: row.try_get(9)?,
        handle: row.try_get(10)?,
        end_asked_at: row.try_get(11)?,
        heartbeat: row.try_get::<Option<i64>, _>(12)?.zip(row.try_get(13)?),
        bound_to: row.try_get(14)?,
        due: row.try_get(15)?,
    })
}

/// A lease.
pub(super) async fn lease(connection: &mut PgConnection, id: LeaseId) -> sqlx::Result<Option<LeaseRow>> {
    let found = sqlx::query(
        "SELECT l.id, l.decision, l.secret, l.issued_at, l.dies_at, l.revocable, l.ended_at, l.end_how,
             d.role, d.target, d.handle, l.end_asked_at, h.every, h.beat_at, l.bound_to, false
         FROM leases l JOIN decisions d ON d.id = l.decision LEFT JOIN heartbeats h ON h.lease = l.id
         WHERE l.id = $1",
    );
    found.bind(id.as_bytes()).fetch_optional(connection).await?.as_ref().map(lease_row).transpose()
}

/// Leases that somebody asked to end and that may still live, longest waiting first.
pub(super) async fn leases_to_end(connection: &mut PgConnection, now: i64) -> sqlx::Result<Vec<LeaseRow>> {
    let found = sqlx::query(
        "SELECT id, decision, secret, issued_at, dies_at, revocable, ended_at, end_how, role, target, handle,
             end_asked_at, every, beat_at, bound_to, due FROM (
             SELECT *, row_number() OVER (PARTITION BY target ORDER BY due DESC, end_asked_at) AS place FROM (
                 SELECT l.*, d.role, d.target, d.handle, h.every, h.beat_at,
                     (q.subject IS NULL OR (q.next_try_at <= $1
                         AND (q.claimed_until IS NULL OR q.claimed_until <= $1))) AS due
                 FROM leases l JOIN decisions d ON d.id = l.decision LEFT JOIN heartbeats h ON h.lease = l.id
                 LEFT JOIN endings q ON q.subject = l.id
                 WHERE l.end_asked_at IS NOT NULL AND l.end_how IS NULL AND l.dies_at > $1
             ) waiting
         ) placed WHERE place <= $2 ORDER BY end_asked_at",
    );
    let rows = found.bind(now).bind(LOOK).fetch_all(connection).await?;
    rows.iter().map(lease_row).collect()
}

/// How many leases are alive.
pub(super) async fn live_leases(connection: &mut PgConnection, now: i64) -> sqlx::Result<i64> {
    let count = sqlx::query_scalar("SELECT count(*) FROM leases WHERE end_how IS NULL AND dies_at > $1");
    count.bind(now).fetch_one(connection).await
}

/// True if a lease has a heartbeat.
pub(super) async fn any_heartbeat(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM heartbeats)").fetch_one(connection).await
}

/// What was tried to be ended, or is being tried: all, and those of which somebody must look at.
pub(super) async fn endings(connection: &mut PgConnection) -> sqlx::Result<(i64, i64)> {
    sqlx::query_as("SELECT count(*), count(dead_at) FROM endings").fetch_one(connection).await
}

/// The writers whose sessions are alive.
pub(super) async fn live_writers(connection: &mut PgConnection) -> sqlx::Result<Vec<i64>> {
    let held = sqlx::query_scalar(
        "SELECT objid::bigint FROM pg_locks
         WHERE locktype = 'advisory' AND classid::bigint = $1 AND objsubid = 2 AND granted
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    );
    held.bind(i64::from(CLASS)).fetch_all(connection).await
}

/// Authorisations without a lease that may have led to something that lives, oldest first. Left behind are those whose
/// writer is gone; another server that lives is left to mint in peace.
pub(super) async fn unleased(connection: &mut PgConnection, now: i64) -> sqlx::Result<Vec<UnleasedRow>> {
    let live = live_writers(connection).await?;
    let found = sqlx::query(
        "SELECT decision, role, target, handle, at, dies_by, at <= $2 AND writer <> ALL ($3), due, body, blocked
         FROM (
             SELECT *, row_number() OVER (PARTITION BY target ORDER BY due DESC, blocked DESC, n) AS place FROM (
                 SELECT a.decision, d.role, d.target, d.handle, d.at, a.dies_by, a.writer, d.n, d.body,
                     a.state <> 'unknown' AND (q.subject IS NULL OR (q.next_try_at <= $1
                         AND (q.claimed_until IS NULL OR q.claimed_until <= $1))) AS due,
                     EXISTS (SELECT FROM block_effects e WHERE e.subject = a.decision) AS blocked
                 FROM authorisations a JOIN decisions d ON d.id = a.decision
                 LEFT JOIN endings q ON q.subject = a.decision
                 WHERE a.dies_by > $1
             ) found
         ) placed WHERE place <= $4 ORDER BY n",
    );
    let rows = found.bind(now).bind(now - GRACE).bind(live).bind(LOOK).fetch_all(connection).await?;
    let read = |row: &PgRow| {
        Ok(UnleasedRow {
            decision: row.try_get(0)?,
            role: row.try_get(1)?,
            target: row.try_get(2)?,
            handle: row.try_get(3)?,
            authorised_at: row.try_get(4)?,
            dies_by: row.try_get(5)?,
            left_behind: row.try_get(6)?,
            due: row.try_get(7)?,
            body: row.try_get(8)?,
            blocked: row.try_get(9)?,
        })
    };
    rows.iter().map(read).collect()
}

/// Every signing key as stored, oldest first.
pub(super) async fn stored_keys(connection: &mut PgConnection) -> sqlx::Result<Vec<StoredKey>> {
    let rows = sqlx::query(
        "SELECT kid, purpose, algorithm, state, created_at, activates_at, sealed, public_jwk, place FROM signing_keys
         ORDER BY created_at, kid",
    );
    let read = |row: &PgRow| {
        Ok(StoredKey {
            kid: row.try_get(0)?,
            purpose: row.try_get(1)?,
            algorithm: row.try_get(2)?,
            state: row.try_get(3)?,
            created_at: row.try_get(4)?,
            activates_at: row.try_get(5)?,
            sealed: row.try_get(6)?,
            public_jwk: row.try_get(7)?,
            place: row.try_get(8)?,
        })
    };
    rows.fetch_all(connection).await?.iter().map(read).collect()
}

/// The last record of each signing key, of every writer that changed it.
pub(super) async fn recorded_keys(
    connection: &mut PgConnection,
) -> sqlx::Result<HashMap<Vec<u8>, HashMap<i64, String>>> {
    let rows = sqlx::query("SELECT subject, writer, body FROM audit WHERE kind = 'key' ORDER BY writer, seq");
    let mut recorded: HashMap<Vec<u8>, HashMap<i64, String>> = HashMap::new();
    for row in rows.fetch_all(connection).await? {
        let body: Option<String> = row.try_get(2)?;
        recorded.entry(row.try_get(0)?).or_default().insert(row.try_get(1)?, body.unwrap_or_default());
    }
    Ok(recorded)
}

/// The sealed keys of the issuers that follow `after` by name, with when they were fetched; a page of them.
pub(super) async fn issuer_keys_after(
    connection: &mut PgConnection,
    after: &str,
) -> sqlx::Result<Vec<(String, Vec<u8>, i64)>> {
    let page =
        "SELECT issuer, sealed, fetched_at FROM issuer_keys WHERE issuer > $1 ORDER BY issuer LIMIT 64";
    sqlx::query_as(page).bind(after).fetch_all(connection).await
}

/// The first bytes of the handles of what may be alive, how many begin so, and when the last of them is dead.
pub(super) async fn living_seals(
    connection: &mut PgConnection,
    now: i64,
    length: i64,
) -> sqlx::Result<Vec<(Vec<u8>, i64, i64)>> {
    let seals = "SELECT substr(handle, 1, $2::int), count(*), max(until) FROM (
             SELECT d.handle AS handle, l.dies_at AS until FROM leases l JOIN decisions d ON d.id = l.decision
             WHERE l.end_how IS NULL AND l.dies_at > $1
             UNION ALL
             SELECT d.handle, a.dies_by FROM authorisations a JOIN decisions d ON d.id = a.decision
             WHERE a.dies_by > $1
         ) living WHERE handle IS NOT NULL GROUP BY 1";
    sqlx::query_as(seals).bind(now).bind(length).fetch_all(connection).await
}

/// An issuer's remembered keys, sealed, and when they were fetched.
pub(super) async fn issuer_keys(
    connection: &mut PgConnection,
    issuer: &str,
) -> sqlx::Result<Option<(Vec<u8>, i64)>> {
    let found = sqlx::query("SELECT sealed, fetched_at FROM issuer_keys WHERE issuer = $1").bind(issuer);
    let read = |row: PgRow| Ok((row.try_get(0)?, row.try_get(1)?));
    found.fetch_optional(connection).await?.map(read).transpose()
}

/// The number of the newest checkpoint; 0 without one.
pub(super) async fn last_checkpoint(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT coalesce(max(n), 0) FROM checkpoints").fetch_one(connection).await
}

/// Heads of chains that nobody has vouched for.
pub(super) struct OpenHeads {
    pub(super) open: Vec<HeadText>,
    /// Up to this writer all have ended, and their last records are vouched for: nothing changes about them any more.
    pub(super) settled: i64,
}

/// True if a later start vouches for `head`: other servers may hold its chain for ended.
pub(super) async fn is_vouched(connection: &mut PgConnection, head: Head) -> sqlx::Result<bool> {
    let later =
        sqlx::query_scalar("SELECT body FROM audit WHERE writer > $1 AND seq = 1 AND kind = 'started'");
    let later: Vec<Option<String>> = later.bind(head.writer).fetch_all(connection).await?;
    let starts = later.iter().flatten().filter_map(|body| serde_json::from_str::<Started>(body).ok());
    let mut heads = starts.flat_map(|start| start.follows);
    Ok(heads.any(|seen| (seen.writer, seen.seq) == (head.writer, head.seq)))
}

/// The heads of all writers after `settled` but `own` that no start of a server vouches for.
pub(super) async fn open_heads(
    connection: &mut PgConnection,
    own: i64,
    settled: i64,
) -> sqlx::Result<OpenHeads> {
    let mut live = live_writers(connection).await?;
    let rows = sqlx::query(
        "SELECT w.id, h.seq, h.hash, s.body FROM writers w
         CROSS JOIN LATERAL (SELECT seq, hash FROM audit WHERE writer = w.id ORDER BY seq DESC LIMIT 1) h
         LEFT JOIN audit s ON s.writer = w.id AND s.seq = 1
         WHERE w.id > $1 ORDER BY w.id",
    );
    let rows = rows.bind(settled).fetch_all(&mut *connection).await?;
    // A writer that came back between may not have seen who vouches for it.
    live.extend(live_writers(connection).await?);
    let mut vouched = HashSet::new();
    for row in &rows {
        // A start that cannot be read vouches for nothing; verification says so.
        let body: Option<String> = row.try_get(3)?;
        let started = body.and_then(|body| serde_json::from_str::<Started>(&body).ok());
        vouched.extend(started.into_iter().flat_map(|s| s.follows).map(|head| (head.writer, head.seq)));
    }
    // A start that was pruned left what it vouched for in the seal.
    for body in retention::seals(connection).await? {
        let sealed = serde_json::from_str::<Sealed>(&body).ok();
        let follows = sealed.into_iter().flat_map(|sealed| sealed.seal.follows);
        vouched.extend(follows.map(|head| (head.writer, head.seq)));
    }
    let mut heads = OpenHeads { open: Vec::new(), settled };
    for row in &rows {
        let (writer, seq): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
        let is_vouched = vouched.contains(&(writer, seq));
        if is_vouched && heads.settled == writer - 1 && !live.contains(&writer) {
            heads.settled = writer;
        }
        if !is_vouched && writer != own {
            let hash = Fingerprint::from_bytes(row.try_get(2)?).to_string();
            heads.open.push(HeadText { writer, seq, hash });
        }
    }
    Ok(heads)
}
