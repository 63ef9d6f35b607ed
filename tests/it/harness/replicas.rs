//! Servers on one PostgreSQL: the configuration that they share, and what each has of its own.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::parts::network::Network;
use super::parts::postgres::Postgres;
use super::{Api, Server, Site, process, site};

/// A database, and the configuration that all servers read.
pub(crate) struct Replicas {
    pub(crate) postgres: Postgres,
    pub(crate) database: String,
    pub(crate) site: Site,
}

impl Replicas {
    pub(crate) async fn new() -> Self {
        Self::with("").await
    }

    /// With more settings.
    pub(crate) async fn with(more: &str) -> Self {
        Self::of(Site::of_process(&[]).await, more)
    }

    /// With the configuration of `site`, and more settings.
    pub(crate) fn of(site: Site, more: &str) -> Self {
        Self::on(Postgres::start(), site, more)
    }

    /// The same in a new database of `postgres`.
    pub(crate) fn on(postgres: Postgres, site: Site, more: &str) -> Self {
        let database = postgres.database();
        let replicas = Self { postgres, database, site };
        replicas.configure(more);
        replicas
    }

    /// Puts the ledger into the database.
    pub(crate) fn configure(&self, more: &str) {
        let url = self.postgres.url(&self.database);
        self.site.write("config/tollgate.toml", &self.settings(&url, more));
    }

    fn settings(&self, url: &str, more: &str) -> String {
        let settings = self.site.settings(&format!("[limits]\nexchanges_per_minute = 100000\n{more}"));
        let settings =
            settings.replace("sqlite = \"../ledger.db\"", &format!("postgres = {{ url = \"{url}\" }}"));
        settings.replace("[store]", "admin_socket = \"../admin.sock\"\n\n[store]")
    }

    pub(crate) fn start(&self, crash_at: &str) -> Server {
        Server::start(&self.site.config(), crash_at)
    }

    /// A second server, with an address and a socket of its own, and a client for it.
    pub(crate) fn start_beside(&self) -> (Server, Api) {
        self.start_second("config")
    }

    /// The same, which reaches the database through `network`.
    pub(crate) fn start_behind(&self, network: &Network) -> (Server, Api) {
        let done =
            Command::new("cp").arg("-r").arg(self.site.config()).arg(self.site.path("behind")).status();
        assert!(done.unwrap().success());
        let url = Postgres::url_at(network.port, &self.database);
        self.site.write("behind/tollgate.toml", &self.settings(&url, ""));
        self.start_second("behind")
    }

    fn start_second(&self, folder: &str) -> (Server, Api) {
        let listen = format!("127.0.0.1:{}", site::free_port());
        let socket = self.site.path("beside.sock");
        let own = [
            ("TOLLGATE_SERVER__LISTEN", listen.as_str()),
            ("TOLLGATE_SERVER__ADMIN_SOCKET", socket.to_str().unwrap()),
        ];
        let server = Server::start_with(&self.site.path(folder), &own);
        (server, Api::new(&format!("http://{listen}")))
    }

    pub(crate) fn count(&self, from: &str) -> String {
        self.postgres.sql(&self.database, &format!("SELECT count(*) FROM {from}")).remove(0)
    }

    /// A command on the configuration.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = process::tollgate();
        command.arg("--json").args(arguments).env("TOLLGATE_CONFIG", self.site.config());
        command
    }

    /// Runs a command; it must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> Value {
        let done = self.command(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}: {done:?}");
        serde_json::from_slice(&done.stdout).unwrap()
    }

    pub(crate) fn is_whole(&self) {
        assert_eq!(self.run(&["audit", "verify"])["intact"], true);
    }

    /// Asserts that every lease that was handed out is in the database; how many there were.
    pub(crate) fn all_recorded(&self, told: impl IntoIterator<Item = BTreeSet<String>>) -> usize {
        let told: BTreeSet<String> = told.into_iter().flatten().collect();
        let recorded = self.postgres.sql(&self.database, "SELECT encode(id, 'hex') FROM leases");
        let recorded: BTreeSet<String> = recorded.into_iter().collect();
        let lost: Vec<_> = told.difference(&recorded).collect();
        assert!(lost.is_empty(), "handed out without a record: {lost:?}");
        told.len()
    }
}

/// Asks again and again until `stop`; returns the ids of the leases that were handed out.
pub(crate) async fn ask_until(api: Api, site: &Site, stop: &CancellationToken) -> BTreeSet<String> {
    let mut leases = BTreeSet::new();
    while !stop.is_cancelled() {
        let answer = api.deploy(&site.token()).await;
        if answer.status == 200 {
            leases.insert(answer.json["lease"]["id"].as_str().unwrap().replace('-', ""));
        } else {
            assert_eq!((answer.status, answer.code()), (503, "store_unavailable"), "{}", answer.text);
        }
    }
    leases
}
