//! The parts: processes on free loopback ports, each started for one test and ended with it.

pub(super) mod aws;
pub(super) mod bao;
pub(super) mod issuer;
pub(super) mod job;
pub(super) mod recorder;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest wait for something that must happen.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(20);

/// A process that ends with its test; by its own handle, so that no other is hit.
pub(super) struct Part(Child);

impl Part {
    /// Starts `command` and waits until something listens on `port`.
    pub(super) async fn start(command: &mut Command, port: u16) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut started = Self(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let name = command.get_program().to_owned();
        until("a part listens", async || {
            if let Some(status) = started.0.try_wait().unwrap() {
                panic!("{} ended at once: {status}", name.display());
            }
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok()
        })
        .await;
        started
    }

    /// Ends the process as a power cut would.
    pub(super) fn stop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Looks until `condition` holds.
pub(super) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not in {PATIENCE:?}: {what}");
        tokio::time::sleep(POLL).await;
    }
}

/// Where `tests/run` installs the parts.
fn installed(path: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".cache/parts").join(path);
    assert!(path.exists(), "{} is missing: run tests/run once, which installs it", path.display());
    path
}

/// A server or a client among the parts.
pub(super) fn program(name: &str) -> PathBuf {
    installed("bin").join(name)
}

/// A Node program, run where the installed packages are found.
pub(super) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.current_dir(installed("node/node_modules").parent().unwrap());
    command.args(["--input-type=module", "--eval", script, "--"]);
    command
}

/// The search path with the installed clients first.
pub(super) fn path() -> OsString {
    let own = std::env::var_os("PATH").unwrap();
    let all = std::iter::once(installed("bin")).chain(std::env::split_paths(&own));
    std::env::join_paths(all).unwrap()
}
