//! What may be said about durability: read back, never assumed.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde::Serialize;

use super::open::setting_of;
use crate::ledger::error::LedgerError;

/// File systems that forget everything at power loss, by their names in `/proc/self/mountinfo`.
const VOLATILE: [&str; 2] = ["tmpfs", "ramfs"];

/// How durable a commit to a file is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileDurability {
    /// `journal_mode`, as SQLite reports it.
    pub journal_mode: String,
    /// `synchronous`, as SQLite reports it: 2 is FULL.
    pub synchronous: String,
    /// The file system's type, `unknown` where the kernel does not say.
    pub file_system: String,
}

impl FileDurability {
    /// Reads the settings back.
    pub(super) fn of(connection: &Connection, path: &Path) -> Result<Self, LedgerError> {
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        Ok(Self {
            journal_mode: setting_of(connection, "journal_mode")?,
            synchronous: setting_of(connection, "synchronous")?,
            file_system: file_system(&mounts, &path).unwrap_or("unknown").to_owned(),
        })
    }

    /// True if a commit survives power loss: synced at every commit, to a file system that keeps what it syncs.
    pub fn is_durable(&self) -> bool {
        self.journal_mode == "wal"
            && self.synchronous == "2"
            && self.file_system != "unknown"
            && !VOLATILE.contains(&self.file_system.as_str())
    }
}

/// The type of the file system that holds `path` (proc(5), `/proc/pid/mountinfo`: mount point is the fifth field, type
/// the first after the separator `-`). Of equal mount points the last one is on top.
fn file_system<'a>(mounts: &'a str, path: &Path) -> Option<&'a str> {
    let mount = |line: &'a str| {
        let (before, after) = line.split_once(" - ")?;
        let point = PathBuf::from(before.split(' ').nth(4)?.replace("\\040", " "));
        path.starts_with(&point).then_some((point.components().count(), after.split(' ').next()?))
    };
    mounts.lines().filter_map(mount).max_by_key(|(depth, _)| *depth).map(|(_, kind)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:25 / /run rw,nosuid - tmpfs tmpfs rw
31 22 0:26 / /mnt/with\\040space rw - xfs /dev/vdb rw
32 30 254:1 / /run/store rw - ext4 /dev/vdc rw";

    #[test]
    fn names_the_file_system_that_holds_the_path() {
        for (path, kind) in [
            ("/var/lib/tollgate.db", "ext4"),
            ("/run/tollgate.db", "tmpfs"),
            ("/running/tollgate.db", "ext4"),
            ("/run/store/tollgate.db", "ext4"),
            ("/mnt/with space/x.db", "xfs"),
        ] {
            assert_eq!(file_system(MOUNTS, Path::new(path)), Some(kind), "{path}");
        }
        assert_eq!(file_system("", Path::new("/x")), None);
    }

    #[test]
    fn memory_and_relaxed_syncing_are_not_durable() {
        let durable = FileDurability {
            journal_mode: "wal".into(),
            synchronous: "2".into(),
            file_system: "ext4".into(),
        };
        assert!(durable.is_durable());
        assert!(!FileDurability { file_system: "tmpfs".into(), ..durable.clone() }.is_durable());
        assert!(!FileDurability { file_system: "unknown".into(), ..durable.clone() }.is_durable());
        assert!(!FileDurability { synchronous: "1".into(), ..durable }.is_durable());
    }
}
