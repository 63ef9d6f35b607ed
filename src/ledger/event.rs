//! The copy of the audit chain that leaves the process: one JSON line per record, after it is durable.
//!
//! A slow pipe or a full disk must never hold up a grant: the queue is bounded, what does not fit is dropped, and the
//! next line that does fit says how many. The store has them all: `writer` and `seq` are the cursor to catch up from.
//! Events hold ids, names and codes; never an input, a handle or a secret.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::kind::Kind;
use super::settings::LedgerSettings;
use crate::domain::{DecisionId, LeaseId};
use crate::telemetry;

/// Events that wait for a slow sink before the next ones are dropped.
const QUEUE: usize = 8192;

/// How long a shutdown waits for the sinks.
const LINGER: Duration = Duration::from_secs(2);

/// One record of the audit chain, as sinks see it.
#[derive(Debug, Clone, Serialize)]
pub struct Event {
    /// The writer's number in this store.
    pub writer: i64,
    /// Its sequence number.
    pub seq: i64,
    /// When it was recorded.
    pub at: Timestamp,
    /// What happened.
    pub kind: Kind,
    /// Whose; empty for the server itself.
    pub tenant: String,
    /// The record's hash, hex: whoever keeps these lines holds the chain's heads.
    pub hash: String,
    /// What it is about.
    #[serde(flatten)]
    pub about: About,
}

/// What an event is about.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum About {
    /// A decision.
    Decision {
        /// Its id.
        decision: DecisionId,
        /// Who asked.
        principal: String,
        /// For what; empty unless it was a credential.
        role: String,
        /// What was decided: `mint`, `lease.list`, …
        operation: Cow<'static, str>,
        /// `allow`, `would_allow`, `permit` or a refusal code.
        result: Cow<'static, str>,
    },
    /// A new lease.
    Lease {
        /// Its id.
        lease: LeaseId,
        /// The decision it came from.
        decision: DecisionId,
        /// When it dies by itself.
        dies_at: Timestamp,
    },
    /// A change of an authorisation.
    Authorisation {
        /// Its decision.
        decision: DecisionId,
        /// What changed.
        data: Box<RawValue>,
    },
    /// A change of a lease.
    Change {
        /// Its id.
        lease: LeaseId,
        /// What changed.
        data: Box<RawValue>,
    },
    /// Something of the server itself.
    Server {
        /// What.
        data: Box<RawValue>,
    },
}

/// One line of the copy.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Line {
    /// A record of the chain.
    Event(Box<Event>),
    /// Signed heads: whoever keeps these lines can prove a cut tail or a store that was rolled back.
    Checkpoint { kind: &'static str, at: Timestamp, jws: String },
    /// What is missing above this line.
    Dropped { kind: &'static str, count: u64 },
}

/// The near end of the queue to the sinks.
pub(super) struct Events {
    queue: SyncSender<Line>,
    finished: Receiver<()>,
    dropped: u64,
}

/// Opens or creates the file of events: not for everybody's eyes, for it says who got what; its group may ship it.
pub(super) fn private_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o640);
    options.open(path)
}

impl Events {
    /// Starts the thread that feeds the sinks; none without sinks.
    ///
    /// # Errors
    /// The file cannot be opened, or the thread not started.
    pub(super) fn start(settings: &LedgerSettings) -> io::Result<Option<Self>> {
        let mut sinks: Vec<Box<dyn Write + Send>> = Vec::new();
        if settings.events_stdout {
            sinks.push(Box::new(io::stdout()));
        }
        if let Some(path) = &settings.events_file {
            sinks.push(Box::new(private_to_append(path)?));
        }
        if sinks.is_empty() { Ok(None) } else { Self::feeding(sinks, QUEUE).map(Some) }
    }

    fn feeding(mut sinks: Vec<Box<dyn Write + Send>>, capacity: usize) -> io::Result<Self> {
        let (queue, lines) = sync_channel::<Line>(capacity);
        let (finish, finished) = sync_channel(1);
        std::thread::Builder::new().name("ledger-events".into()).spawn(move || {
            while let Ok(line) = lines.recv() {
                write_all(&mut sinks, &line);
            }
            let _ = finish.send(());
        })?;
        Ok(Self { queue, finished, dropped: 0 })
    }

    /// Hands over a line, or counts it as dropped; never waits.
    pub(super) fn send(&mut self, line: Line) {
        if self.dropped > 0 {
            let told = Line::Dropped { kind: "events_dropped", count: self.dropped };
            if self.queue.try_send(told).is_ok() {
                tracing::error!(dropped = self.dropped, "a sink of audit events was too slow");
                self.dropped = 0;
            }
        }
        if self.queue.try_send(line).is_err() {
            self.dropped += 1;
            telemetry::event_dropped();
        }
    }

    /// Lets the sinks write what is queued, for a bounded time.
    pub(super) fn finish(self) {
        let Self { queue, finished, .. } = self;
        drop(queue);
        if finished.recv_timeout(LINGER) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(
                "a sink of audit events is too slow; its last lines are lost, the store has them"
            );
        }
    }
}

/// Writes one line to every sink. A sink that fails is named in the log; the store has the record.
fn write_all(sinks: &mut [Box<dyn Write + Send>], line: &impl Serialize) {
    let Ok(mut line) = serde_json::to_vec(line) else { return };
    line.push(b'\n');
    for sink in sinks {
        if let Err(error) = sink.write_all(&line).and_then(|()| sink.flush()) {
            telemetry::event_dropped();
            tracing::error!(%error, "a sink of audit events fails; the store has the record");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Sender, channel};

    /// A pipe that takes a line only when the test lets it.
    struct Slow {
        gate: Receiver<()>,
        lines: Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.gate.recv().map_err(io::Error::other)?;
            self.lines.send(String::from_utf8_lossy(bytes).into_owned()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(n: u64) -> Line {
        Line::Dropped { kind: "test", count: n }
    }

    #[test]
    fn a_slow_sink_drops_lines_and_says_how_many() {
        let (open, gate) = channel();
        let (lines, seen) = channel();
        let mut events = Events::feeding(vec![Box::new(Slow { gate, lines })], 1).unwrap();
        // One line is held by the sink's thread at most and one by the queue; the rest cannot fit.
        for n in 0..10 {
            events.send(line(n));
        }
        let dropped = events.dropped;
        assert!(dropped >= 7, "{dropped}");
        for _ in 0..20 {
            open.send(()).unwrap();
        }
        while seen.recv_timeout(Duration::from_millis(200)).is_ok() {}
        events.send(line(99));
        let told = seen.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(told.contains("events_dropped") && told.contains(&dropped.to_string()), "{told}");
    }
}
