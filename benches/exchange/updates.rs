//! Exchanges by X.509-SVIDs while the bundle that they are verified by stays, and while it changes all the time.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use serde::Serialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::agent::Agent;
use crate::domain::Domain;
use crate::load::To;
use crate::process::Server;
use crate::report::median;
use crate::signer::Signer;
use crate::site::Site;
use crate::{Error, Fallible, load};

/// Times that each of the two has its turn; the median of its rounds counts.
const ROUNDS: usize = 7;
/// Exchanges of a round, over so many connections.
const ROUND: usize = 3_000;
const CONNECTIONS: usize = 8;
/// From one update to the next: a hundred a second.
const PACE: Duration = Duration::from_millis(10);
/// Most times the p99 without updates.
const TARGET: f64 = 2.0;

/// The role that is asked for.
const ROLE: &str = "open";

/// What was found.
#[derive(Serialize)]
pub(crate) struct Updates {
    pub(crate) target: f64,
    /// Of the p99 with updates to that without.
    pub(crate) ratio: f64,
    pub(crate) still: Latencies,
    pub(crate) moving: Latencies,
}

/// Exchanges beside so many updates.
#[derive(Serialize)]
pub(crate) struct Latencies {
    /// How many there really were.
    pub(crate) updates_per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p99_micros: f64,
}

/// The rounds of one of the two.
#[derive(Default)]
struct Turns {
    updates: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

/// Measures both in turns, on one server that follows an agent.
pub(crate) async fn measure(issuer: &Signer) -> Fallible<Updates> {
    let (domain, site) = (Domain::new()?, Site::new(10, 5)?);
    // The policies of its other roles read what only tokens give.
    site.trust(issuer)?;
    site.open_role(ROLE)?;
    let mut agent = Agent::start(site.path("agent.sock"))?;
    // One authority comes and goes beside the one that the workloads have.
    let states = [domain.state(None)?, domain.state(Some(&Domain::new()?))?];
    for state in &states {
        agent.serve(state).await?;
    }
    domain.serve_by(&site, "{ workload_api = true }", &agent.settings())?;
    let server = Server::tollgate(&site.config())?;
    let workload = |name| domain.workload(name, Resumption::disabled());
    let clients = (0..CONNECTIONS).map(|name| Ok(To::tls(server.address(), workload(name)?)));
    let clients = clients.collect::<Fallible<Vec<_>>>()?;
    let (mut still, mut moving) = (Turns::default(), Turns::default());
    for _ in 0..=ROUNDS {
        still.round(&clients, None).await?;
        moving.round(&clients, Some((&mut agent, &states))).await?;
    }
    server.stop()?;
    let (still, moving) = (still.found(), moving.found());
    Ok(Updates { target: TARGET, ratio: moving.p99_micros / still.p99_micros, still, moving })
}

impl Turns {
    /// One round, beside the updates that `agent` streams meanwhile.
    async fn round(&mut self, clients: &[To], agent: Option<(&mut Agent, &[Value; 2])>) -> Fallible<()> {
        let body = format!(r#"{{"role":"{ROLE}"}}"#);
        let requests = Arc::new(vec![load::post_with("/v1/credentials", "", &body); ROUND]);
        let mut updates = 0;
        let run = {
            let run = load::send_to(clients, CONNECTIONS, requests);
            match agent {
                None => run.await?,
                Some((agent, states)) => tokio::select! {
                    run = run => run?,
                    failed = update(agent, states, &mut updates) => return Err(failed),
                },
            }
        };
        self.updates.push(f64::from(updates) / run.took.as_secs_f64());
        self.p50.push(run.percentile(50));
        self.p99.push(run.percentile(99));
        Ok(())
    }

    fn found(&self) -> Latencies {
        Latencies {
            updates_per_second: median(&self.updates),
            p50_micros: median(&self.p50),
            p99_micros: median(&self.p99),
        }
    }
}

/// Changes the bundle at the pace, and counts; until it fails.
async fn update(agent: &mut Agent, states: &[Value; 2], updates: &mut u32) -> Error {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for state in states.iter().cycle() {
        pace.tick().await;
        match agent.serve(state).await {
            Ok(0) => return "nobody follows the agent".into(),
            Ok(_) => *updates += 1,
            Err(error) => return error,
        }
    }
    "no states".into()
}
