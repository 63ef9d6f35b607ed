//! The rows that a batch works on: as read, and as its steps change them.

use std::collections::{BTreeMap, HashMap};

use super::load_blocks::{Known, Suspect};
use super::sinks::Running;
use crate::ledger::heartbeats::Interval;
use crate::ledger::rows::StoredKey;
use crate::ledger::touched::Touched;

/// Rows of one table by their key.
pub(super) struct Table<K, V>(BTreeMap<K, Slot<V>>);

struct Slot<V> {
    value: Option<V>,
    /// True if the database has a row with this key.
    stored: bool,
    changed: bool,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord + Copy, V> Table<K, V> {
    /// Takes in a row as it was read.
    pub(super) fn hold(&mut self, key: K, value: V) {
        self.0.insert(key, Slot { value: Some(value), stored: true, changed: false });
    }

    pub(super) fn get(&self, key: &K) -> Option<&V> {
        self.0.get(key)?.value.as_ref()
    }

    /// The row, to be changed.
    pub(super) fn change(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.0.get_mut(key)?;
        slot.changed = true;
        slot.value.as_mut()
    }

    /// Adds or replaces a row.
    pub(super) fn put(&mut self, key: K, value: V) {
        let stored = self.0.get(&key).is_some_and(|slot| slot.stored);
        self.0.insert(key, Slot { value: Some(value), stored, changed: true });
    }

    pub(super) fn remove(&mut self, key: &K) -> Option<V> {
        let slot = self.0.get_mut(key)?;
        slot.changed = true;
        slot.value.take()
    }

    /// Rows to insert, in key order.
    pub(super) fn added(&self) -> Vec<(&K, &V)> {
        self.rows(|slot| !slot.stored)
    }

    /// Rows to update, in key order.
    pub(super) fn updated(&self) -> Vec<(&K, &V)> {
        self.rows(|slot| slot.stored && slot.changed)
    }

    /// Keys of rows to delete, in order.
    pub(super) fn removed(&self) -> Vec<&K> {
        let gone = self.0.iter().filter(|(_, slot)| slot.stored && slot.value.is_none());
        gone.map(|(key, _)| key).collect()
    }

    fn rows(&self, which: impl Fn(&Slot<V>) -> bool) -> Vec<(&K, &V)> {
        let rows = self.0.iter().filter(|(_, slot)| which(slot));
        rows.filter_map(|(key, slot)| Some((key, slot.value.as_ref()?))).collect()
    }
}

/// All that a batch holds.
#[derive(Default)]
pub(super) struct Held {
    /// The epoch with its blocks, if anything asked for them.
    pub(super) blocks: Option<Known>,
    /// Authorisations that are to be used although something happened since.
    pub(super) suspects: HashMap<[u8; 16], Suspect>,
    /// What lives and has to be marked, for each that was asked for.
    pub(super) touched: Vec<Vec<Touched>>,
    pub(super) replay: Table<[u8; 32], Claim>,
    pub(super) idempotency: Table<[u8; 32], Attempt>,
    pub(super) authorisations: Table<[u8; 16], Authorisation>,
    pub(super) leases: Table<[u8; 16], Lease>,
    pub(super) endings: Table<[u8; 16], Ending>,
    pub(super) heartbeats: Table<[u8; 16], Heartbeat>,
    /// Leases whose turn to be looked at has come.
    pub(super) silent: Vec<[u8; 16]>,
    /// When servers were ready to hear those, by the beginning.
    pub(super) ready: Vec<Interval>,
    /// What was dead by itself when it was read, of what somebody tried to end.
    pub(super) lapsed: Vec<[u8; 16]>,
    /// Only read: what of a decision its successor needs.
    pub(super) decisions: HashMap<[u8; 16], Planned>,
    /// Authorisations that are dead by themselves; no other server closes these.
    pub(super) expired: Vec<[u8; 16]>,
    pub(super) signing_keys: BTreeMap<String, StoredKey>,
    /// Sealed, by issuer.
    pub(super) issuer_keys: HashMap<String, Vec<u8>>,
    pub(super) last_checkpoint: i64,
    pub(super) sinks: Running,
    /// The first and the newest record of the chain that is to be cut.
    pub(super) chain: Option<(i64, i64)>,
}

/// A row of `replay`.
pub(super) struct Claim {
    pub(super) tenant: String,
    pub(super) decision: [u8; 16],
    pub(super) expires: i64,
}

/// A row of `idempotency`.
pub(super) struct Attempt {
    pub(super) tenant: String,
    pub(super) request: [u8; 32],
    pub(super) decision: [u8; 16],
    pub(super) lease: Option<[u8; 16]>,
    pub(super) first_at: i64,
    pub(super) expires: i64,
}

/// A row of `authorisations`.
pub(super) struct Authorisation {
    pub(super) tenant: String,
    pub(super) state: String,
    pub(super) epoch: i64,
    pub(super) dies_by: i64,
}

/// A row of `leases`.
pub(super) struct Lease {
    pub(super) tenant: String,
    pub(super) decision: [u8; 16],
    pub(super) secret: [u8; 32],
    pub(super) issued_at: i64,
    pub(super) dies_at: i64,
    pub(super) revocable: i64,
    pub(super) bound_to: Option<[u8; 32]>,
    pub(super) end_asked_at: Option<i64>,
    pub(super) ended_at: Option<i64>,
    pub(super) end_how: Option<String>,
    pub(super) first_dies_at: Option<i64>,
}

impl Lease {
    /// True if nobody wants it ended.
    pub(super) const fn goes_on(&self) -> bool {
        self.end_asked_at.is_none() && self.end_how.is_none()
    }
}

/// A row of `endings`.
pub(super) struct Ending {
    pub(super) tenant: String,
    pub(super) attempts: i64,
    pub(super) next_try_at: i64,
    pub(super) claimed_by: Option<i64>,
    pub(super) claimed_until: Option<i64>,
    pub(super) fence: i64,
    pub(super) dead_at: Option<i64>,
}

/// A row of `heartbeats`.
pub(super) struct Heartbeat {
    pub(super) tenant: String,
    pub(super) every: i64,
    pub(super) beat_at: i64,
    pub(super) due_at: i64,
}

/// Of a row of `decisions`.
#[derive(Clone)]
pub(super) struct Planned {
    pub(super) tenant: String,
    pub(super) role: String,
    pub(super) target: String,
    pub(super) handle: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_is_inserted_and_what_was_read_is_updated_or_deleted() {
        let mut table = Table::<u8, &str>::default();
        table.hold(1, "kept");
        table.hold(2, "old");
        table.hold(3, "gone");
        table.put(2, "newer");
        table.put(4, "new");
        table.put(5, "brief");
        assert_eq!((table.remove(&3), table.remove(&5)), (Some("gone"), Some("brief")));
        assert_eq!(table.added(), [(&4, &"new")]);
        assert_eq!(table.updated(), [(&2, &"newer")]);
        assert_eq!(table.removed(), [&3]);
        // A row that was deleted and comes again is an update: the key is there until the flush.
        table.put(3, "again");
        assert_eq!(table.updated(), [(&2, &"newer"), (&3, &"again")]);
        assert!(table.removed().is_empty() && table.get(&1) == Some(&"kept"));
    }
}
