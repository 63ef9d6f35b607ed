//! Sinks: copies of the audit chain that miss no record, however long their receivers are away.
//!
//! The audit table is the stream. Each sink has a task that reads beyond its cursor, a bounded batch at a time, sends it,
//! and moves the cursor on once the receiver has it; every few seconds the cursor is noted in the ledger. After a crash the
//! last few seconds are sent again: at least once, and every record says its writer and sequence number. Of the servers
//! that share a database one runs a sink, for the chains of all; once it is gone, another one goes on.
//!
//! What must never happen here: that a grant waits for a receiver; that more than a batch is held in memory; that a record
//! is passed over in silence. The writer only signals that it has committed.

mod batch;
mod cursor;
mod elastic;
mod file;
mod health;
mod http;
mod message;
mod ocsf;
mod pace;
mod record;
mod row;
mod runner;
mod send;
mod splunk;
mod syslog;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub(in crate::ledger) use self::cursor::{CHECKPOINTS, Cursor, Place};
use self::elastic::Elastic;
use self::file::Lines;
use self::health::{Health, Stop};
use self::pace::Pace;
pub(in crate::ledger) use self::row::{Ahead, Content, DecisionParts, StoredRecord, StreamRow};
use self::runner::{Reads, Runner};
use self::send::Transport;
use self::splunk::Splunk;
use self::syslog::Syslog;
use super::Ledger;
use crate::config::{Settings, Sink, SinkKind};
use crate::net::NetError;

/// How long a shutdown waits for receivers to take the last records; the rest is sent after the next start.
const FINISH: Duration = Duration::from_secs(3);

/// Why a sink cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("the sink {name} cannot be set up")]
pub struct SinkSetupError {
    /// Its name.
    pub name: String,
    /// Why.
    #[source]
    pub source: Unusable,
}

/// What cannot be used about a sink.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its address, or a certificate.
    #[error(transparent)]
    Net(#[from] NetError),
    /// Its file.
    #[error("the file cannot be opened")]
    File(#[from] io::Error),
}

/// Sinks that are set up and do nothing yet.
pub struct Sinks(Vec<Runner>);

/// The sinks of a running server.
pub struct RunningSinks {
    stop: Stop,
    tasks: TaskTracker,
}

impl Sinks {
    /// Sets up the sinks that the settings name; contacts nobody.
    ///
    /// # Errors
    /// A sink that can never work, such as one whose file cannot be opened. One whose receiver is away is none.
    pub fn new(settings: &Settings, ledger: &Arc<Ledger>) -> Result<Self, SinkSetupError> {
        let host = url::Url::parse(settings.server.url.as_str()).ok();
        let host = host.as_ref().and_then(url::Url::host_str).unwrap_or_default();
        // One read at a time for all sinks: the other connections stay for whoever waits for an answer.
        let reads = Reads::new(Semaphore::new(1));
        let mut runners = Vec::new();
        for (name, sink) in &settings.audit.sinks {
            let setup = |source| SinkSetupError { name: name.clone(), source };
            let transport = transport(sink, host).map_err(setup)?;
            let (ledger, reads) = (Arc::clone(ledger), Arc::clone(&reads));
            let health = Health::new(name, Pace::RECEIVER);
            runners.push(Runner::new(health, ledger, transport, sink.format, reads));
        }
        Ok(Self(runners))
    }

    /// Starts a task for each.
    pub fn start(self) -> RunningSinks {
        let stop = Stop { drain: CancellationToken::new(), cut: CancellationToken::new() };
        let tasks = TaskTracker::new();
        for runner in self.0 {
            tasks.spawn(runner.run(stop.clone()));
        }
        tasks.close();
        RunningSinks { stop, tasks }
    }
}

impl RunningSinks {
    /// Sends what is left, for a bounded time, and notes how far each sink has come. Call it after the last record.
    pub async fn stop(&self) {
        self.stop.drain.cancel();
        if timeout(FINISH, self.tasks.wait()).await.is_err() {
            self.stop.cut.cancel();
            self.tasks.wait().await;
        }
    }
}

fn transport(sink: &Sink, host: &str) -> Result<Transport, Unusable> {
    Ok(match &sink.kind {
        SinkKind::File(path) => Transport::File(Lines::new(path)?),
        SinkKind::Syslog(syslog) => Transport::Syslog(Box::new(Syslog::new(syslog, host)?)),
        SinkKind::SplunkHec(splunk) => Transport::Splunk(Splunk::new(splunk, sink.format, host)?),
        SinkKind::Elasticsearch(elastic) => Transport::Elastic(Elastic::new(elastic)?),
    })
}
