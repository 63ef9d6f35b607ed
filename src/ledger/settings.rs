//! How a ledger is opened.

use std::path::PathBuf;
use std::time::Duration;

use crate::config::StorePlace;

/// Settings of a ledger. What is about a file means nothing to a database.
#[derive(Debug, Clone)]
pub struct LedgerSettings {
    /// Where; beside a file, `<file>.lock` and `<file>.reserve` are made.
    pub place: StorePlace,
    /// Refusal records per principal and minute; more are counted instead.
    pub refusals_per_minute: u32,
    /// Bytes kept aside so that grants are still recorded when the disk is full; 0 keeps none.
    pub reserve_bytes: u64,
    /// Largest size of the store; the reserve is part of it. None means as large as the disk.
    pub max_bytes: Option<u64>,
    /// How long to wait for a lock that another process holds.
    pub busy_timeout: Duration,
    /// Tell a blocked caller why, in the blocker's words.
    pub tell_block_reasons: bool,
    /// Write each event to standard output, as JSON lines.
    pub events_stdout: bool,
    /// Append each event to this file, as JSON lines.
    pub events_file: Option<PathBuf>,
}

impl LedgerSettings {
    /// Defaults for a ledger at `place`.
    pub const fn new(place: StorePlace) -> Self {
        Self {
            place,
            refusals_per_minute: 60,
            reserve_bytes: 16 * 1024 * 1024,
            max_bytes: None,
            busy_timeout: Duration::from_secs(5),
            tell_block_reasons: false,
            events_stdout: false,
            events_file: None,
        }
    }
}
