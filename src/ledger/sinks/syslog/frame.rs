//! Syslog messages (RFC 5424), each with its length before it (RFC 5425, section 4.3).
//!
//! The structured data is the registered element `origin` (RFC 5424, section 7.2): an element of one's own has to be named
//! after a private enterprise number of one's own, and Tollgate has none. Whoever runs it and has one can configure it, and
//! then gets the record's place in an element of that name. Either way the whole record is in the message.

use std::io::Write;

use super::super::message::Message;
use crate::config::SyslogSink;

/// Severity "informational" and "notice" (RFC 5424, table 2).
const INFORMATIONAL: u8 = 6;
const NOTICE: u8 = 5;

/// Before a MSG in UTF-8 (RFC 5424, section 6.4).
const BOM: &str = "\u{feff}";

/// What all messages of a sink have in common.
pub(super) struct Framing {
    facility: u8,
    host: String,
    app_name: String,
    enterprise: Option<u32>,
}

impl Framing {
    pub(super) fn new(settings: &SyslogSink, host: &str) -> Self {
        Self {
            facility: settings.facility,
            host: host_name(host),
            app_name: settings.app_name.clone(),
            enterprise: settings.enterprise,
        }
    }

    /// Appends the frame of `message`.
    pub(super) fn append(&self, message: &Message, frames: &mut Vec<u8>) {
        let text = self.message(message);
        // Writing to memory cannot fail.
        let _ = write!(frames, "{} {text}", text.len());
    }

    fn message(&self, message: &Message) -> String {
        let severity = if message.notable { NOTICE } else { INFORMATIONAL };
        let priority = self.facility * 8 + severity;
        let Message { place, at, kind, json, .. } = message;
        let (host, app, data) = (&self.host, &self.app_name, self.structured_data(message));
        // PROCID tells one run of a sender from the next: that is the writer. MSGID is the kind.
        format!("<{priority}>1 {at} {host} {app} {} {kind} {data} {BOM}{json}", place.writer)
    }

    /// No value of ours has a character that would have to be escaped (section 6.3.3).
    fn structured_data(&self, message: &Message) -> String {
        let version = env!("CARGO_PKG_VERSION");
        let origin = format!("software=\"tollgate\" swVersion=\"{version}\"");
        match self.enterprise {
            None => format!("[origin {origin}]"),
            Some(number) => {
                let (writer, seq) = (message.place.writer, message.place.seq);
                format!(
                    "[origin enterpriseId=\"{number}\" {origin}][tollgate@{number} writer=\"{writer}\" seq=\"{seq}\"]"
                )
            }
        }
    }
}

/// HOSTNAME: up to 255 visible ASCII characters, or `-`.
fn host_name(host: &str) -> String {
    let host = host.trim_matches(['[', ']']);
    let fits = (1..=255).contains(&host.len()) && host.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { host.to_owned() } else { "-".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sinks::testing::message;

    fn framing(enterprise: Option<u32>) -> Framing {
        let (host, app_name) = ("tollgate.example".to_owned(), "tollgate".to_owned());
        Framing { facility: 10, host, app_name, enterprise }
    }

    #[test]
    fn a_message_has_the_parts_of_the_rfc_in_order() {
        let message = Message { json: "{\"name\":\"ü\"}".into(), notable: true, ..message(3, 7) };
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            framing(None).message(&message),
            format!(
                "<85>1 2026-03-02T12:00:00Z tollgate.example tollgate 3 ended [origin software=\"tollgate\" \
                 swVersion=\"{version}\"] \u{feff}{{\"name\":\"ü\"}}"
            )
        );
    }

    #[test]
    fn an_element_of_ones_own_needs_a_number_of_ones_own() {
        let text = framing(Some(64_512)).message(&message(3, 7));
        assert!(text.contains("[origin enterpriseId=\"64512\" software="), "{text}");
        assert!(text.contains("\"][tollgate@64512 writer=\"3\" seq=\"7\"] \u{feff}{"), "{text}");
        assert!(!framing(None).message(&message(3, 7)).contains('@'));
    }

    #[test]
    fn the_length_counts_bytes_and_nothing_parts_two_frames() {
        let message = Message { json: "{\"name\":\"üß\"}".into(), ..message(1, 1) };
        let mut frames = Vec::new();
        framing(None).append(&message, &mut frames);
        framing(None).append(&message, &mut frames);
        let one = frames.len() / 2;
        assert_eq!(frames[..one], frames[one..]);
        let space = frames.iter().position(|byte| *byte == b' ').unwrap();
        let length: usize = std::str::from_utf8(&frames[..space]).unwrap().parse().unwrap();
        assert_eq!(length, one - space - 1);
    }

    #[test]
    fn a_host_that_cannot_be_named_is_nil() {
        assert_eq!(host_name("[::1]"), "::1");
        for bad in ["", "two words", "ü.example"] {
            assert_eq!(host_name(bad), "-");
        }
    }
}
