//! The stores' own pace: durable commits of one small row each, without anything of Tollgate's.

use std::path::Path;
use std::time::Instant;

use rusqlite::Connection as File;
use sqlx::{Connection, PgConnection};
use tokio::task::JoinSet;

use crate::Fallible;

/// Commits of each client.
const COMMITS: u32 = 1_500;

/// Commits per second of one connection to a new file in `folder`, with the settings of the ledger's.
pub(crate) fn of_sqlite(folder: &Path) -> Fallible<f64> {
    let file = File::open(folder.join("commits.db"))?;
    file.pragma_update(None, "journal_mode", "wal")?;
    file.pragma_update(None, "synchronous", "full")?;
    file.execute_batch("CREATE TABLE commits (at INTEGER)")?;
    let mut insert = file.prepare("INSERT INTO commits VALUES (?1)")?;
    let began = Instant::now();
    for at in 0..COMMITS {
        insert.execute([at])?;
    }
    Ok(f64::from(COMMITS) / began.elapsed().as_secs_f64())
}

/// Commits per second of `clients` connections to the database at `url` together.
pub(crate) async fn of_postgres(url: &str, clients: u32) -> Fallible<f64> {
    let mut connections = Vec::new();
    for _ in 0..clients {
        connections.push(PgConnection::connect(url).await?);
    }
    if let Some(first) = connections.first_mut() {
        sqlx::raw_sql("CREATE TABLE IF NOT EXISTS commits (at bigint)").execute(first).await?;
    }
    let mut committing = JoinSet::new();
    let began = Instant::now();
    for connection in connections {
        committing.spawn(commit(connection));
    }
    while let Some(done) = committing.join_next().await {
        done??;
    }
    Ok(f64::from(COMMITS * clients) / began.elapsed().as_secs_f64())
}

async fn commit(mut connection: PgConnection) -> sqlx::Result<()> {
    for at in 0..COMMITS {
        sqlx::query("INSERT INTO commits VALUES ($1)").bind(i64::from(at)).execute(&mut connection).await?;
    }
    connection.close().await
}
