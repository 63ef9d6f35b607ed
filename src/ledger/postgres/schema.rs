//! The schema's versions, under the driver's advisory lock.
//!
//! A server of version N works on schema N, and on N+1 while the others of its kind are replaced: a migration therefore
//! only adds (tables, indexes, columns with a default), and what it takes away goes two versions later.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{PgConnection, SqlSafeStr};

use crate::ledger::error::LedgerError;

/// The migrations in order, with what each is about.
const STEPS: [(&str, &str); 3] = [
    ("ledger", include_str!("../../../migrations/postgres/0001_ledger.sql")),
    ("retention", include_str!("../../../migrations/postgres/0002_retention.sql")),
    ("possession", include_str!("../../../migrations/postgres/0003_possession.sql")),
];

/// Where the versions are noted; by this table a database is known as ours.
const TABLE: &str = "tollgate_schema";

/// The newest version that this program knows.
const LATEST: i64 = 3;

/// Brings the schema up to date.
pub(super) async fn bring_up(connection: &mut PgConnection, place: &str) -> Result<(), LedgerError> {
    match version(connection).await? {
        Some(found) => fits(found)?,
        None if is_used(connection).await? => return Err(LedgerError::NoStore(place.to_owned())),
        None => {}
    }
    Ok(migrator().run_direct(None, connection, false).await?)
}

/// Refuses a database without a ledger, or with one that is too new.
pub(super) async fn check(connection: &mut PgConnection, place: &str) -> Result<(), LedgerError> {
    let found = version(connection).await?;
    fits(found.ok_or_else(|| LedgerError::NoStore(place.to_owned()))?)
}

const fn fits(found: i64) -> Result<(), LedgerError> {
    let known = LATEST;
    if found > known + 1 { Err(LedgerError::SchemaAhead { found, known }) } else { Ok(()) }
}

/// The schema's version; none in a database that is not ours.
async fn version(connection: &mut PgConnection) -> sqlx::Result<Option<i64>> {
    let ours: bool = sqlx::query_scalar("SELECT to_regclass('tollgate_schema') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    if !ours {
        return Ok(None);
    }
    let newest = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM tollgate_schema");
    newest.fetch_one(connection).await.map(Some)
}

/// True if somebody else's tables are there.
async fn is_used(connection: &mut PgConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar("SELECT EXISTS (SELECT FROM pg_tables WHERE schemaname = current_schema())")
        .fetch_one(connection)
        .await
}

fn migrator() -> Migrator {
    let steps = (1..).zip(STEPS).map(|(version, (about, sql))| {
        Migration::new(version, about.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let mut migrator = Migrator::with_migrations(steps.collect());
    migrator.dangerous_set_table_name(TABLE);
    // The next version's is not known here, and is none of our business.
    migrator.set_ignore_missing(true);
    migrator
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_step_is_known_and_one_more_only_adds() {
        assert_eq!(usize::try_from(LATEST), Ok(STEPS.len()));
        assert!(fits(LATEST).is_ok() && fits(LATEST + 1).is_ok());
        assert!(matches!(fits(LATEST + 2), Err(LedgerError::SchemaAhead { found: 5, known: LATEST })));
    }
}
