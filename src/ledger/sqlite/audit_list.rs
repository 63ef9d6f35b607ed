//! The audit chain as a list: what lies beyond a place, oldest first, each chain in its own order.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use serde_json::value::{RawValue, to_raw_value};

use crate::domain::{DecisionId, LeaseId, Tenants};
use crate::ledger::counts::Counted;
use crate::ledger::explained::time;
use crate::ledger::search::{AuditEntry, AuditPage, AuditPlace};
use crate::secret::Fingerprint;

/// Most records that one page looks at.
const LOOK: usize = 2000;

/// The newest chains, any of which may still grow: as many servers as may share a store.
const GROWING: i64 = 64;

const RECORDS: &str =
    "SELECT a.writer, a.seq, a.at, a.kind, a.tenant, a.hash, a.body, l.id, d.id, d.principal, d.role, d.operation,
        d.outcome
     FROM audit a LEFT JOIN leases l ON l.id = a.subject
        LEFT JOIN decisions d ON d.id = coalesce(l.decision, a.subject)
     WHERE a.writer = ?1 AND a.seq > ?2 ORDER BY a.seq LIMIT ?3";

/// Records of `tenants` beyond `place`: at most `limit`, of a bounded number that are looked at.
pub(in crate::ledger) fn audit(
    connection: &Connection,
    tenants: &Tenants,
    place: &AuditPlace,
    limit: usize,
) -> rusqlite::Result<AuditPage> {
    let mut page = AuditPage { entries: Vec::new(), place: place.clone(), more: false };
    let mut left = LOOK;
    for writer in writers(connection, place.base)? {
        let mut records = connection.prepare_cached(RECORDS)?;
        let from = place.of(writer);
        let mut rows = records.query((writer, from, i64::try_from(left + 1).unwrap_or(i64::MAX)))?;
        while let Some(row) = rows.next()? {
            if left == 0 || page.entries.len() == limit {
                page.more = true;
                break;
            }
            left -= 1;
            page.place.read.insert(writer, row.get(1)?);
            if tenants.include(&row.get::<_, String>(4)?) {
                page.entries.push(entry(connection, row)?);
            }
        }
        if page.more {
            break;
        }
    }
    forget_ended(connection, &mut page)?;
    Ok(page)
}

/// The place beyond which all records were made at `since` or later.
pub(in crate::ledger) fn place_at(
    connection: &Connection,
    since: Option<Timestamp>,
) -> rusqlite::Result<AuditPlace> {
    let mut place = AuditPlace::default();
    for writer in writers(connection, 0)? {
        let seq = match since {
            Some(since) => last_before(connection, writer, since.as_millisecond())?,
            None => head(connection, writer)?,
        };
        if seq > 0 {
            place.read.insert(writer, seq);
        }
    }
    Ok(place)
}

fn writers(connection: &Connection, base: i64) -> rusqlite::Result<Vec<i64>> {
    connection
        .prepare_cached("SELECT id FROM writers WHERE id > ?1 ORDER BY id")?
        .query_map([base], |row| row.get(0))?
        .collect()
}

fn head(connection: &Connection, writer: i64) -> rusqlite::Result<i64> {
    connection
        .prepare_cached("SELECT coalesce(max(seq), 0) FROM audit WHERE writer = ?1")?
        .query_row([writer], |row| row.get(0))
}

/// The last record of `writer` made before `since`, found by halving: times grow along a chain.
fn last_before(connection: &Connection, writer: i64, since: i64) -> rusqlite::Result<i64> {
    let mut at = connection.prepare_cached("SELECT at FROM audit WHERE writer = ?1 AND seq = ?2")?;
    let (mut before, mut after) = (0, head(connection, writer)? + 1);
    while after - before > 1 {
        let middle = before + (after - before) / 2;
        let made: Option<i64> = at.query_row([writer, middle], |row| row.get(0)).optional()?;
        if made.is_none_or(|made| made >= since) {
            after = middle;
        } else {
            before = middle;
        }
    }
    Ok(before)
}

/// Keeps the place small: chains that were read to their end and cannot grow any more are one number.
fn forget_ended(connection: &Connection, page: &mut AuditPage) -> rusqlite::Result<()> {
    let all = writers(connection, page.place.base)?;
    let newest = all.last().copied().unwrap_or(0);
    for writer in all {
        if writer > newest - GROWING || page.place.of(writer) < head(connection, writer)? {
            break;
        }
        page.place.base = writer;
        page.place.read.remove(&writer);
    }
    Ok(())
}

fn entry(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let (writer, seq, kind): (i64, i64, String) = (row.get(0)?, row.get(1)?, row.get(3)?);
    let body: Option<String> = row.get(6)?;
    let data = match body {
        Some(body) => RawValue::from_string(body).ok(),
        None if kind == "counted" => to_raw_value(&counts(connection, writer, seq)?).ok(),
        None => None,
    };
    Ok(AuditEntry {
        writer,
        seq,
        at: time(row.get(2)?),
        kind,
        tenant: row.get(4)?,
        hash: Fingerprint::from_bytes(row.get(5)?).to_string(),
        lease: row.get::<_, Option<_>>(7)?.map(LeaseId::from_bytes),
        decision: row.get::<_, Option<_>>(8)?.map(DecisionId::from_bytes),
        principal: row.get(9)?,
        role: row.get(10)?,
        operation: row.get(11)?,
        result: row.get(12)?,
        data,
    })
}

/// What one record of counts covers; a flush has some hundreds of rows at most.
fn counts(connection: &Connection, writer: i64, seq: i64) -> rusqlite::Result<Vec<Counted>> {
    connection
        .prepare_cached(
            "SELECT minute, tenant, code, source, count FROM refusal_counts WHERE writer = ?1 AND seq = ?2
             ORDER BY minute, tenant, code, source",
        )?
        .query_map([writer, seq], |row| {
            Ok(Counted {
                minute: row.get(0)?,
                tenant: row.get(1)?,
                code: row.get(2)?,
                source: row.get(3)?,
                count: row.get(4)?,
            })
        })?
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A store with so many chains of two records each, made a second apart.
    fn store(chains: i64) -> Connection {
        let store = Connection::open_in_memory().unwrap();
        store.execute_batch(include_str!("../../../migrations/sqlite/0001_ledger.sql")).unwrap();
        for writer in 1..=chains {
            let instance = u128::from(writer.unsigned_abs()).to_be_bytes();
            store
                .execute(
                    "INSERT INTO writers (tenant, instance, started_at) VALUES ('', ?1, ?2)",
                    (instance, writer),
                )
                .unwrap();
            add(&store, writer, 1);
            add(&store, writer, 2);
        }
        store
    }

    fn add(store: &Connection, writer: i64, seq: i64) {
        store
            .execute(
                "INSERT INTO audit (writer, seq, at, kind, tenant, subject, payload, hash)
                 VALUES (?1, ?2, ?3, 'started', '', x'', zeroblob(32), zeroblob(32))",
                (writer, seq, writer * 2000 + seq * 1000),
            )
            .unwrap();
    }

    fn read_all(store: &Connection, mut place: AuditPlace) -> (Vec<(i64, i64)>, AuditPlace) {
        let mut found = Vec::new();
        loop {
            let page = audit(store, &Tenants::All, &place, 7).unwrap();
            found.extend(page.entries.iter().map(|entry| (entry.writer, entry.seq)));
            place = page.place;
            if !page.more {
                return (found, place);
            }
        }
    }

    #[test]
    fn s_07_the_place_stays_small_however_often_servers_started() {
        let store = store(200);
        let (found, place) = read_all(&store, AuditPlace::default());
        assert_eq!(found.len(), 400);
        assert_eq!((place.base, place.read.len()), (136, 64));
        // Whatever still grows is found, in whichever of the newest chains it is.
        add(&store, 150, 3);
        add(&store, 200, 3);
        assert_eq!(read_all(&store, place).0, [(150, 3), (200, 3)]);
    }

    #[test]
    fn a_time_is_found_within_the_chain_that_holds_it() {
        let store = store(5);
        let second = |n: i64| Timestamp::from_second(n).unwrap();
        let from = |since| read_all(&store, place_at(&store, since).unwrap()).0;
        assert_eq!(from(Some(second(0))).len(), 10);
        // Chain 3 has records of the seconds 7 and 8.
        assert_eq!(from(Some(second(8)))[0], (3, 2));
        assert_eq!(from(Some(second(7)))[0], (3, 1));
        assert_eq!(from(Some(second(13))), []);
        assert_eq!(from(None), []);
    }
}
