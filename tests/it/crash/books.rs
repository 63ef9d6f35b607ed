//! The ledger as an auditor reads it, from the store of a running server, beside what `OpenBao` really holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::{Connection, OpenFlags};
use tollgate::clock::Clock;
use tollgate::domain::{DecisionId, Handle};
use tollgate::signing::Sealer;

use super::LOGIN_TTL;
use crate::harness::parts::bao::Bao;
use crate::harness::parts::postgres::Postgres;
use crate::harness::{Site, process};

/// Longest wait for agreement: what a server was ending when it died is claimed by it for a minute, beside others on
/// PostgreSQL.
const AGREEMENT: Duration = Duration::from_mins(4);

/// A store and the key that its handles are sealed with.
pub(crate) struct Books {
    store: Store,
    sealer: Sealer,
}

enum Store {
    File(PathBuf),
    Database(Postgres, String),
}

impl Store {
    /// What a query gives of one column of text.
    fn texts(&self, sql: &str) -> Vec<String> {
        match self {
            Self::File(path) => {
                let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
                store.busy_timeout(Duration::from_secs(5)).unwrap();
                let mut rows = store.prepare(sql).unwrap();
                rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            }
            Self::Database(postgres, database) => postgres.sql(database, sql),
        }
    }

    /// The column of bytes `name` as text, in hexadecimal digits.
    fn hex(&self, name: &str) -> String {
        match self {
            Self::File(_) => format!("lower(hex({name}))"),
            Self::Database(..) => format!("encode({name}, 'hex')"),
        }
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let pairs = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

impl Books {
    pub(crate) fn of_file(store: &Path) -> Self {
        Self::of(Store::File(store.to_owned()))
    }

    pub(crate) fn of_database(postgres: Postgres, database: String) -> Self {
        Self::of(Store::Database(postgres, database))
    }

    fn of(store: Store) -> Self {
        let sealer = Sealer::new(&"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".into()).unwrap();
        Self { store, sealer }
    }

    fn accessors(&self, of: &str) -> BTreeMap<String, String> {
        let now = Clock::system().now().as_millisecond();
        let (id, handle) = (self.store.hex("d.id"), self.store.hex("d.handle"));
        let of = of.replace("?1", &now.to_string());
        let rows = self.store.texts(&format!("SELECT {id} || ' ' || {handle} FROM decisions d JOIN {of}"));
        let rows = rows.iter().map(|row| row.split_once(' ').unwrap());
        rows.map(|(id, sealed)| {
            let decision = DecisionId::from_bytes(unhex(id).try_into().unwrap()).to_string();
            let sealed = unhex(sealed);
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
                started.elapsed() < AGREEMENT,
                "{when}: {unknown:?} live unknown, {doomed:?} are in doubt"
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// The audit chain must be whole.
    pub(crate) fn are_whole(&self, site: &Site, when: &str) {
        let config = site.config();
        let of = match &self.store {
            Store::File(path) => ["--store", path.to_str().unwrap()],
            Store::Database(..) => ["--config", config.to_str().unwrap()],
        };
        let done = process::run(&[&["audit", "verify"][..], &of].concat());
        assert!(done.status.success(), "{when}: {}", String::from_utf8_lossy(&done.stdout));
    }
}
