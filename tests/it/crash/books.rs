//! The ledger as an auditor reads it, from the file of a running server, beside what `OpenBao` really holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tollgate::clock::Clock;
use tollgate::domain::{DecisionId, Handle};
use tollgate::signing::Sealer;

use super::LOGIN_TTL;
use crate::harness::parts::bao::Bao;
use crate::harness::process;
use crate::harness::wait::PATIENCE;

/// A store and the key that its handles are sealed with.
pub(crate) struct Books {
    store: PathBuf,
    sealer: Sealer,
}

impl Books {
    pub(crate) fn new(store: &Path) -> Self {
        let sealer = Sealer::new(&"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()).unwrap();
        Self { store: store.to_owned(), sealer }
    }

    fn accessors(&self, of: &str) -> BTreeMap<String, String> {
        let store = Connection::open_with_flags(&self.store, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        store.busy_timeout(Duration::from_secs(5)).unwrap();
        let now = Clock::system().now().as_millisecond();
        let mut rows = store.prepare(&format!("SELECT d.id, d.handle FROM decisions d JOIN {of}")).unwrap();
        let rows = rows.query_map([now], |row| Ok((row.get(0)?, row.get::<_, Vec<u8>>(1)?))).unwrap();
        rows.map(|row| {
            let (id, sealed) = row.unwrap();
            let decision = DecisionId::from_bytes(id).to_string();
            let handle = self.sealer.open(&format!("handle:{decision}"), &sealed).unwrap();
            let Handle::Vault { accessor } = serde_json::from_slice(&handle).unwrap() else {
                panic!("not a handle of Vault")
            };
            (accessor, decision)
        })
        .collect()
    }

    /// Accessor and decision of every lease that is alive and that nobody wants ended.
    pub(crate) fn leased(&self) -> BTreeMap<String, String> {
        self.accessors("leases l ON l.decision = d.id WHERE l.end_asked_at IS NULL AND l.dies_at > ?1")
    }

    /// The same for what has to be ended, or is not known to be dead.
    pub(crate) fn doomed(&self) -> BTreeMap<String, String> {
        let mut doomed = self.accessors("authorisations a ON a.decision = d.id WHERE a.dies_by > ?1");
        doomed.extend(self.accessors(
            "leases l ON l.decision = d.id
             WHERE l.end_asked_at IS NOT NULL AND l.end_how IS NULL AND l.dies_at > ?1",
        ));
        doomed
    }

    /// Waits until both agree: nothing lives that is not a live lease, no live lease is dead, nothing is in doubt.
    ///
    /// A login that no record knows, as a crash between login and authorisation leaves it, must be about to die.
    pub(crate) async fn agree_with(&self, bao: &Bao, when: &str) {
        let started = Instant::now();
        loop {
            let (doomed, leased) = (self.doomed(), self.leased());
            let living = bao.living().await;
            let decisions: BTreeSet<&String> = leased.values().collect();
            let unknown: Vec<_> = living
                .iter()
                .filter(|token| match &token.decision {
                    Some(decision) => !decisions.contains(decision),
                    None => !leased.contains_key(&token.accessor),
                })
                .collect();
            let unrecorded = unknown.iter().filter(|token| !doomed.contains_key(&token.accessor));
            for token in unrecorded.filter(|token| token.decision.is_none()) {
                assert!(token.ttl <= LOGIN_TTL, "{when}: nobody knows {token:?}, and it lives on");
            }
            if unknown.is_empty() && doomed.is_empty() {
                let alive: BTreeSet<&String> = living.iter().map(|token| &token.accessor).collect();
                let lost: Vec<_> = leased.keys().filter(|accessor| !alive.contains(accessor)).collect();
                assert!(lost.is_empty(), "{when}: the ledger believes {lost:?} alive");
                return;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{when}: {unknown:?} live unknown, {doomed:?} are in doubt"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The audit chain must be whole.
    pub(crate) fn are_whole(&self, when: &str) {
        let done = process::run(&["audit", "verify", "--store", self.store.to_str().unwrap()]);
        assert!(done.status.success(), "{when}: {}", String::from_utf8_lossy(&done.stdout));
    }
}
