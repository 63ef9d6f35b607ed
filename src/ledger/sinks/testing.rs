//! Messages for the tests of single protocols.

use super::cursor::Place;
use super::message::Message;

/// A message at its place.
pub(super) fn message(writer: i64, seq: i64) -> Message {
    Message {
        place: Place { writer, seq },
        uid: format!("{writer}-{seq}-00"),
        at: crate::ledger::testing::noon(),
        kind: "ended",
        notable: false,
        json: format!("{{\"writer\":{writer},\"seq\":{seq}}}"),
    }
}
