//! What is read about blocks: which are in force, and what lives that one matches.

use futures_util::TryStreamExt;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use crate::domain::BlockId;
use crate::ledger::intent::BlockRow;
use crate::ledger::matching::Keys;
use crate::ledger::touched::{LISTED, Pattern, Touched};

/// What lives at $1 and matches a pattern ($2 to $5), without what is noted of the block $6 already.
macro_rules! touched_of {
    ($columns:literal, $from:literal, $alive:literal, $subject:literal) => {
        concat!(
            "SELECT ",
            $columns,
            ", k.decision IS NULL,
             CASE WHEN k.decision IS NULL THEN (SELECT f.body FROM frames f WHERE f.id = d.frame) END,
             CASE WHEN k.decision IS NULL THEN (SELECT i.body FROM inputs i WHERE i.decision = d.n) END
             FROM ",
            $from,
            " LEFT JOIN decision_keys k ON k.decision = d.n WHERE ",
            $alive,
            " AND ($2 = '' OR d.tenant = $2) AND (
                 $3 = 'everything' OR ($3 = 'tenant' AND d.tenant = $4) OR ($3 = 'principal' AND d.principal = $4)
                 OR ($3 = 'role' AND d.role = $4) OR ($3 = 'issuer' AND k.issuer = $4)
                 OR ($3 = 'identity' AND k.issuer = $4 AND k.subject = $5)
                 OR ($3 = 'repository' AND (k.repository_id = $4 OR k.repository = $4))
                 OR ($3 IN ('runner', 'issuer') AND $4 = ANY (string_to_array(k.runner, chr(10))))
                 OR (k.decision IS NULL AND $3 IN ('issuer', 'identity', 'repository', 'runner')))
             AND ($6::bytea IS NULL OR NOT EXISTS (
                 SELECT FROM block_effects e WHERE e.block = $6 AND e.subject = ",
            $subject,
            "))"
        )
    };
}
/// What each looks at: an authorisation, a lease that nobody ended, and one that lives on. The
/// rest of a decision that has no keys is for reading its input.
const TOUCHED: [&str; 3] = [
    touched_of!(
        "d.id, false, d.tenant, d.id, d.principal, d.role, d.target, d.dies_by, false, NULL::text, true",
        "authorisations a JOIN decisions d ON d.id = a.decision",
        "a.dies_by > $1",
        "d.id"
    ),
    touched_of!(
        "l.id, true, d.tenant, d.id, d.principal, d.role, d.target, l.dies_at, l.revocable = 1, l.end_how, false",
        "leases l JOIN decisions d ON d.id = l.decision",
        "l.end_how IS NULL AND l.dies_at > $1",
        "l.id"
    ),
    touched_of!(
        "l.id, true, d.tenant, d.id, d.principal, d.role, d.target, l.dies_at, l.revocable = 1, l.end_how, false",
        "leases l JOIN decisions d ON d.id = l.decision",
        "l.end_how = 'dies_at_expiry' AND l.dies_at > $1",
        "l.id"
    ),
];

fn touched_row(row: &PgRow) -> sqlx::Result<Touched> {
    Ok(Touched {
        subject: row.try_get(0)?,
        leased: row.try_get(1)?,
        tenant: row.try_get(2)?,
        decision: row.try_get(3)?,
        principal: row.try_get(4)?,
        role: row.try_get(5)?,
        target: row.try_get(6)?,
        dies_at: row.try_get(7)?,
        revocable: row.try_get(8)?,
        end_how: row.try_get(9)?,
        open: row.try_get(10)?,
    })
}

/// Gives `each` what lives at `now` and matches, until it answers false; without what is noted of `marked` already.
pub(super) async fn touched(
    connection: &mut PgConnection,
    now: i64,
    pattern: &Pattern,
    marked: Option<BlockId>,
    mut each: impl FnMut(Touched) -> bool,
) -> sqlx::Result<()> {
    let Pattern { tenant, kind, value, second, .. } = pattern;
    let marked = marked.map(|block| *block.as_bytes());
    for statement in TOUCHED {
        let select = sqlx::query(statement).bind(now).bind(tenant).bind(*kind).bind(value).bind(second);
        let mut rows = select.bind(marked).fetch(&mut *connection);
        while let Some(row) = rows.try_next().await? {
            let one = touched_row(&row)?;
            let keyless: bool = row.try_get(11)?;
            let (frame, values): (Option<String>, Option<String>) = (row.try_get(12)?, row.try_get(13)?);
            let fits =
                !keyless || pattern.fits_input(&one, frame.as_deref().unwrap_or_default(), values.as_deref());
            if fits && !each(one) {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Gives `each` all that is noted of `block`.
pub(super) async fn effects(
    connection: &mut PgConnection,
    block: BlockId,
    mut each: impl FnMut(Touched),
) -> sqlx::Result<()> {
    let select = sqlx::query(
        "SELECT e.subject, e.leased = 1, d.tenant, d.id, d.principal, d.role, d.target, coalesce(l.dies_at, d.dies_by),
             coalesce(l.revocable = 1, false), l.end_how, a.decision IS NOT NULL
         FROM block_effects e LEFT JOIN leases l ON l.id = e.subject AND e.leased = 1
             JOIN decisions d ON d.id = coalesce(l.decision, e.subject)
             LEFT JOIN authorisations a ON a.decision = e.subject AND e.leased = 0
         WHERE e.block = $1",
    );
    let mut rows = select.bind(block.as_bytes()).fetch(connection);
    while let Some(row) = rows.try_next().await? {
        each(touched_row(&row)?);
    }
    Ok(())
}

/// The columns of `decision_keys` from `first` on, if there is such a row.
pub(super) fn keys(row: &PgRow, first: usize) -> sqlx::Result<Option<Keys>> {
    let Some(issuer) = row.try_get(first)? else { return Ok(None) };
    Ok(Some(Keys {
        issuer,
        subject: row.try_get(first + 1)?,
        repository_id: row.try_get(first + 2)?,
        repository: row.try_get(first + 3)?,
        runner: row.try_get(first + 4)?,
    }))
}

fn block(row: &PgRow) -> sqlx::Result<BlockRow> {
    Ok(BlockRow {
        id: BlockId::from_bytes(row.try_get(0)?),
        tenant: row.try_get(1)?,
        subject: row.try_get(2)?,
        reason: row.try_get(3)?,
        set_by: row.try_get(4)?,
        set_at: row.try_get(5)?,
        expires_at: row.try_get(6)?,
        lifted_at: row.try_get(7)?,
        lifted_by: row.try_get(8)?,
    })
}

/// Every block in force at `now`.
pub(super) async fn in_force(connection: &mut PgConnection, now: i64) -> sqlx::Result<Vec<BlockRow>> {
    let rows = sqlx::query(
        "SELECT id, tenant, subject, reason, set_by, set_at, expires_at, lifted_at, lifted_by FROM blocks
         WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > $1)",
    );
    rows.bind(now).fetch_all(connection).await?.iter().map(block).collect()
}

/// The epoch: it grows with every block that is set or lifted.
pub(super) async fn epoch(connection: &mut PgConnection) -> sqlx::Result<i64> {
    sqlx::query_scalar("SELECT epoch FROM store").fetch_one(connection).await
}

/// The newest blocks that `tenant` may see, or all if that is empty; those in force at `now`, or also those that are
/// over if that is none.
pub(super) async fn blocks(
    connection: &mut PgConnection,
    tenant: &str,
    now: Option<i64>,
) -> sqlx::Result<Vec<BlockRow>> {
    let rows = sqlx::query(
        "SELECT id, tenant, subject, reason, set_by, set_at, expires_at, lifted_at, lifted_by FROM blocks
         WHERE ($1 = '' OR tenant = $1)
             AND ($2::bigint IS NULL OR (lifted_at IS NULL AND (expires_at IS NULL OR expires_at > $2)))
         ORDER BY id DESC LIMIT $3",
    );
    rows.bind(tenant).bind(now).bind(LISTED).fetch_all(connection).await?.iter().map(block).collect()
}

/// One block, if `tenant` may see it.
pub(super) async fn one_block(
    connection: &mut PgConnection,
    tenant: &str,
    id: BlockId,
) -> sqlx::Result<Option<BlockRow>> {
    let row = sqlx::query(
        "SELECT id, tenant, subject, reason, set_by, set_at, expires_at, lifted_at, lifted_by FROM blocks
         WHERE id = $2 AND ($1 = '' OR tenant = $1)",
    );
    row.bind(tenant).bind(id.as_bytes()).fetch_optional(connection).await?.as_ref().map(block).transpose()
}
