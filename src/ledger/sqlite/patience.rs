//! How long the writer waits while another process holds the store.
//!
//! Only the first transaction waits for long. What comes after it, such as the record of the very refusal that the wait
//! ended in, would else wait as long again, with a caller behind each. The first commit that succeeds restores the patience.

use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

/// How long a transaction waits while the store is known to be held.
const HELD_WAIT: Duration = Duration::from_millis(50);

/// The wait of the writer's next transaction.
pub(super) struct Patience {
    whole: Duration,
    used_up: bool,
}

impl Patience {
    /// `whole` is what the connection was opened with.
    pub(super) const fn new(whole: Duration) -> Self {
        Self { whole, used_up: false }
    }

    /// Takes the outcome of a commit into account. An error of another kind says nothing about locks.
    pub(super) fn learn(&mut self, connection: &Connection, error: Option<&rusqlite::Error>) {
        let held = error.and_then(rusqlite::Error::sqlite_error_code) == Some(ErrorCode::DatabaseBusy);
        if held == self.used_up || (error.is_some() && !held) {
            return;
        }
        let wait = if held { self.whole.min(HELD_WAIT) } else { self.whole };
        match connection.busy_timeout(wait) {
            Ok(()) => self.used_up = held,
            Err(error) => tracing::warn!(%error, "the store keeps its former wait for locks"),
        }
    }
}
