//! What is read about blocks: which are in force, and what lives that one matches.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::domain::BlockId;
use crate::ledger::intent::BlockRow;
use crate::ledger::touched::{LISTED, Pattern, Touched};

impl Touched {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            subject: row.get(0)?,
            leased: row.get(1)?,
            tenant: row.get(2)?,
            decision: row.get(3)?,
            principal: row.get(4)?,
            role: row.get(5)?,
            target: row.get(6)?,
            dies_at: row.get(7)?,
            revocable: row.get(8)?,
            end_how: row.get(9)?,
            open: row.get(10)?,
        })
    }
}

/// A lease as [`Touched`].
const LEASE: &str =
    "l.id, 1, d.tenant, d.id, d.principal, d.role, d.target, l.dies_at, l.revocable, l.end_how, 0";

/// An authorisation as [`Touched`].
const AUTHORISATION: &str = "d.id, 0, d.tenant, d.id, d.principal, d.role, d.target, d.dies_by, 0, NULL, 1";

/// The rest of a decision that has no keys, for reading its input.
const INPUT: &str = "k.decision IS NULL,
    CASE WHEN k.decision IS NULL THEN (SELECT f.body FROM frames f WHERE f.id = d.frame) END,
    CASE WHEN k.decision IS NULL THEN (SELECT i.body FROM inputs i WHERE i.decision = d.n) END";

const MATCHES: &str = "(?2 = '' OR d.tenant = ?2) AND (
    ?3 = 'everything' OR (?3 = 'tenant' AND d.tenant = ?4) OR (?3 = 'principal' AND d.principal = ?4)
    OR (?3 = 'role' AND d.role = ?4) OR (?3 = 'issuer' AND k.issuer = ?4)
    OR (?3 IN ('runner', 'issuer') AND instr(char(10) || k.runner || char(10), char(10) || ?4 || char(10)) > 0)
    OR (?3 = 'identity' AND k.issuer = ?4 AND k.subject = ?5)
    OR (?3 = 'repository' AND (k.repository_id = ?4 OR k.repository = ?4))
    OR (k.decision IS NULL AND ?3 IN ('issuer', 'identity', 'repository', 'runner')))
    AND (?6 IS NULL OR NOT EXISTS (SELECT 1 FROM block_effects e WHERE e.subject = s.id AND e.block = ?6))";

/// Gives `each` what lives at `now` and matches, until it answers false; without what is noted of `marked` already.
pub(in crate::ledger) fn touched(
    connection: &Connection,
    now: i64,
    pattern: &Pattern,
    marked: Option<BlockId>,
    mut each: impl FnMut(Touched) -> bool,
) -> rusqlite::Result<()> {
    let matches = MATCHES.replace("s.id", "l.id");
    let leases = |ended: &str| {
        format!(
            "SELECT {LEASE}, {INPUT} FROM leases l JOIN decisions d ON d.id = l.decision
                 LEFT JOIN decision_keys k ON k.decision = d.n
             WHERE {ended} AND l.dies_at > ?1 AND {matches}"
        )
    };
    let authorisations = format!(
        "SELECT {AUTHORISATION}, {INPUT} FROM authorisations a JOIN decisions d ON d.id = a.decision
             LEFT JOIN decision_keys k ON k.decision = d.n
         WHERE a.dies_by > ?1 AND {}",
        MATCHES.replace("s.id", "d.id")
    );
    for sql in [authorisations, leases("l.end_how IS NULL"), leases("l.end_how = 'dies_at_expiry'")] {
        let mut select = connection.prepare_cached(&sql)?;
        let marked = marked.map(|block| *block.as_bytes());
        let Pattern { tenant, kind, value, second, .. } = pattern;
        let mut rows = select.query(params![now, tenant, kind, value, second, marked])?;
        while let Some(row) = rows.next()? {
            let one = Touched::read(row)?;
            let keyless = row.get::<_, bool>(11)?;
            let (frame, values): (Option<String>, Option<String>) = (row.get(12)?, row.get(13)?);
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
pub(in crate::ledger) fn effects(
    connection: &Connection,
    block: BlockId,
    mut each: impl FnMut(Touched),
) -> rusqlite::Result<()> {
    let mut select = connection.prepare_cached(
        "SELECT e.subject, e.leased, d.tenant, d.id, d.principal, d.role, d.target, coalesce(l.dies_at, d.dies_by),
             coalesce(l.revocable, 0), l.end_how, a.decision IS NOT NULL
         FROM block_effects e LEFT JOIN leases l ON l.id = e.subject AND e.leased = 1
             JOIN decisions d ON d.id = coalesce(l.decision, e.subject)
             LEFT JOIN authorisations a ON a.decision = e.subject AND e.leased = 0
         WHERE e.block = ?1",
    )?;
    let mut rows = select.query([block.as_bytes()])?;
    while let Some(row) = rows.next()? {
        each(Touched::read(row)?);
    }
    Ok(())
}

const BLOCK: &str =
    "SELECT id, tenant, subject, reason, set_by, set_at, expires_at, lifted_at, lifted_by FROM blocks";

fn block(row: &Row<'_>) -> rusqlite::Result<BlockRow> {
    Ok(BlockRow {
        id: BlockId::from_bytes(row.get(0)?),
        tenant: row.get(1)?,
        subject: row.get(2)?,
        reason: row.get(3)?,
        set_by: row.get(4)?,
        set_at: row.get(5)?,
        expires_at: row.get(6)?,
        lifted_at: row.get(7)?,
        lifted_by: row.get(8)?,
    })
}

/// The epoch, and every block in force at `now`.
pub(in crate::ledger) fn in_force(
    connection: &Connection,
    now: i64,
) -> rusqlite::Result<(i64, Vec<BlockRow>)> {
    // One snapshot: an epoch without its block would never be looked at again.
    let snapshot = connection.unchecked_transaction()?;
    let epoch = snapshot.query_row("SELECT epoch FROM store", [], |row| row.get(0))?;
    let blocks = snapshot
        .prepare_cached(&format!(
            "{BLOCK} WHERE lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?1)"
        ))?
        .query_map([now], block)?
        .collect::<Result<_, _>>()?;
    Ok((epoch, blocks))
}

/// The epoch: it grows with every block that is set or lifted.
pub(in crate::ledger) fn epoch(connection: &Connection) -> rusqlite::Result<i64> {
    connection.prepare_cached("SELECT epoch FROM store")?.query_row([], |row| row.get(0))
}

/// The newest blocks that `tenant` may see, or all if that is empty; those in force at `now`, or also those that are
/// over if that is none.
pub(in crate::ledger) fn blocks(
    connection: &Connection,
    tenant: &str,
    now: Option<i64>,
) -> rusqlite::Result<Vec<BlockRow>> {
    connection
        .prepare_cached(&format!(
            "{BLOCK} WHERE (?1 = '' OR tenant = ?1)
                 AND (?2 IS NULL OR (lifted_at IS NULL AND (expires_at IS NULL OR expires_at > ?2)))
             ORDER BY id DESC LIMIT {LISTED}"
        ))?
        .query_map(params![tenant, now], block)?
        .collect()
}

/// One block, if `tenant` may see it.
pub(in crate::ledger) fn one_block(
    connection: &Connection,
    tenant: &str,
    id: BlockId,
) -> rusqlite::Result<Option<BlockRow>> {
    connection
        .prepare_cached(&format!("{BLOCK} WHERE id = ?2 AND (?1 = '' OR tenant = ?1)"))?
        .query_row(params![tenant, id.as_bytes()], block)
        .optional()
}

/// Every block as stored, for verification.
pub(in crate::ledger) fn all_blocks(connection: &Connection) -> rusqlite::Result<Vec<BlockRow>> {
    connection.prepare(BLOCK)?.query_map([], block)?.collect()
}
