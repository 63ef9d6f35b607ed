//! The one place that writes to the terminal: colour only there, JSON on request, never a secret in an error.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use serde::Serialize;

/// Writes a command's result.
#[derive(Debug, Clone, Copy)]
pub(super) struct Output {
    json: bool,
}

/// What a line is about; chooses its colour.
#[derive(Debug, Clone, Copy)]
pub(super) enum Tone {
    /// A heading.
    Strong,
    /// Worked as expected.
    Good,
    /// Needs attention.
    Warn,
    /// Went wrong.
    Bad,
    /// Background detail.
    Faint,
}

impl Tone {
    const fn style(self) -> Style {
        match self {
            Self::Strong => Style::new().bold(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warn => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
            Self::Faint => Style::new().dimmed(),
        }
    }
}

impl Output {
    /// `json` writes machine-readable results and nothing else on standard output.
    pub(super) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// True if the caller wants JSON.
    pub(super) const fn is_json(self) -> bool {
        self.json
    }

    /// One JSON value on one line of standard output.
    pub(super) fn json(value: &impl Serialize) -> io::Result<()> {
        let mut line = serde_json::to_vec(value)?;
        line.push(b'\n');
        Self::raw(&line)
    }

    /// One line of text on standard output; nothing with `--json`.
    pub(super) fn line(self, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        unless_closed(writeln!(anstream::stdout().lock(), "{}", printable(text)))
    }

    /// One toned line of text on standard output; nothing with `--json`.
    pub(super) fn toned(self, tone: Tone, text: &str) -> io::Result<()> {
        if self.json {
            return Ok(());
        }
        let style = tone.style();
        unless_closed(writeln!(anstream::stdout().lock(), "{style}{}{style:#}", printable(text)))
    }

    /// Exact bytes on standard output, for what another program reads.
    pub(super) fn raw(bytes: &[u8]) -> io::Result<()> {
        unless_closed(io::stdout().lock().write_all(bytes))
    }

    /// Exact bytes on standard error, for a runner that reads it.
    pub(super) fn raw_note(bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    /// One toned line on standard error.
    pub(super) fn note(tone: Tone, text: &str) {
        let style = tone.style();
        // A closed standard error leaves nobody to tell.
        let _ = writeln!(anstream::stderr().lock(), "{style}{}{style:#}", printable(text));
    }
}

/// A reader that has seen enough, such as `head`, is no failure.
fn unless_closed(written: io::Result<()>) -> io::Result<()> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Replaces control characters, so that text from a server cannot steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_failure_and_a_full_disk_is() {
        let failed = |kind: io::ErrorKind| unless_closed(Err(kind.into()));
        assert!(failed(io::ErrorKind::BrokenPipe).is_ok());
        assert!(failed(io::ErrorKind::StorageFull).is_err());
    }

    #[test]
    fn text_from_a_server_cannot_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\nd"), "a\u{fffd}[2Jb\u{fffd}c\nd");
    }
}
