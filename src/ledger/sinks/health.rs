//! How a sink fares: what it tells the log and the metrics, and how long it waits after a failure.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::cursor::Place;
use super::pace::Pace;
use crate::causes;
use crate::ledger::LedgerError;
use crate::telemetry;

/// Failures in a row from which on the log speaks of an error.
const ALARM: u32 = 5;

/// Whether a task goes on.
pub(super) type Flow = std::ops::ControlFlow<()>;

/// How a task is told to end.
#[derive(Clone)]
pub(super) struct Stop {
    /// Send what is left, then end.
    pub(super) drain: CancellationToken,
    /// End now.
    pub(super) cut: CancellationToken,
}

/// A sink's name and its failures in a row.
pub(super) struct Health {
    pub(super) name: String,
    pace: Pace,
    failures: u32,
}

impl Health {
    pub(super) fn new(name: &str, pace: Pace) -> Self {
        telemetry::sink_starts(name);
        Self { name: name.to_owned(), pace, failures: 0 }
    }

    /// The receiver has `count` records more.
    pub(super) fn delivered(&self, count: usize) {
        telemetry::sink_delivered(&self.name, count as u64);
    }

    /// The receiver failed; everything waits.
    pub(super) fn failed(&mut self, why: &str) {
        self.failures = self.failures.saturating_add(1);
        telemetry::sink_failed(&self.name);
        let (sink, failures) = (&self.name, self.failures);
        if failures < ALARM {
            tracing::warn!(sink, failures, why, "a sink does not take records; they wait in the store");
        } else {
            tracing::error!(sink, failures, why, "a sink still takes no records; they wait in the store");
        }
    }

    /// The store cannot be read.
    pub(super) fn unread(&mut self, error: &LedgerError) {
        self.failures = self.failures.saturating_add(1);
        let (sink, why) = (&self.name, causes::in_full(error));
        tracing::warn!(sink, why, "a sink cannot read the store");
    }

    /// The receiver works.
    pub(super) fn recovered(&mut self) {
        if self.failures > 0 {
            tracing::info!(sink = self.name, failures = self.failures, "a sink takes records again");
            self.failures = 0;
        }
    }

    /// One record is given up: the receiver will never take it.
    pub(super) fn given_up(&self, place: Place, why: &str) {
        telemetry::sink_dead_letter(&self.name);
        let (sink, Place { writer, seq }) = (&self.name, place);
        tracing::error!(sink, writer, seq, why, "a sink does not get this record; the store has it");
    }

    /// So many records wait, the oldest of them for so long.
    pub(super) fn lags(&self, records: i64, age: Duration) {
        telemetry::sink_lags(&self.name, records, age.as_secs_f64());
    }

    /// Waits after a failure; a server that ends does not.
    pub(super) async fn wait(&self, stop: &Stop, asked: Option<Duration>) -> Flow {
        let wait = self.pace.wait(self.failures, asked);
        match stop.drain.run_until_cancelled(sleep(wait)).await {
            Some(()) => Flow::Continue(()),
            None => Flow::Break(()),
        }
    }
}
