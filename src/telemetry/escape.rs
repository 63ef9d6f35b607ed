//! Escapes what could forge a log line or drive a terminal.
//!
//! A claim, a header or a target's answer may hold a line break (a forged entry), ESC or a C1 control (a terminal
//! sequence), or a bidirectional override (text that reads as other text: CVE-2021-42574).

use std::fmt::{self, Write};
use std::io;

use tracing_subscriber::fmt::MakeWriter;

/// True for characters that must not reach a log as they are.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Passes text on with every unsafe character written as `\n` or `\u{1b}`.
pub(super) struct EscapingFmt<'a, W>(pub(super) &'a mut W);

impl<W: Write> Write for EscapingFmt<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(is_unsafe) {
            match piece.char_indices().next_back() {
                Some((at, last)) if is_unsafe(last) => {
                    self.0.write_str(piece.get(..at).unwrap_or_default())?;
                    write!(self.0, "{}", last.escape_default())?;
                }
                Some(_) | None => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

/// Makes writers for JSON lines. JSON's own escapes end at U+001F; this adds the rest, which inside a JSON string may be
/// written `\u009b` without changing its value (RFC 8259, section 7), and which occur nowhere else.
#[derive(Clone)]
pub(super) struct JsonLines<M>(pub(super) M);

impl<'a, M: MakeWriter<'a>> MakeWriter<'a> for JsonLines<M> {
    type Writer = JsonLine<M::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        JsonLine(self.0.make_writer())
    }
}

pub(super) struct JsonLine<W>(W);

impl<W: io::Write> io::Write for JsonLine<W> {
    /// The subscriber writes each event in one piece, which is whole UTF-8 and ends in the one line break.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match std::str::from_utf8(line) {
            Ok(text) if text.contains(beyond_json) => self.0.write_all(escape_json(text).as_bytes())?,
            Ok(_) | Err(_) => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Unsafe characters that a JSON writer leaves as they are.
fn beyond_json(c: char) -> bool {
    is_unsafe(c) && c >= '\u{7f}'
}

fn escape_json(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if beyond_json(c) {
            // All of them are in the basic multilingual plane: one escape each. Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{:04x}", u32::from(c));
        } else {
            escaped.push(c);
        }
    }
    escaped
}
