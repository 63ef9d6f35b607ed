//! Advisory locks: what servers on one database agree on without a leader.
//!
//! Each is named by two numbers, ours and one of these; a positive one is a writer, whose session holds it for as long
//! as it lives.

use sqlx::PgConnection;

/// `TOLG`: the first number of every lock of ours.
pub(super) const CLASS: i32 = 0x544F_4C47;

/// Registering a writer.
pub(super) const START: i32 = -2;
/// Making or changing signing keys.
pub(super) const KEYS: i32 = -3;
/// Numbering a checkpoint.
pub(super) const CHECKPOINTS: i32 = -4;

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

#[cfg(test)]
mod tests {
    #[test]
    fn a_batch_begins_with_a_lock_of_our_class() {
        for begin in [super::BEGIN, super::BEGIN_ALONE] {
            assert!(begin.contains(&format!("({}, -1)", super::CLASS)));
        }
    }
}
