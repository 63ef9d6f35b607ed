//! Lists, newest first. A page looks at a bounded part of the store, however little of it fits the search.

use jiff::Timestamp;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params_from_iter};

use crate::domain::{DecisionId, LeaseId, Tenants};
use crate::ledger::explained::time;
use crate::ledger::leases::renews;
use crate::ledger::look;
use crate::ledger::search::{DecisionEntry, LeaseEntry, LeaseState, Look, Page, UnleasedEntry};

/// A statement in the making: every value is bound, none is pasted.
struct Query {
    sql: String,
    values: Vec<Value>,
}

impl Query {
    fn new(select: &str) -> Self {
        Self { sql: format!("{select} WHERE 1"), values: Vec::new() }
    }

    fn and(&mut self, condition: &str, values: impl IntoIterator<Item = Value>) {
        self.sql.push_str(" AND ");
        self.sql.push_str(condition);
        self.values.extend(values);
    }

    fn and_if<T: Into<Value>>(&mut self, condition: &str, value: Option<T>) {
        if let Some(value) = value {
            self.and(condition, [value.into()]);
        }
    }

    fn run<T>(
        mut self,
        connection: &Connection,
        (order, limit): (&str, usize),
        read: fn(&Row<'_>, i64) -> rusqlite::Result<T>,
        now: i64,
    ) -> rusqlite::Result<Vec<T>> {
        self.sql.push_str(" ORDER BY ");
        self.sql.push_str(order);
        self.sql.push_str(" DESC LIMIT ?");
        self.values.push(Value::from(i64::try_from(limit).unwrap_or(i64::MAX)));
        let mut statement = connection.prepare(&self.sql)?;
        statement.query_map(params_from_iter(self.values), |row| read(row, now))?.collect()
    }
}

impl Look {
    /// The conditions on the decision that a row came from, which `id` names.
    fn narrow(&self, query: &mut Query, id: &str) {
        let Self { search, .. } = self;
        query.and_if("d.tenant = ?", self.tenants.one().map(|tenant| tenant.as_str().to_owned()));
        query.and_if("d.principal = ?", search.principal.as_ref().map(|key| key.as_str().to_owned()));
        query.and_if("d.role = ?", search.role.as_ref().map(|role| role.as_str().to_owned()));
        query.and_if(&format!("{id} < ?"), self.newest().map(blob));
        query.and_if("d.at >= ?", search.since.map(Timestamp::as_millisecond));
        query.and_if(&format!("{id} >= ?"), self.oldest().map(blob));
        query.and_if("d.at < ?", search.until.map(Timestamp::as_millisecond));
    }

    /// The oldest row that this page looks at, if there are older ones.
    fn floor(
        &self,
        connection: &Connection,
        table: &str,
        column: &str,
    ) -> rusqlite::Result<Option<DecisionId>> {
        let newest = self.newest().map_or_else(|| Value::Blob(vec![0xff; 16]), blob);
        connection
            .prepare_cached(&format!(
                "SELECT {column} FROM {table} WHERE {column} < ?1 ORDER BY {column} DESC LIMIT 1 OFFSET ?2"
            ))?
            .query_row((newest, i64::try_from(self.rows.saturating_sub(1)).unwrap_or(i64::MAX)), |row| {
                row.get(0).map(DecisionId::from_bytes)
            })
            .optional()
    }
}

fn blob(id: DecisionId) -> Value {
    Value::Blob(id.as_bytes().to_vec())
}

const LEASES: &str =
    "SELECT l.id, l.decision, l.tenant, d.principal, d.role, d.target, l.issued_at, l.dies_at, l.end_asked_at,
        l.ended_at, l.end_how, l.revocable, l.first_dies_at IS NOT NULL
     FROM leases l JOIN decisions d ON d.id = l.decision";

/// Leases.
pub(in crate::ledger) fn leases(
    connection: &Connection,
    wanted: &Look,
) -> rusqlite::Result<Page<LeaseEntry>> {
    let mut query = Query::new(LEASES);
    let now = Value::from(wanted.now);
    // The plus keeps SQLite from walking all leases in order instead of looking at the few that are meant.
    let (order, floor) = match wanted.search.state {
        Some(LeaseState::Live) => {
            query.and(
                "l.id IN (SELECT id FROM leases WHERE end_how IS NULL AND dies_at > ?
                     UNION ALL SELECT id FROM leases WHERE end_how = 'dies_at_expiry' AND dies_at > ?)",
                [now.clone(), now],
            );
            ("+l.decision", None)
        }
        Some(LeaseState::Ended) => {
            query.and("l.end_how = 'at_target'", []);
            ("l.decision", floor_of_leases(connection, wanted)?)
        }
        Some(LeaseState::Expired) => {
            query.and("coalesce(l.end_how, '') <> 'at_target' AND l.dies_at <= ?", [now]);
            ("l.decision", floor_of_leases(connection, wanted)?)
        }
        None => ("l.decision", floor_of_leases(connection, wanted)?),
    };
    query.and_if("l.decision >= ?", floor.map(blob));
    wanted.narrow(&mut query, order);
    let found = query.run(connection, (order, wanted.limit + 1), lease_entry, wanted.now)?;
    Ok(wanted.page(found, floor, |entry| entry.decision))
}

/// One principal's decisions are found by themselves, so that a page need not stop half way.
fn floor_of_leases(connection: &Connection, wanted: &Look) -> rusqlite::Result<Option<DecisionId>> {
    match wanted.search.principal {
        Some(_) => Ok(None),
        None => wanted.floor(connection, "leases", "decision"),
    }
}

/// One lease of `tenants`.
pub(in crate::ledger) fn lease(
    connection: &Connection,
    tenants: &Tenants,
    id: LeaseId,
    now: i64,
) -> rusqlite::Result<Option<LeaseEntry>> {
    let mut query = Query::new(LEASES);
    query.and("l.id = ?", [Value::Blob(id.as_bytes().to_vec())]);
    query.and_if("d.tenant = ?", tenants.one().map(|tenant| tenant.as_str().to_owned()));
    Ok(query.run(connection, ("l.decision", 1), lease_entry, now)?.pop())
}

fn lease_entry(row: &Row<'_>, now: i64) -> rusqlite::Result<LeaseEntry> {
    let dies_at = row.get(7)?;
    let (state, revocable) =
        look::life(row.get::<_, Option<String>>(10)?.as_deref(), dies_at, row.get(11)?, now);
    Ok(LeaseEntry {
        lease: LeaseId::from_bytes(row.get(0)?),
        decision: DecisionId::from_bytes(row.get(1)?),
        tenant: row.get(2)?,
        principal: row.get(3)?,
        role: row.get(4)?,
        target: row.get(5)?,
        issued_at: time(row.get(6)?),
        dies_at: time(dies_at),
        end_asked_at: row.get::<_, Option<i64>>(8)?.map(time),
        ended_at: row.get::<_, Option<i64>>(9)?.map(time),
        renewed: row.get(12)?,
        revocable,
        state,
    })
}

/// Authorisations without a lease that may have led to something which lives: few when all is well.
pub(in crate::ledger) fn unleased(
    connection: &Connection,
    wanted: &Look,
) -> rusqlite::Result<Page<UnleasedEntry>> {
    let mut query = Query::new(
        "SELECT a.decision, a.tenant, d.principal, d.role, d.target, d.at, a.dies_by, a.state, d.body
         FROM authorisations a JOIN decisions d ON d.id = a.decision",
    );
    query.and("a.dies_by > ?", [Value::from(wanted.now)]);
    wanted.narrow(&mut query, "a.decision");
    let read = |row: &Row<'_>, _| {
        Ok(UnleasedEntry {
            decision: DecisionId::from_bytes(row.get(0)?),
            tenant: row.get(1)?,
            principal: row.get(2)?,
            role: row.get(3)?,
            target: row.get(4)?,
            authorised_at: time(row.get(5)?),
            dies_by: time(row.get(6)?),
            state: row.get(7)?,
            renews: renews(&row.get::<_, String>(8)?),
        })
    };
    let found = query.run(connection, ("a.decision", wanted.limit + 1), read, wanted.now)?;
    Ok(wanted.page(found, None, |entry| entry.decision))
}

/// Decisions.
pub(in crate::ledger) fn decisions(
    connection: &Connection,
    wanted: &Look,
) -> rusqlite::Result<Page<DecisionEntry>> {
    let mut query = Query::new(
        "SELECT d.id, d.at, d.operation, d.tenant, d.principal, d.role, d.outcome, d.target, d.dies_by
         FROM decisions d",
    );
    let search = &wanted.search;
    let floor = match search.principal {
        Some(_) => None,
        None => wanted.floor(connection, "decisions", "id")?,
    };
    query.and_if("d.id >= ?", floor.map(blob));
    query.and_if("d.operation = ?", search.operation.map(|operation| operation.as_str().to_owned()));
    query.and_if("d.outcome = ?", search.outcome.clone());
    wanted.narrow(&mut query, "d.id");
    let read = |row: &Row<'_>, _| {
        Ok(DecisionEntry {
            decision: DecisionId::from_bytes(row.get(0)?),
            at: time(row.get(1)?),
            operation: row.get(2)?,
            tenant: row.get(3)?,
            principal: row.get(4)?,
            role: row.get(5)?,
            outcome: row.get(6)?,
            target: row.get(7)?,
            dies_by: row.get::<_, Option<i64>>(8)?.map(time),
        })
    };
    let found = query.run(connection, ("d.id", wanted.limit + 1), read, wanted.now)?;
    Ok(wanted.page(found, floor, |entry| entry.decision))
}
