//! The real program as a process, for what a process does: exit statuses, signals, crashes.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use super::wait::PATIENCE;

/// The program under test, with an empty environment but for the path.
pub(crate) fn tollgate() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    if let Some(roots) = std::env::var_os("SSL_CERT_FILE") {
        command.env("SSL_CERT_FILE", roots);
    }
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    tollgate().args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// A running `tollgate serve`; killed when dropped.
pub(crate) struct Server {
    child: Child,
    lines: Receiver<String>,
}

impl Server {
    /// Starts the broker on `config` and waits until it listens. `crash_at` names a failpoint, or is empty.
    pub(crate) fn start(config: &Path, crash_at: &str) -> Self {
        Self::start_with(config, &[("TOLLGATE_CRASH_AT", crash_at)])
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(config: &Path, environment: &[(&str, &str)]) -> Self {
        let mut command = tollgate();
        command.args(["--json", "serve", "--log", "error", "--config"]).arg(config);
        command.envs(environment.iter().copied());
        Self::spawn(&mut command)
    }

    /// Runs a command that becomes a broker, and waits until it listens.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        Self::spawn_until(command, "listening")
    }

    /// Runs a command and waits until a line of its standard output holds `part`.
    pub(crate) fn spawn_until(command: &mut Command, part: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let (heard, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).try_for_each(|line| heard.send(line))
        });
        let server = Self { child, lines };
        server.line_with(part);
        server
    }

    /// The next line of its standard output that holds `part`.
    pub(crate) fn line_with(&self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("the broker does not say {part:?}"));
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Starts the broker with everything logged: what it writes goes to `stdout` and `stderr` in `folder`.
    pub(crate) fn start_tracing(config: &Path, format: &str, folder: &Path) -> Self {
        let (stdout, stderr) = (folder.join("stdout"), folder.join("stderr"));
        let child = tollgate()
            .args(["--json", "serve", "--log", "trace", "--log-format", format, "--config"])
            .arg(config)
            .stdout(std::fs::File::create(&stdout).unwrap())
            .stderr(std::fs::File::create(&stderr).unwrap())
            .spawn()
            .unwrap();
        // Its lines go to a file: nobody will send any here.
        let mut server = Self { child, lines: channel().1 };
        while !std::fs::read_to_string(&stdout).unwrap().contains("listening") {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{}", std::fs::read_to_string(&stderr).unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        server
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for a process that is about to end by itself.
    pub(crate) fn wait(&mut self) -> std::process::ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the broker did not end");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends a signal by name, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
