//! Exchanges on both stores side by side, beside the pace of each store's own commits: `cargo bench -- stores`.
//!
//! PostgreSQL is a server of this run's own, as it is installed: every commit is synced. It and both replicas share the
//! machine with the load, so that a second replica shows what sharing a database costs rather than what it gains.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use tollgate::ledger::Durability;
use tollgate::telemetry::names::BATCH_SIZE;

use crate::postgres::Postgres;
use crate::process::Server;
use crate::signer::Signer;
use crate::site::{Site, start};
use crate::{Fallible, commits, cpu, load};

/// Connections, and how many exchanges they make together.
const LOADS: [(usize, usize); 2] = [(8, 8_000), (32, 16_000)];
/// Exchanges that bring the servers to their usual pace before anything is counted.
const WARM_UP: usize = 500;
/// Clients that commit at once.
const CLIENTS: u32 = 8;

/// What was found.
#[derive(Serialize)]
pub(crate) struct Stores {
    stores: Vec<Store>,
}

/// A store, and the exchanges on it.
#[derive(Serialize)]
struct Store {
    name: &'static str,
    durable: bool,
    durability: Durability,
    /// Durable commits per second of one client, and of [`CLIENTS`] together where they can commit at once.
    commits_alone: f64,
    commits_together: Option<f64>,
    exchanges: Vec<Exchanges>,
}

#[derive(Serialize)]
struct Exchanges {
    replicas: usize,
    connections: usize,
    per_second: f64,
    p50_micros: f64,
    p99_micros: f64,
    /// Processor time of all replicas per exchange; the database's is not among it.
    cpu_micros: f64,
    /// Commits of all replicas per exchange.
    commits: f64,
}

/// Measures SQLite, then PostgreSQL with one replica and with two.
pub(crate) async fn measure() -> Fallible<Stores> {
    let signer = Signer::rsa()?;
    let file = Site::new(10, 5)?;
    file.trust(&signer)?;
    let sqlite = Store {
        name: "SQLite",
        commits_alone: commits::of_sqlite(&file.path("."))?,
        commits_together: None,
        ..Store::on(&file, &signer, &[1]).await?
    };
    let server = Postgres::start();
    let (site, url) = (Site::new(10, 5)?, server.url(&server.database()));
    site.trust(&signer)?;
    site.keep_in(&url)?;
    let beside = server.url(&server.database());
    let postgres = Store {
        name: "PostgreSQL",
        commits_alone: commits::of_postgres(&beside, 1).await?,
        commits_together: Some(commits::of_postgres(&beside, CLIENTS).await?),
        ..Store::on(&site, &signer, &[1, 2]).await?
    };
    Ok(Stores { stores: vec![sqlite, postgres] })
}

impl Store {
    /// The exchanges on the store of `site`, with as many replicas as each of `replicas` says.
    async fn on(site: &Site, signer: &Signer, replicas: &[usize]) -> Fallible<Self> {
        let app = start(&site.config()).await?;
        let durability = app.broker().ledger().durability().clone();
        app.stop().await;
        let mut exchanges = Vec::new();
        for replicas in replicas {
            for (connections, count) in LOADS {
                exchanges.push(Exchanges::measure(site, signer, *replicas, connections, count).await?);
            }
        }
        let (durable, commits_alone, commits_together) = (durability.is_durable(), 0.0, None);
        Ok(Self { name: "", durable, durability, commits_alone, commits_together, exchanges })
    }
}

impl Exchanges {
    async fn measure(
        site: &Site,
        signer: &Signer,
        replicas: usize,
        connections: usize,
        count: usize,
    ) -> Fallible<Self> {
        let requests = |count| -> Fallible<_> {
            let tokens = site.tokens(signer, count)?;
            Ok(Arc::new(tokens.iter().map(|token| load::request("preview", token)).collect::<Vec<_>>()))
        };
        let (warm_up, counted) = (requests(WARM_UP)?, requests(count)?);
        let mut servers = vec![Server::tollgate(&site.config())?];
        for _ in 1..replicas {
            servers.push(Server::replica(&site.config())?);
        }
        let places: Vec<load::To> = servers.iter().map(|server| server.address().into()).collect();
        load::send_to(&places, connections, warm_up).await?;
        let before = used(&servers).await?;
        let run = load::send_to(&places, connections, counted).await?;
        let after = used(&servers).await?;
        for server in servers {
            server.stop()?;
        }
        let exchanges = u32::try_from(count)?;
        Ok(Self {
            replicas,
            connections,
            per_second: run.rate(),
            p50_micros: run.percentile(50),
            p99_micros: run.percentile(99),
            cpu_micros: cpu::per(after.0 - before.0, exchanges),
            commits: (after.1 - before.1) / f64::from(exchanges),
        })
    }
}

/// Processor seconds and commits of all servers so far.
async fn used(servers: &[Server]) -> Fallible<(f64, f64)> {
    let mut used = (0.0, 0.0);
    for server in servers {
        used.0 += server.cpu()?;
        used.1 += server.histogram(BATCH_SIZE).await?.1;
    }
    Ok(used)
}

impl fmt::Display for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.stores.iter().try_for_each(|store| store.fmt(f))
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, durable, durability, commits_alone, commits_together, exchanges } = self;
        // The word is earned by what the store reports, not by what was configured.
        let durable = if *durable { "durable" } else { "NOT durable" };
        write!(f, "{name}, {durable} ({durability}): {commits_alone:.0} commits/s of one client")?;
        match commits_together {
            Some(together) => writeln!(f, ", {together:.0} of {CLIENTS} together")?,
            None => writeln!(f)?,
        }
        let columns =
            ["replicas", "connections", "exchanges/s", "p50 µs", "p99 µs", "cpu µs", "commits", "commits/s"];
        columns.iter().try_for_each(|column| write!(f, "{column:>13}"))?;
        writeln!(f)?;
        for exchanges in exchanges {
            let Exchanges { replicas, connections, per_second, p50_micros, p99_micros, cpu_micros, commits } =
                exchanges;
            writeln!(
                f,
                "{replicas:>13}{connections:>13}{per_second:>13.0}{p50_micros:>13.0}{p99_micros:>13.0}\
                 {cpu_micros:>13.0}{commits:>13.2}{:>13.0}",
                commits * per_second
            )?;
        }
        writeln!(f)
    }
}
