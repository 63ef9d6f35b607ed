//! What a sink sends per record, already in its format.

use jiff::Timestamp;
use serde::Serialize;

use super::cursor::Place;
use super::ocsf;
use super::record::Record;
use crate::config::SinkFormat;
use crate::ledger::event::Line;
use crate::ledger::kind::Kind;

/// One record, ready to be sent.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) place: Place,
    /// Of this record alone.
    pub(super) uid: String,
    pub(super) at: Timestamp,
    /// The record's kind; `checkpoint` for a checkpoint.
    pub(super) kind: &'static str,
    /// True for what somebody may want to look at: a refusal.
    pub(super) notable: bool,
    /// A JSON object on one line.
    pub(super) json: String,
}

impl Message {
    /// Writes `record` in `format`.
    ///
    /// # Errors
    /// What the serialisation says.
    pub(super) fn new(record: &Record, format: SinkFormat) -> Result<Self, serde_json::Error> {
        let json = match format {
            SinkFormat::Tollgate => json(&record.line)?,
            SinkFormat::Ocsf => json(&ocsf::event(record))?,
        };
        let (kind, notable) = match &record.line {
            Line::Event(event) => (event.kind.as_str(), matches!(event.kind, Kind::Refused | Kind::Counted)),
            Line::Checkpoint { kind, .. } | Line::Dropped { kind, .. } => (*kind, false),
        };
        Ok(Self { place: record.place, uid: record.uid(), at: record.at, kind, notable, json })
    }
}

fn json(value: &impl Serialize) -> Result<String, serde_json::Error> {
    serde_json::to_string(value)
}
