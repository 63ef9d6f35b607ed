//! Advisory locks: what servers on one database agree on without a leader.
//!
//! Each is named by two numbers, ours and one of these; a positive one is a writer, whose session holds it for as long
//! as it lives. Sinks of events have a first number of their own.

use sqlx::PgConnection;

use crate::secret::Fingerprint;

/// `TOLG`: the first number of every lock of ours.
pub(super) const CLASS: i32 = 0x544F_4C47;

/// Registering a writer.
pub(super) const START: i32 = -2;
/// Making or changing signing keys.
pub(super) const KEYS: i32 = -3;
/// Numbering a checkpoint.
pub(super) const CHECKPOINTS: i32 = -4;

/// Noting which chains the sinks of events have behind them.
pub(super) const SINKS: i32 = -5;

/// Pruning a chain.
pub(super) const RETENTION: i32 = -6;

/// `TOLS`: the first number of the locks of sinks; the second one is made of the sink's name.
const SINK_CLASS: i32 = 0x544F_4C53;

/// Begins a batch. Every batch shares the lock -1, which setting a block takes for itself: a batch that runs then commits
/// first, and one that begins later reads the new epoch.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                                SELECT pg_advisory_xact_lock_shared(1414483015, -1)";

/// Begins what is carried out while no other batch is.
pub(super) const BEGIN_ALONE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; \
                                      SELECT pg_advisory_xact_lock(1414483015, -1)";

/// Takes a lock until the transaction ends.
pub(super) async fn until_commit(connection: &mut PgConnection, lock: i32) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_advisory_xact_lock($1, $2)").bind(CLASS).bind(lock).execute(connection).await?;
    Ok(())
}

/// Takes a writer's lock until the session ends. A former session of the same writer is ended first: it may still be
/// carrying out what its client no longer waits for, and must have done so, or not, before anything else is written.
pub(super) async fn writer(connection: &mut PgConnection, writer: i64) -> sqlx::Result<()> {
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_locks
         WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2 AND objsubid = 2 AND granted
           AND pid <> pg_backend_pid()
           AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
    )
    .bind(i64::from(CLASS))
    .bind(writer)
    .execute(&mut *connection)
    .await?;
    let writer = i32::try_from(writer).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query("SELECT pg_advisory_lock($1, $2)").bind(CLASS).bind(writer).execute(connection).await?;
    Ok(())
}

/// Takes the lock of a sink until the session ends, unless the session has it; false if another session has it. Two names
/// that make one number are run by one server, as one session may take a lock twice.
pub(super) async fn sink(connection: &mut PgConnection, name: &str) -> sqlx::Result<bool> {
    let [a, b, c, d, ..] = *Fingerprint::of(name.as_bytes()).as_bytes();
    let number = i32::from_be_bytes([a, b, c, d]) & i32::MAX;
    let held = sqlx::query_scalar(
        "SELECT CASE WHEN EXISTS (
             SELECT FROM pg_locks
             WHERE locktype = 'advisory' AND classid::bigint = $1 AND objid::bigint = $2 AND objsubid = 2 AND granted
               AND pid = pg_backend_pid()
         ) THEN true ELSE pg_try_advisory_lock($1::int, $2::int) END",
    );
    held.bind(i64::from(SINK_CLASS)).bind(i64::from(number)).fetch_one(connection).await
}

/// Gives up a writer's lock, whose chain is over.
pub(super) async fn leave(connection: &mut PgConnection, writer: i64) -> sqlx::Result<()> {
    let writer = i32::try_from(writer).map_err(|error| sqlx::Error::Encode(error.into()))?;
    sqlx::query("SELECT pg_advisory_unlock($1, $2)").bind(CLASS).bind(writer).execute(connection).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_batch_begins_with_a_lock_of_our_class() {
        for begin in [super::BEGIN, super::BEGIN_ALONE] {
            assert!(begin.contains(&format!("({}, -1)", super::CLASS)));
        }
    }
}
