//! A disk that is really full: no grant without a record, refusals wait, and room alone puts it right.

use std::collections::BTreeSet;
use std::process::Command;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::harness::parts::disk::Disk;
use crate::harness::parts::postgres::Postgres;
use crate::harness::wait::until;
use crate::harness::{Api, Replicas, Server, Site};

/// Grants that fit at most: long before, a page must have been added somewhere.
const MANY: usize = 20_000;

/// Takes credentials until none is granted; the ids of their leases, and of the decision that none is.
async fn take_all(site: &Site, api: &Api) -> BTreeSet<String> {
    let mut leases = BTreeSet::new();
    for _ in 0..MANY {
        let answer = api.deploy(&site.token()).await;
        if answer.status != 200 {
            assert_eq!((answer.status, answer.code()), (503, "store_unavailable"), "{}", answer.text);
            assert!(answer.json.get("credential").is_none() && answer.json.get("lease").is_none());
            return leases;
        }
        leases.insert(answer.json["lease"]["id"].as_str().unwrap().replace('-', ""));
    }
    panic!("the disk is never full");
}

/// The decision of a request that policy denies.
async fn denied(site: &Site, api: &Api) -> String {
    let answer = api.deploy(&site.token_with(&json!({ "event_name": "pull_request" }))).await;
    assert_eq!((answer.status, answer.code()), (403, "not_allowed"), "{}", answer.text);
    answer.json["decision"].as_str().unwrap().to_owned()
}

/// A server whose SQLite file is on a disk of 32 MiB, of which 16 are its reserve.
struct OnDisk {
    disk: Disk,
    site: Site,
}

impl OnDisk {
    async fn new() -> Self {
        let (disk, site) = (Disk::of(32 << 20), Site::of_process(&[]).await);
        let settings = site.settings("[limits]\nexchanges_per_minute = 100000\n");
        let file = disk.path().join("ledger.db");
        site.write("config/tollgate.toml", &settings.replace("../ledger.db", file.to_str().unwrap()));
        Self { disk, site }
    }

    /// The program, where the disk is seen.
    fn command(&self, arguments: &[&str]) -> Command {
        let [program, enter @ ..] = &self.disk.enter()[..] else { panic!("how to enter?") };
        let mut command = Command::new(program);
        command.args(enter).arg(env!("CARGO_BIN_EXE_tollgate")).arg("--json").args(arguments);
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("TOLLGATE_CONFIG", self.site.config());
        command
    }

    fn start(&self) -> Server {
        Server::spawn(self.command(&["serve", "--log", "error"]).arg("--config").arg(self.site.config()))
    }

    /// What the record says of a decision, if it is there.
    fn explained(&self, decision: &str) -> Option<Value> {
        let done = self.command(&["explain", decision]).output().unwrap();
        done.status.success().then(|| serde_json::from_slice(&done.stdout).unwrap())
    }

    /// The leases of the store, once its server has ended: then the one file is all of it.
    fn leases(&self) -> BTreeSet<String> {
        std::fs::copy(self.disk.seen("ledger.db"), self.site.store()).unwrap();
        let store = Connection::open(self.site.store()).unwrap();
        let mut select = store.prepare("SELECT lower(hex(id)) FROM leases").unwrap();
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s_02_a_full_disk_gives_its_reserve_to_grants_then_grants_nothing_and_recovers_when_there_is_room() {
    let store = OnDisk::new().await;
    let (disk, site, api) = (&store.disk, &store.site, store.site.api());
    let mut server = store.start();
    let reserve = disk.seen("ledger.db.reserve");
    assert_eq!(std::fs::metadata(&reserve).unwrap().len(), 16 << 20);
    api.deploy(&site.token()).await.ok();

    disk.fill("others");
    let mut told = BTreeSet::new();
    for _ in 0..MANY {
        let granted = api.deploy(&site.token()).await.ok();
        told.insert(granted["lease"]["id"].as_str().unwrap().replace('-', ""));
        if !reserve.exists() {
            break;
        }
    }
    assert!(!reserve.exists(), "the disk is never full");
    let late = denied(site, &api).await;
    assert_eq!(store.explained(&late), None, "what is left is for grants");

    disk.fill("more");
    told.append(&mut take_all(site, &api).await);
    let later = denied(site, &api).await;
    assert_eq!(api.get("/livez", None).await.status, 200);

    disk.free("more");
    disk.free("others");
    until("it grants again", async || api.deploy(&site.token()).await.status == 200).await;
    until("the reserve is back", async || reserve.exists()).await;
    for decision in [late, later] {
        until("the denial is recorded", async || store.explained(&decision).is_some()).await;
        assert_eq!(store.explained(&decision).unwrap()["result"], "not_allowed");
    }
    let verified = store.command(&["audit", "verify"]).output().unwrap();
    assert!(verified.status.success(), "{verified:?}");
    server.signal("TERM");
    assert!(server.wait().success());
    let recorded = store.leases();
    assert!(told.is_subset(&recorded), "handed out without a record: {:?}", told.difference(&recorded));
}

#[tokio::test(flavor = "multi_thread")]
async fn s_02_a_database_whose_disk_is_full_grants_nothing_and_recovers_when_there_is_room() {
    let disk = Disk::of(96 << 20);
    let postgres = Postgres::within("", Some(disk.path().join("data")), disk.enter_unprivileged());
    let replicas = Replicas::on(postgres, Site::of_process(&[]).await, "");
    let (site, api) = (&replicas.site, replicas.site.api());
    let _server = replicas.start("");
    api.deploy(&site.token()).await.ok();

    disk.fill("others");
    let told = take_all(site, &api).await;
    let refused = denied(site, &api).await;
    let explained = || replicas.command(&["explain", &refused]).output().unwrap().status.success();
    assert!(!explained());
    disk.free("others");
    until("it grants again", async || api.deploy(&site.token()).await.status == 200).await;
    until("the denial is recorded", async || explained()).await;
    replicas.all_recorded([told]);
    replicas.is_whole();
}
