//! Authorisations for unit tests of the modules below, and ledgers for those of this one; production code has no such door.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;

use super::{
    Authorised, BlocksSet, Counted, EndHow, Ending, Leased, Ledger, LedgerSettings, NewBlock, Planned,
    Record, Report,
};
use crate::clock::Clock;
use crate::config::{JwtTarget, LeaseTerms, PostgresPlace, Role, StorePlace, TargetKind};
use crate::domain::{Ask, BlockId, Credential, DecisionId, Handle, LeaseId, Minted, Revocability};
use crate::facts::Facts;
use crate::facts::testing::{ask, bound_facts, facts, on_runner, role};
use crate::identity::testing::JobKey;
use crate::policy::testing::grant;
use crate::secret::LeaseSecret;
use crate::signing::Sealer;

/// `planned` as if it were recorded.
pub(crate) fn authorised(planned: Planned) -> Authorised {
    let at = planned.grant().facts().now();
    Authorised { planned, at, supersedes: None }
}

/// `minted` as if it were leased, with `secret`.
pub(crate) fn leased(auth: Authorised, minted: Minted, secret: LeaseSecret) -> Leased {
    Leased { auth, minted, id: LeaseId::from_bytes([7; 16]), secret }
}

/// Where the tests' clocks start.
pub(super) fn noon() -> Timestamp {
    "2026-03-02T12:00:00Z".parse().unwrap()
}

/// A sealer with a key that is no secret.
pub(super) fn sealer() -> Arc<Sealer> {
    Arc::new(Sealer::new(&"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into()).unwrap())
}

#[path = "../../tests/it/harness/parts/postgres.rs"]
mod postgres;

pub(super) use postgres::Postgres;

/// The one server of this process's tests, made when it is needed first; it ends with the process.
pub(super) fn server() -> &'static Postgres {
    static SERVER: LazyLock<Postgres> = LazyLock::new(Postgres::start);
    &SERVER
}

/// A ledger in a folder or database of its own.
pub(super) struct Bench {
    pub(super) ledger: Arc<Ledger>,
    pub(super) clock: Clock,
    pub(super) settings: LedgerSettings,
    /// Removed when the bench is.
    folder: Arc<tempfile::TempDir>,
}

impl Bench {
    /// A new ledger with small settings.
    pub(super) fn new() -> Self {
        Self::with(|_| ())
    }

    /// A new ledger with changed settings.
    pub(super) fn with(change: impl FnOnce(&mut LedgerSettings)) -> Self {
        Self::at(|folder| StorePlace::Sqlite(folder.join("ledger.db")), change)
    }

    /// A new ledger in a database of its own.
    pub(super) fn postgres() -> Self {
        Self::postgres_with(|_| ())
    }

    /// The same with changed settings.
    pub(super) fn postgres_with(change: impl FnOnce(&mut LedgerSettings)) -> Self {
        Self::at(|_| StorePlace::Postgres(place(&server().database())), change)
    }

    fn at(place: impl FnOnce(&Path) -> StorePlace, change: impl FnOnce(&mut LedgerSettings)) -> Self {
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let mut settings = LedgerSettings::new(place(folder.path()));
        settings.reserve_bytes = 0;
        settings.busy_timeout = Duration::from_millis(20);
        change(&mut settings);
        let clock = Clock::manual(noon());
        let ledger = Arc::new(Ledger::open(&settings, sealer(), clock.clone()).unwrap());
        Self { ledger, clock, settings, folder }
    }

    /// The same store in a new process, as it were.
    pub(super) fn restart(self) -> Self {
        self.with_sealer(sealer())
    }

    /// The same with another key-encryption key.
    pub(super) fn with_sealer(self, sealer: Arc<Sealer>) -> Self {
        let Self { ledger, clock, settings, folder } = self;
        drop(Arc::into_inner(ledger).unwrap());
        let ledger = Arc::new(Ledger::open(&settings, sealer, clock.clone()).unwrap());
        Self { ledger, clock, settings, folder }
    }

    /// Another server on the same database, with the same clock.
    pub(super) fn beside(&self) -> Self {
        let (clock, settings, folder) = (self.clock.clone(), self.settings.clone(), Arc::clone(&self.folder));
        let ledger = Arc::new(Ledger::open(&settings, sealer(), clock.clone()).unwrap());
        Self { ledger, clock, settings, folder }
    }

    /// The file.
    pub(super) fn file(&self) -> &Path {
        self.settings.place.file().unwrap()
    }

    /// A file of the bench's own folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The database's name.
    pub(super) fn database(&self) -> &str {
        match &self.settings.place {
            StorePlace::Postgres(place) => &place.database,
            StorePlace::Sqlite(path) => panic!("{} is a file", path.display()),
        }
    }

    /// Moves the clock.
    pub(super) fn pass(&self, time: Duration) {
        self.clock.set(self.clock.now() + time);
    }

    /// Facts for a request with `token` now.
    pub(super) fn facts(&self, token: &str, key: Option<&str>) -> Facts {
        let role = role();
        let mut ask = ask(&role);
        ask.idempotency_key = key.map(|key| key.parse().unwrap());
        facts(token, self.clock.now(), role, target(), ask)
    }

    /// A planned grant for `token`.
    pub(super) fn planned(&self, token: &str, key: Option<&str>) -> Planned {
        plan(self.facts(token, key))
    }

    /// A planned grant for `token`, shown beside the token `actor` of the runner `runner-7`.
    pub(super) fn planned_on(&self, token: &str, actor: &str) -> Planned {
        let runner = crate::identity::testing::runner("runner-7", actor, self.clock.now());
        plan(on_runner(self.facts(token, None), runner))
    }

    /// A planned grant for `token`, which is bound to `key` and came with the proof `id`.
    pub(super) fn planned_bound(&self, token: &str, key: &JobKey, id: &str) -> Planned {
        plan(bound_facts(token, key, id, self.clock.now()))
    }

    /// A planned grant for `token` and `ask`.
    pub(super) fn planned_ask(&self, token: &str, ask: Ask) -> Planned {
        plan(facts(token, self.clock.now(), role(), target(), ask))
    }

    /// A planned grant for `token`, of a role with these terms.
    pub(super) fn planned_terms(&self, token: &str, lease: LeaseTerms) -> Planned {
        let role = Role { lease, ..role() };
        let ask = ask(&role);
        plan(facts(token, self.clock.now(), role, target(), ask))
    }

    /// A planned renewal of `lease` with all defaults.
    pub(super) fn planned_renewal(&self, lease: LeaseId) -> Planned {
        let mut ask = ask(&role());
        ask.renews = Some(lease);
        self.planned_ask("token", ask)
    }

    /// Decisions of the authorisations that may have led to something alive.
    pub(super) async fn unleased(&self) -> Vec<DecisionId> {
        let unleased = self.ledger.unleased(self.clock.now()).await.unwrap();
        unleased.into_iter().map(|entry| entry.decision).collect()
    }

    /// Lets the turn of everything that waits for its end come at once.
    pub(super) async fn skip_pauses(&self) {
        self.change("UPDATE endings SET next_try_at = 0").await;
    }

    /// Changes the store behind the ledger's back.
    pub(super) async fn change(&self, sql: &'static str) {
        match &self.settings.place {
            StorePlace::Sqlite(_) => {
                let change = move |store: &rusqlite::Connection| {
                    assert!(store.execute(sql, []).unwrap() > 0, "{sql} changes nothing");
                };
                self.ledger.store.poke(change).await;
            }
            StorePlace::Postgres(place) => {
                let changed = server().sql(&place.database, &format!("{sql} RETURNING 1"));
                assert!(!changed.is_empty(), "{sql} changes nothing");
            }
        }
    }

    /// Texts that the store holds, by a query of one column.
    pub(super) fn texts(&self, sql: &str) -> Vec<String> {
        match &self.settings.place {
            StorePlace::Sqlite(file) => {
                let store = rusqlite::Connection::open(file).unwrap();
                let mut select = store.prepare(sql).unwrap();
                select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
            }
            StorePlace::Postgres(place) => server().sql(&place.database, sql),
        }
    }

    /// How many records of a kind the chain has.
    pub(super) fn records(&self, kind: &str) -> usize {
        self.texts(&format!("SELECT kind FROM audit WHERE kind = '{kind}'")).len()
    }

    /// Claims what is to be ended and records how it ended.
    pub(super) async fn end(&self, lease: LeaseId, how: EndHow) {
        let claim = self.ledger.claim_now(Record::Lease(lease)).await.unwrap().unwrap();
        assert_eq!(self.ledger.ended(lease, how, claim).await, Ok(Counted::Yes));
    }

    /// Has its holder end a lease.
    pub(super) async fn end_by_holder(&self, lease: &Leased, how: EndHow) {
        let Ending::ToEnd(_, claim) = self.ledger.begin_end(lease.id(), lease.secret()).await.unwrap() else {
            panic!("nothing to end")
        };
        assert_eq!(self.ledger.ended(lease.id(), how, claim).await, Ok(Counted::Yes));
    }

    /// Claims an authorisation without a lease, and says that it was looked after.
    pub(super) async fn resolve(&self, decision: DecisionId, dead: bool) {
        let claim = self.ledger.claim_now(Record::Authorisation(decision)).await.unwrap().unwrap();
        let done = self.ledger.resolve_unleased(decision, dead, claim).await;
        assert_eq!(done, Ok(Counted::Yes));
    }

    /// Verifies the store.
    pub(super) async fn verify(&self) -> Report {
        let reader = self.ledger.store.reader().clone();
        tokio::task::spawn_blocking(move || reader.verify(None).unwrap()).await.unwrap()
    }

    /// Sets a block on `subject` in every tenant, for as long as `lasts`.
    pub(super) async fn block(&self, subject: &str, lasts: Option<Duration>) -> BlockId {
        let set = self.ledger.block(vec![new_block(subject, lasts)], None).await.unwrap();
        let BlocksSet::InForce(ids) = set else { panic!("{set:?}") };
        ids[0]
    }

    /// A credential that lives for a quarter of an hour.
    pub(super) fn minted(&self) -> Minted {
        Minted {
            credential: Credential::Jwt { token: SENTINEL_CREDENTIAL.into() },
            dies_at: self.clock.now() + Duration::from_mins(15),
            revocability: Revocability::Now,
            window: None,
        }
    }
}

/// A block that an operator would set.
pub(super) fn new_block(subject: &str, lasts: Option<Duration>) -> NewBlock {
    NewBlock {
        tenant: None,
        subject: subject.parse().unwrap(),
        reason: "for a test".parse().unwrap(),
        by: "a test".to_owned(),
        lasts,
    }
}

/// The secret part of every credential of the tests.
pub(super) const SENTINEL_CREDENTIAL: &str = "sentinel-credential-5d41402abc4b2a76b9719d911017c592";

/// The database `name` of the tests' server.
pub(super) fn place(name: &str) -> PostgresPlace {
    PostgresPlace { pool: 2, ..PostgresPlace::from_url(&server().url(name)).unwrap() }
}

fn target() -> TargetKind {
    TargetKind::Jwt(JwtTarget { audience: "https://api.example".into() })
}

fn plan(facts: Facts) -> Planned {
    let jti = facts.decision().to_string();
    Planned::new(grant(facts, BTreeMap::new()), Handle::Jwt { jti })
}
