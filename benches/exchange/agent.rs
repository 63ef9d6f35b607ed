//! A SPIFFE agent: the tests' part, which streams to a server what it is told, as often as it is told.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::Fallible;

/// The program, and the Python that has what it needs.
const PART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/parts/workload.py");
const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.cache/parts/bin/python");

/// A running agent; ends when dropped.
pub(crate) struct Agent {
    socket: PathBuf,
    tell: ChildStdin,
    hear: Lines<BufReader<ChildStdout>>,
    _process: Child,
}

impl Agent {
    /// Starts one on the unix socket `socket`; it serves nothing yet.
    pub(crate) fn start(socket: PathBuf) -> Fallible<Self> {
        if !Path::new(PYTHON).exists() {
            return Err("the parts are not installed: run tests/run once".into());
        }
        let mut command = Command::new(PYTHON);
        // Port 0 is any: the socket is what is used.
        command.arg(PART).arg(&socket).arg("0").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.kill_on_drop(true).spawn()?;
        let tell = process.stdin.take().ok_or("no input")?;
        let hear = BufReader::new(process.stdout.take().ok_or("no output")?).lines();
        Ok(Self { socket, tell, hear, _process: process })
    }

    /// The section of the settings that names it.
    pub(crate) fn settings(&self) -> String {
        format!("[workload_api]\nendpoint = \"unix://{}\"\n", self.socket.display())
    }

    /// Serves `state`, and tells whoever follows it; returns how many streams are open.
    pub(crate) async fn serve(&mut self, state: &Value) -> Fallible<u64> {
        let command = json!({ "do": "serve", "state": state }).to_string() + "\n";
        self.tell.write_all(command.as_bytes()).await?;
        let answer = self.hear.next_line().await?.ok_or("the agent ended")?;
        let answer: Value = serde_json::from_str(&answer)?;
        Ok(answer.get("open").and_then(Value::as_u64).unwrap_or_default())
    }
}
