//! Copies of a ledger, row by row: a database's into a temporary file, where the one verification for both stores reads
//! it; and a file's into a database, when an installation grows.

mod cells;
mod into;
mod tables;

pub use into::Copied;
pub(in crate::ledger) use into::copy;

use std::path::Path;

use futures_util::TryStreamExt;
use rusqlite::Connection;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use self::cells::Cell;
use self::tables::{Shape, TABLES};
use crate::ledger::error::LedgerError;
use crate::ledger::postgres::connect::{self, Way};
use crate::ledger::sqlite::open::blank;

/// Rows that are in memory at once.
const CHUNK: usize = 500;

/// Copies the database into the new file `path`, as it is at one moment; servers go on writing meanwhile.
pub(super) async fn snapshot(way: &Way, path: &Path) -> Result<Connection, LedgerError> {
    let mut database = connect::connect(way).await?;
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").execute(&mut database).await?;
    let mut file = blank(path)?;
    for shape in &TABLES {
        file = fill(&mut database, file, shape).await?;
    }
    database.close().await?;
    Ok(file)
}

async fn fill(
    database: &mut PgConnection,
    mut file: Connection,
    shape: &Shape,
) -> Result<Connection, LedgerError> {
    let select = sqlx::query(AssertSqlSafe(shape.select()));
    let mut rows = select.fetch(database);
    let mut chunk = Vec::with_capacity(CHUNK);
    loop {
        let row = rows.try_next().await?;
        let ended = row.is_none();
        if let Some(row) = row {
            chunk.push(Cell::of_row(&row, shape)?);
        }
        if ended || chunk.len() == CHUNK {
            insert(&mut file, shape, &chunk)?;
            chunk.clear();
        }
        if ended {
            return Ok(file);
        }
    }
}

fn insert(file: &mut Connection, shape: &Shape, rows: &[Vec<Cell>]) -> Result<(), LedgerError> {
    let places = vec!["?"; shape.columns.len()].join(", ");
    let sql = format!("INSERT INTO {} ({}) VALUES ({places})", shape.name, shape.names());
    let transaction = file.transaction()?;
    let mut insert = transaction.prepare_cached(&sql)?;
    for row in rows {
        insert.execute(rusqlite::params_from_iter(row))?;
    }
    drop(insert);
    Ok(transaction.commit()?)
}
