//! Storage set aside for grants: refusals must not be able to fill the store and stop what is allowed.
//!
//! A file of real bytes lies beside the store, and a configured size limit is applied less that much. When SQLite
//! reports that it is full, the reserve is given up: grants go on into it, refusals are spooled and counted in
//! memory, and an alarm is raised. Once there is room again the reserve is laid back.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

use super::open::beside;
use crate::ledger::settings::LedgerSettings;

/// Seconds between attempts to lay the reserve again.
const RETRY_SECONDS: u64 = 10;

/// The reserve of one store.
pub(super) struct Reserve {
    path: PathBuf,
    bytes: u64,
    max_bytes: Option<u64>,
    kept: bool,
    /// When it was last given up or missed, Unix seconds.
    missed_at: i64,
}

impl Reserve {
    /// Lays the reserve.
    pub(super) fn lay(path: &Path, settings: &LedgerSettings, connection: &Connection) -> Self {
        let mut reserve = Self {
            path: beside(path, ".reserve"),
            bytes: settings.reserve_bytes,
            max_bytes: settings.max_bytes,
            kept: false,
            missed_at: 0,
        };
        reserve.restore(connection);
        reserve
    }

    /// True while the reserve is untouched, so that refusals may be recorded too.
    pub(super) const fn is_kept(&self) -> bool {
        self.kept
    }

    /// Gives the reserve up to grants; false if it was given up before.
    pub(super) fn release(&mut self, connection: &Connection, now: i64) -> bool {
        if !self.kept || self.bytes == 0 {
            return false;
        }
        tracing::error!(
            "the store is full: the reserve is given up to grants, refusals are no longer recorded"
        );
        (self.kept, self.missed_at) = (false, now);
        let freed = fs::remove_file(&self.path).or_else(absent_is_fine);
        let released = self.limit(connection, 0).and(freed);
        if let Err(error) = &released {
            tracing::error!(%error, "the reserve cannot be given up");
        }
        released.is_ok()
    }

    /// Lays the reserve again, if there is room for it and the last attempt was a while ago.
    pub(super) fn retry(&mut self, connection: &Connection, now: i64) {
        if now.abs_diff(self.missed_at) >= RETRY_SECONDS {
            self.missed_at = now;
            self.restore(connection);
        }
    }

    fn restore(&mut self, connection: &Connection) {
        let laid = self.limit(connection, self.bytes).and_then(|()| self.fill());
        match laid {
            Ok(()) => self.kept = true,
            Err(error) => {
                tracing::error!(%error, "no room for the reserve: refusals are not recorded");
                let _ = self.limit(connection, 0);
            }
        }
    }

    /// Writes the file: bytes that are not zero, so that no file system stores a hole instead.
    fn fill(&self) -> io::Result<()> {
        if self.bytes == 0 || fs::metadata(&self.path).is_ok_and(|file| file.len() == self.bytes) {
            return Ok(());
        }
        let write = || {
            let mut file = File::create(&self.path)?;
            let block = [0xA5; 8 * 1024];
            let mut left = self.bytes;
            while left > 0 {
                let part = usize::try_from(left).unwrap_or(block.len()).min(block.len());
                file.write_all(block.get(..part).unwrap_or(&block))?;
                left -= part as u64;
            }
            file.sync_all()
        };
        write().inspect_err(|_| drop(fs::remove_file(&self.path)))
    }

    /// Limits the store to its configured size less `aside`.
    fn limit(&self, connection: &Connection, aside: u64) -> io::Result<()> {
        let Some(max) = self.max_bytes else { return Ok(()) };
        let ask = |pragma: &str| {
            connection.query_row(pragma, [], |row| row.get::<_, i64>(0)).map_err(io::Error::other)
        };
        let pages =
            i64::try_from(max.saturating_sub(aside)).unwrap_or(i64::MAX) / ask("PRAGMA page_size")?.max(1);
        ask(&format!("PRAGMA max_page_count = {pages}"))?;
        // SQLite keeps the limit at what is in use already: then there is no room to set anything aside.
        if ask("PRAGMA page_count")? < pages { Ok(()) } else { Err(io::ErrorKind::StorageFull.into()) }
    }
}

fn absent_is_fine(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}
