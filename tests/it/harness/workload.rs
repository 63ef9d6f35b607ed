//! A Workload API on the official protocol definition (tests/parts/workload.py): identities, bundles, and their rotation.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::files::root;
use super::parts::program;
use super::site::free_port;
use super::wait::PATIENCE;

/// A running Workload API; ends when dropped.
pub(crate) struct Workload {
    folder: TempDir,
    port: u16,
    process: Mutex<Process>,
}

/// The server, and what it answers to commands.
struct Process {
    child: Child,
    answers: Receiver<String>,
}

/// How often the server was asked for something, and how many streams are open.
#[derive(Debug)]
pub(crate) struct Count(Value);

impl Count {
    /// Calls of `method`, such as `FetchX509SVID`, since the server started.
    pub(crate) fn asked(&self, method: &str) -> u64 {
        self.0["asked"][method].as_u64().unwrap_or(0)
    }

    /// Streams that are open now.
    pub(crate) fn open(&self) -> u64 {
        self.0["open"].as_u64().unwrap()
    }
}

impl Workload {
    /// Starts one that serves `state`, as the part describes it, on a socket and a port of its own.
    pub(crate) fn start(state: &Value) -> Self {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port());
        let process = Mutex::new(Process::start(&folder.path().join("api.sock"), port));
        let started = Self { folder, port, process };
        started.serve(state);
        started
    }

    /// The unix socket.
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("api.sock")
    }

    /// The unix socket, as `SPIFFE_ENDPOINT_SOCKET` names it.
    pub(crate) fn socket(&self) -> String {
        format!("unix://{}", self.path().display())
    }

    /// The port, as `SPIFFE_ENDPOINT_SOCKET` names it.
    pub(crate) fn tcp(&self) -> String {
        format!("tcp://127.0.0.1:{}", self.port)
    }

    /// Serves this from now on, and tells whoever has a stream open.
    pub(crate) fn serve(&self, state: &Value) {
        self.command(&json!({ "do": "serve", "state": state }));
    }

    /// Everybody is denied, open streams too, until something is served.
    pub(crate) fn deny(&self, why: &str) {
        self.command(&json!({ "do": "deny", "why": why }));
    }

    /// Takes every call and answers none, until something is served.
    pub(crate) fn hang(&self) {
        self.command(&json!({ "do": "hang" }));
    }

    /// Every open stream ends; new ones are served.
    pub(crate) fn break_streams(&self) {
        self.command(&json!({ "do": "break" }));
    }

    pub(crate) fn count(&self) -> Count {
        self.command(&json!({ "do": "count" }))
    }

    /// Ends the server as a crash would: its socket stays, and nobody listens there.
    pub(crate) fn stop(&self) {
        self.process.lock().unwrap().stop();
    }

    /// Starts it again on the same socket and port, serving `state`.
    pub(crate) fn start_again(&self, state: &Value) {
        let mut process = self.process.lock().unwrap();
        process.stop();
        *process = Process::start(&self.path(), self.port);
        drop(process);
        self.serve(state);
    }

    fn command(&self, command: &Value) -> Count {
        let mut process = self.process.lock().unwrap();
        let said = process.tell(command);
        Count(serde_json::from_str(&said).unwrap())
    }
}

impl Process {
    fn start(socket: &Path, port: u16) -> Self {
        let mut command = Command::new(program("python"));
        command.arg(root().join("tests/parts/workload.py")).arg(socket).arg(port.to_string());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (heard, answers) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| heard.send(line))
        });
        Self { child, answers }
    }

    fn tell(&mut self, command: &Value) -> String {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{command}").unwrap();
        let answer = self.answers.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|_| panic!("the Workload API does not do {command}"))
    }

    fn stop(&mut self) {
        // Ended already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
