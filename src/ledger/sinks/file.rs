//! A file of JSON lines that misses none: unlike `audit.file`, which is faster and may drop lines.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::message::Message;
use super::send::{SendError, Verdict, all_taken};
use crate::ledger::event::private_to_append;

/// A file, opened anew for each batch, so that it can be renamed away at any time.
pub(super) struct Lines(PathBuf);

impl Lines {
    /// Makes sure that the file can be written.
    ///
    /// # Errors
    /// It cannot.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        private_to_append(path)?;
        Ok(Self(path.to_owned()))
    }

    pub(super) async fn send(&self, batch: &[Message]) -> Result<Vec<Verdict>, SendError> {
        let mut text = String::new();
        for message in batch {
            text.push_str(&message.json);
            text.push('\n');
        }
        let path = self.0.clone();
        let written = tokio::task::spawn_blocking(move || append(&path, text.as_bytes())).await;
        written.unwrap_or_else(|failed| Err(io::Error::other(failed))).map_err(SendError::File)?;
        Ok(all_taken(batch))
    }
}

/// Appends whole lines, durably.
fn append(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut file = private_to_append(path)?;
    if ends_torn(path)? {
        // A crash cut the last line short; it comes again, whole.
        file.write_all(b"\n")?;
    }
    file.write_all(text)?;
    file.sync_data()
}

/// True if the last line has no end.
fn ends_torn(path: &Path) -> io::Result<bool> {
    let mut file = File::open(path)?;
    if file.metadata()?.len() == 0 {
        return Ok(false);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::sinks::testing::message;

    #[tokio::test]
    async fn lines_are_appended_whole_even_after_a_torn_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        std::fs::write(&path, "{\"a\":1}\n{\"torn").unwrap();
        let sink = Lines::new(&path).unwrap();
        let batch = [message(1, 1), message(1, 2)];
        assert_eq!(sink.send(&batch).await.unwrap(), [Verdict::Taken, Verdict::Taken]);
        sink.send(&batch[..1]).await.unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[..2], ["{\"a\":1}", "{\"torn"]);
        assert_eq!(lines[2..], [&batch[0].json, &batch[1].json, &batch[0].json]);
    }
}
