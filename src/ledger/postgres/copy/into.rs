//! A file's ledger into an empty database, while no server uses either. All or nothing: one transaction.

use std::path::Path;

use rusqlite::Connection as File;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use tokio::sync::mpsc;

use super::CHUNK;
use super::cells::Cell;
use super::tables::{Holds, Shape, TABLES};
use crate::config::PostgresPlace;
use crate::ledger::error::{LedgerError, Unavailable};
use crate::ledger::postgres::background::Background;
use crate::ledger::postgres::connect::Way;
use crate::ledger::postgres::{Reader, connect, lock, schema};
use crate::ledger::sqlite::open::unused;
use crate::ledger::verify::Report;

/// Chunks between the reading thread and the database.
const AHEAD: usize = 4;

/// What was copied, and what verification says of the copy.
#[derive(Debug)]
pub struct Copied {
    /// Rows, all tables together.
    pub rows: u64,
    /// Of the copy, read back from the database.
    pub report: Report,
}

/// Rows of one table.
struct Part {
    shape: &'static Shape,
    rows: Vec<Vec<Cell>>,
}

/// Copies the file `from` into the database `to`, and verifies the copy. Blocks.
///
/// # Errors
/// A server uses the file, the database holds something already, or one of them fails: then nothing was copied.
pub(in crate::ledger) fn copy(from: &Path, to: &PostgresPlace) -> Result<Copied, LedgerError> {
    let (file, lock) = unused(from)?;
    let background = Background::start("ledger-copy")?;
    let (way, name) = (Way::new(to, &background)?, to.to_string());
    let (parts, arriving) = mpsc::channel(AHEAD);
    let reading = std::thread::spawn(move || read(&file, &parts));
    let written = background.wait(async move {
        let mut connection = connect::connect(&way).await?;
        schema::bring_up(&mut connection, &name).await?;
        connection.close().await?;
        let (mut connection, _) = connect::writable(&way).await?;
        sqlx::raw_sql("SET statement_timeout = 0").execute(&mut connection).await?;
        let rows = write(&mut connection, &name, arriving).await?;
        connection.close().await?;
        Ok(rows)
    });
    let read = reading.join().map_err(|_| Unavailable::Stopped)?;
    // Whichever failed stopped the other, and what was written is rolled back.
    let rows = match (written, read) {
        (Ok(rows), Ok(())) => rows,
        (Err(LedgerError::Unavailable(Unavailable::Stopped)) | Ok(_), Err(why)) | (Err(why), _) => {
            return Err(why);
        }
    };
    let report = Reader::open(to)?.verify(None)?;
    drop(lock);
    Ok(Copied { rows, report })
}

/// Reads every table, and says at the end that it is the end.
fn read(file: &File, parts: &mpsc::Sender<Option<Part>>) -> Result<(), LedgerError> {
    // One moment for all tables; the lock keeps servers away, and this everybody else.
    let snapshot = file.unchecked_transaction()?;
    let send = |part| parts.blocking_send(part).map_err(|_| LedgerError::from(Unavailable::Stopped));
    for shape in &TABLES {
        let mut select = snapshot.prepare(&shape.select())?;
        let mut found = select.query([])?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            rows.push(Cell::of_sqlite(row, shape)?);
            if rows.len() == CHUNK {
                send(Some(Part { shape, rows: std::mem::take(&mut rows) }))?;
            }
        }
        send(Some(Part { shape, rows }))?;
    }
    send(None)
}

async fn write(
    connection: &mut PgConnection,
    name: &str,
    mut parts: mpsc::Receiver<Option<Part>>,
) -> Result<u64, LedgerError> {
    let mut transaction = connection.begin_with(lock::BEGIN).await?;
    lock::until_commit(&mut transaction, lock::START).await?;
    let used = sqlx::query_scalar("SELECT EXISTS (SELECT FROM store) OR EXISTS (SELECT FROM writers)");
    if used.fetch_one(&mut *transaction).await? {
        return Err(LedgerError::NotEmpty(name.to_owned()));
    }
    let mut rows = 0;
    loop {
        match parts.recv().await {
            Some(Some(part)) if part.rows.is_empty() => {}
            Some(Some(part)) => rows += insert(&mut transaction, &part).await?,
            Some(None) => break,
            None => return Err(Unavailable::Stopped.into()),
        }
    }
    // What comes next is numbered after what was copied.
    for sequence in [
        "SELECT setval(pg_get_serial_sequence('frames', 'id'), max(id)) FROM frames",
        "SELECT setval(pg_get_serial_sequence('decisions', 'n'), max(n)) FROM decisions",
    ] {
        sqlx::query(sequence).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(rows)
}

async fn insert(connection: &mut PgConnection, part: &Part) -> sqlx::Result<u64> {
    let Part { shape, rows } = part;
    let types = shape.columns.iter().enumerate().map(|(at, (_, holds))| match holds {
        Holds::Int => format!("${}::bigint[]", at + 1),
        Holds::Text => format!("${}::text[]", at + 1),
        Holds::Bytes => format!("${}::bytea[]", at + 1),
    });
    let types: Vec<_> = types.collect();
    let (name, names, types) = (shape.name, shape.names(), types.join(", "));
    let mut query =
        sqlx::query(AssertSqlSafe(format!("INSERT INTO {name} ({names}) SELECT * FROM unnest({types})")));
    for (at, (_, holds)) in shape.columns.iter().enumerate() {
        let cells = rows.iter().map(|row| row.get(at));
        query = match holds {
            Holds::Int => query.bind(cells.map(|cell| cell?.as_int()).collect::<Vec<_>>()),
            Holds::Text => query.bind(cells.map(|cell| cell?.as_text()).collect::<Vec<_>>()),
            Holds::Bytes => query.bind(cells.map(|cell| cell?.as_bytes()).collect::<Vec<_>>()),
        };
    }
    Ok(query.execute(connection).await?.rows_affected())
}
