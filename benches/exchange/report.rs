//! What was measured, as data and as a table.

use std::fmt;

use serde::Serialize;
use tollgate::ledger::Durability;

/// Everything that one run found; what was not asked for is absent.
#[derive(Default, Serialize)]
pub(crate) struct Report {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) steps: Option<Steps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) floor: Option<Floor>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) exchanges: Vec<Exchanges>,
    /// Milliseconds until a server with a hundred roles listens.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ready_millis: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) roles: Vec<Roles>,
}

/// Processor time of each step, microseconds per exchange.
#[derive(Serialize)]
pub(crate) struct Steps {
    pub(crate) raw_verify: f64,
    pub(crate) raw_sign: f64,
    pub(crate) rs256: f64,
    pub(crate) es256: f64,
    pub(crate) facts: f64,
    pub(crate) decide: f64,
    pub(crate) plan: f64,
    /// In the thread of the request: building the first record, and waiting for it.
    pub(crate) authorise: f64,
    /// In the writer's thread, up to 32 to a commit.
    pub(crate) authorise_write: f64,
    pub(crate) sign: f64,
    pub(crate) lease: f64,
    pub(crate) lease_write: f64,
    pub(crate) durable: bool,
    pub(crate) durability: Durability,
}

/// HTTP alone.
#[derive(Serialize)]
pub(crate) struct Floor {
    pub(crate) connections: usize,
    pub(crate) per_second: f64,
    pub(crate) cpu_micros: f64,
    pub(crate) p50_micros: f64,
}

/// Exchanges over HTTP.
#[derive(Serialize)]
pub(crate) struct Exchanges {
    pub(crate) role: &'static str,
    pub(crate) connections: usize,
    pub(crate) count: usize,
    pub(crate) per_second: f64,
    pub(crate) p50_micros: f64,
    pub(crate) p90_micros: f64,
    pub(crate) p99_micros: f64,
    /// Processor time of the server alone.
    pub(crate) cpu_micros: f64,
    /// Commits of the ledger per exchange.
    pub(crate) commits: f64,
    /// Disk syncs per exchange, checkpoints included: commits, times the syncs that strace saw per commit.
    pub(crate) syncs: Option<f64>,
    /// What an exchange leaves in the store.
    pub(crate) store_bytes: u64,
    /// What it causes to be written, log and checkpoints included.
    pub(crate) written_bytes: u64,
    pub(crate) resident_bytes: u64,
}

/// Resident bytes.
#[derive(Serialize)]
pub(crate) struct Memory {
    pub(crate) exchanges: usize,
    pub(crate) at_start: u64,
    pub(crate) after_first: u64,
    pub(crate) after_second: u64,
    /// From the first half to the second.
    pub(crate) grown: u64,
}

/// Instructions per exchange with a number of roles.
#[derive(Serialize)]
pub(crate) struct Roles {
    pub(crate) roles: usize,
    pub(crate) instructions: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(steps) = &self.steps {
            steps.table(f, self.at(32))?;
        }
        if let Some(floor) = &self.floor {
            let Floor { connections, per_second, cpu_micros, p50_micros } = floor;
            writeln!(
                f,
                "bare handler, {connections:>2} connections: {per_second:>7.0}/s  p50 {p50_micros:>5.0} µs  cpu {cpu_micros:>5.1} µs"
            )?;
        }
        if !self.exchanges.is_empty() {
            self.exchange_table(f)?;
        }
        if let Some(millis) = self.ready_millis {
            writeln!(f, "ready with 100 roles: {millis:.0} ms")?;
        }
        if let Some(memory) = &self.memory {
            let Memory { exchanges, at_start, after_first, after_second, grown } = memory;
            let half = exchanges / 2;
            writeln!(
                f,
                "resident: {} at start, {} after {half} exchanges, {} after {exchanges}: {} more",
                mb(*at_start),
                mb(*after_first),
                mb(*after_second),
                mb(*grown)
            )?;
        }
        self.role_table(f)
    }
}

impl Report {
    fn at(&self, connections: usize) -> Option<&Exchanges> {
        self.exchanges
            .iter()
            .find(|exchanges| exchanges.role == "preview" && exchanges.connections == connections)
    }

    /// The word is earned by what the store reports, not by what was configured.
    fn promise(&self) -> &'static str {
        match &self.steps {
            Some(steps) if steps.durable => "durable exchanges",
            Some(_) | None => "exchanges, NOT durable",
        }
    }

    fn exchange_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Steps { durability: read, .. }) = &self.steps {
            writeln!(f, "\n{} ({read})", self.promise())?;
        }
        let columns = [
            "role",
            "connections",
            "/s",
            "p50 µs",
            "p90 µs",
            "p99 µs",
            "cpu µs",
            "commits",
            "syncs",
            "stored B",
            "written B",
            "resident",
        ];
        row(f, &columns.map(str::to_owned))?;
        for exchanges in &self.exchanges {
            let whole = |number: f64| format!("{number:.0}");
            row(
                f,
                &[
                    exchanges.role.to_owned(),
                    exchanges.connections.to_string(),
                    whole(exchanges.per_second),
                    whole(exchanges.p50_micros),
                    whole(exchanges.p90_micros),
                    whole(exchanges.p99_micros),
                    whole(exchanges.cpu_micros),
                    format!("{:.2}", exchanges.commits),
                    exchanges.syncs.map_or_else(|| "?".to_owned(), |syncs| format!("{syncs:.2}")),
                    exchanges.store_bytes.to_string(),
                    exchanges.written_bytes.to_string(),
                    mb(exchanges.resident_bytes),
                ],
            )?;
        }
        Ok(())
    }

    fn role_table(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self.roles.first().map(|roles| as_float(roles.instructions));
        for Roles { roles, instructions } in &self.roles {
            let more = least.map_or(0.0, |least| (as_float(*instructions) / least - 1.0) * 100.0);
            writeln!(f, "instructions per exchange with {roles:>6} roles: {instructions:>9} ({more:+.1} %)")?;
        }
        Ok(())
    }
}

impl Steps {
    /// The steps, each with its share of a whole exchange at 32 connections.
    fn table(&self, f: &mut fmt::Formatter<'_>, whole: Option<&Exchanges>) -> fmt::Result {
        writeln!(f, "step alone                      cpu µs   share")?;
        let share = |micros: f64| whole.map_or(0.0, |whole| micros / whole.cpu_micros * 100.0);
        for (name, micros) in [
            ("verify RS256", self.rs256),
            ("facts", self.facts),
            ("decide", self.decide),
            ("plan", self.plan),
            ("authorise: build and wait", self.authorise),
            ("authorise: write, 32 at once", self.authorise_write),
            ("mint: sign ES256", self.sign),
            ("lease: build and wait", self.lease),
            ("lease: write, 32 at once", self.lease_write),
        ] {
            writeln!(f, "{name:<30} {micros:>7.1} {:>6.0} %", share(micros))?;
        }
        for (name, micros) in [
            ("(verify ES256)", self.es256),
            ("(raw RS256 verification)", self.raw_verify),
            ("(raw ES256 signature)", self.raw_sign),
        ] {
            writeln!(f, "{name:<30} {micros:>7.1}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, columns: &[String; 12]) -> fmt::Result {
    columns.iter().try_for_each(|column| write!(f, "{column:>11}"))?;
    writeln!(f)
}

#[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
const fn as_float(number: u64) -> f64 {
    number as f64
}

/// Of all but the first round, which brings the server to its usual pace.
pub(crate) fn median(rounds: &[f64]) -> f64 {
    let mut sorted = rounds.get(1..).unwrap_or_default().to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// Megabytes, for people.
pub(crate) fn mb(bytes: u64) -> String {
    format!("{:.1} MB", as_float(bytes) / 1e6)
}
