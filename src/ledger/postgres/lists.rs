//! Lists, newest first. A page looks at a bounded part of the store, however little of it fits the search.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{Encode, PgConnection, Postgres, QueryBuilder, Row, Type};

use crate::domain::{DecisionId, LeaseId, Tenants};
use crate::ledger::explained::time;
use crate::ledger::leases::renews;
use crate::ledger::look;
use crate::ledger::search::{DecisionEntry, LeaseEntry, LeaseState, Look, Page, UnleasedEntry};

/// A statement in the making: every value is bound, none is pasted.
struct Query(QueryBuilder<Postgres>);

impl Query {
    /// A statement that ends in a `WHERE` with a condition.
    fn new(select: &str) -> Self {
        Self(QueryBuilder::new(select))
    }

    fn and(&mut self, condition: &str) {
        self.0.push(" AND ").push(condition);
    }

    /// Adds a comparison, such as `d.role =`, with `value` if there is one.
    fn and_if<T>(&mut self, comparison: &str, value: Option<T>)
    where
        T: for<'q> Encode<'q, Postgres> + Type<Postgres>,
    {
        if let Some(value) = value {
            self.and(comparison);
            self.0.push(" ").push_bind(value);
        }
    }

    async fn run<T>(
        mut self,
        connection: &mut PgConnection,
        (order, limit): (&str, usize),
        read: impl Fn(&PgRow) -> sqlx::Result<T>,
    ) -> sqlx::Result<Vec<T>> {
        self.0.push(" ORDER BY ").push(order).push(" DESC LIMIT ");
        self.0.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
        self.0.build().fetch_all(connection).await?.iter().map(read).collect()
    }
}

impl Look {
    /// The conditions on the decision that a row came from, which `id` names.
    fn narrow_rows(&self, query: &mut Query, id: &str) {
        let Self { search, .. } = self;
        query.and_if("d.tenant =", self.tenants.one().map(|tenant| tenant.as_str().to_owned()));
        query.and_if("d.principal =", search.principal.as_ref().map(|key| key.as_str().to_owned()));
        query.and_if("d.role =", search.role.as_ref().map(|role| role.as_str().to_owned()));
        query.and_if(&format!("{id} <"), self.newest().map(bytes));
        query.and_if("d.at >=", search.since.map(Timestamp::as_millisecond));
        query.and_if(&format!("{id} >="), self.oldest().map(bytes));
        query.and_if("d.at <", search.until.map(Timestamp::as_millisecond));
    }

    /// The oldest of the rows that this page looks at, by the statement that lists them, if there are older ones. One
    /// principal's decisions are found by themselves, so that a page need not stop half way.
    async fn floor_of(
        &self,
        connection: &mut PgConnection,
        statement: &'static str,
    ) -> sqlx::Result<Option<DecisionId>> {
        if self.search.principal.is_some() {
            return Ok(None);
        }
        let newest = self.newest().map_or_else(|| vec![0xff; 16], bytes);
        let offset = i64::try_from(self.rows.saturating_sub(1)).unwrap_or(i64::MAX);
        let found = sqlx::query_scalar(statement).bind(newest).bind(offset);
        Ok(found.fetch_optional(connection).await?.map(DecisionId::from_bytes))
    }
}

fn bytes(id: DecisionId) -> Vec<u8> {
    id.as_bytes().to_vec()
}

/// Columns of a lease and its decision.
const LEASE: &str =
    "SELECT l.id, l.decision, l.tenant, d.principal, d.role, d.target, l.issued_at, l.dies_at, l.end_asked_at,
         l.ended_at, l.end_how, l.revocable = 1, l.first_dies_at IS NOT NULL";

const FROM_LEASES: &str = " FROM leases l JOIN decisions d ON d.id = l.decision WHERE true";

/// The oldest lease of so many.
const FLOOR_OF_LEASES: &str =
    "SELECT decision FROM leases WHERE decision < $1 ORDER BY decision DESC LIMIT 1 OFFSET $2";

/// The oldest decision of so many.
const FLOOR_OF_DECISIONS: &str = "SELECT id FROM decisions WHERE id < $1 ORDER BY id DESC LIMIT 1 OFFSET $2";

/// Leases.
pub(super) async fn leases(connection: &mut PgConnection, wanted: &Look) -> sqlx::Result<Page<LeaseEntry>> {
    let now = wanted.now;
    let mut query = Query::new(LEASE);
    let floor = if wanted.search.state == Some(LeaseState::Live) {
        // Read by themselves before they are put in order: the few that live, instead of a walk through all.
        let living = [
            " FROM (SELECT * FROM leases WHERE end_how IS NULL AND dies_at > ",
            " UNION ALL SELECT * FROM leases WHERE end_how = 'dies_at_expiry' AND dies_at > ",
        ];
        for part in living {
            query.0.push(part).push_bind(now);
        }
        query.0.push(" OFFSET 0) l JOIN decisions d ON d.id = l.decision WHERE true");
        None
    } else {
        query.0.push(FROM_LEASES);
        wanted.floor_of(&mut *connection, FLOOR_OF_LEASES).await?
    };
    match wanted.search.state {
        Some(LeaseState::Live) | None => {}
        Some(LeaseState::Ended) => query.and("l.end_how = 'at_target'"),
        Some(LeaseState::Expired) => {
            query.and("coalesce(l.end_how, '') <> 'at_target'");
            query.and_if("l.dies_at <=", Some(now));
        }
    }
    query.and_if("l.decision >=", floor.map(bytes));
    wanted.narrow_rows(&mut query, "l.decision");
    let read = |row: &PgRow| lease_entry(row, now);
    let found = query.run(connection, ("l.decision", wanted.limit + 1), read).await?;
    Ok(wanted.page(found, floor, |entry| entry.decision))
}

/// One lease of `tenants`.
pub(super) async fn lease(
    connection: &mut PgConnection,
    tenants: &Tenants,
    id: LeaseId,
    now: i64,
) -> sqlx::Result<Option<LeaseEntry>> {
    let mut query = Query::new(LEASE);
    query.0.push(FROM_LEASES);
    query.and_if("l.id =", Some(id.as_bytes().to_vec()));
    query.and_if("d.tenant =", tenants.one().map(|tenant| tenant.as_str().to_owned()));
    let read = |row: &PgRow| lease_entry(row, now);
    Ok(query.run(connection, ("l.decision", 1), read).await?.pop())
}

fn lease_entry(row: &PgRow, now: i64) -> sqlx::Result<LeaseEntry> {
    let (dies_at, end_how): (i64, Option<String>) = (row.try_get(7)?, row.try_get(10)?);
    let (state, revocable) = look::life(end_how.as_deref(), dies_at, row.try_get(11)?, now);
    Ok(LeaseEntry {
        lease: LeaseId::from_bytes(row.try_get(0)?),
        decision: DecisionId::from_bytes(row.try_get(1)?),
        tenant: row.try_get(2)?,
        principal: row.try_get(3)?,
        role: row.try_get(4)?,
        target: row.try_get(5)?,
        issued_at: time(row.try_get(6)?),
        dies_at: time(dies_at),
        end_asked_at: row.try_get::<Option<i64>, _>(8)?.map(time),
        ended_at: row.try_get::<Option<i64>, _>(9)?.map(time),
        renewed: row.try_get(12)?,
        revocable,
        state,
    })
}

/// Authorisations without a lease that may have led to something which lives: few when all is well.
pub(super) async fn unleased(
    connection: &mut PgConnection,
    wanted: &Look,
) -> sqlx::Result<Page<UnleasedEntry>> {
    let mut query = Query::new(
        "SELECT a.decision, a.tenant, d.principal, d.role, d.target, d.at, a.dies_by, a.state, d.body
         FROM authorisations a JOIN decisions d ON d.id = a.decision WHERE true",
    );
    query.and_if("a.dies_by >", Some(wanted.now));
    wanted.narrow_rows(&mut query, "a.decision");
    let read = |row: &PgRow| {
        Ok(UnleasedEntry {
            decision: DecisionId::from_bytes(row.try_get(0)?),
            tenant: row.try_get(1)?,
            principal: row.try_get(2)?,
            role: row.try_get(3)?,
            target: row.try_get(4)?,
            authorised_at: time(row.try_get(5)?),
            dies_by: time(row.try_get(6)?),
            state: row.try_get(7)?,
            renews: renews(&row.try_get::<String, _>(8)?),
        })
    };
    let found = query.run(connection, ("a.decision", wanted.limit + 1), read).await?;
    Ok(wanted.page(found, None, |entry| entry.decision))
}

/// Decisions.
pub(super) async fn decisions(
    connection: &mut PgConnection,
    wanted: &Look,
) -> sqlx::Result<Page<DecisionEntry>> {
    let mut query = Query::new(
        "SELECT d.id, d.at, d.operation, d.tenant, d.principal, d.role, d.outcome, d.target, d.dies_by
         FROM decisions d WHERE true",
    );
    let floor = wanted.floor_of(&mut *connection, FLOOR_OF_DECISIONS).await?;
    query.and_if("d.id >=", floor.map(bytes));
    let operation = wanted.search.operation.map(|operation| operation.as_str().to_owned());
    query.and_if("d.operation =", operation);
    query.and_if("d.outcome =", wanted.search.outcome.clone());
    wanted.narrow_rows(&mut query, "d.id");
    let read = |row: &PgRow| {
        Ok(DecisionEntry {
            decision: DecisionId::from_bytes(row.try_get(0)?),
            at: time(row.try_get(1)?),
            operation: row.try_get(2)?,
            tenant: row.try_get(3)?,
            principal: row.try_get(4)?,
            role: row.try_get(5)?,
            outcome: row.try_get(6)?,
            target: row.try_get(7)?,
            dies_by: row.try_get::<Option<i64>, _>(8)?.map(time),
        })
    };
    let found = query.run(connection, ("d.id", wanted.limit + 1), read).await?;
    Ok(wanted.page(found, floor, |entry| entry.decision))
}
