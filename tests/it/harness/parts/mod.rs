//! Real parts, unmodified: processes on free loopback ports, each started for one test and ended with it.

pub(crate) mod aws;
pub(crate) mod bao;
pub(crate) mod disk;
pub(crate) mod issuer;
pub(crate) mod job;
pub(crate) mod network;
pub(crate) mod postgres;
pub(crate) mod recorder;
pub(crate) mod rsyslog;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::files::root;
use super::wait::until;

/// A process that ends with its test; by its own handle, so that no other is hit.
pub(crate) struct Part(Child);

impl Part {
    /// Starts `command`, whose output nobody reads.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(quiet.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }

    /// The same, and waits until something listens on `port`.
    pub(crate) async fn start(command: &mut Command, port: u16) -> Self {
        let mut started = Self::spawn(command);
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
    pub(crate) fn stop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Part {
    /// Asks the process to end in order, and waits until it has.
    pub(crate) fn end(mut self) {
        let asked = Command::new("kill").args(["-TERM", &self.0.id().to_string()]).status().unwrap();
        assert!(asked.success());
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

/// Where `tests/run` installs the parts.
fn installed(path: &str) -> PathBuf {
    let path = root().join(".cache/parts").join(path);
    assert!(path.exists(), "{} is missing: run tests/run once, which installs it", path.display());
    path
}

/// A server or a client among the parts.
pub(crate) fn program(name: &str) -> PathBuf {
    installed(&format!("bin/{name}"))
}

/// A Node program, run where the installed packages are found.
pub(crate) fn node(script: &str) -> Command {
    let mut command = Command::new("node");
    command.current_dir(installed("node/node_modules").parent().unwrap());
    command.args(["--input-type=module", "--eval", script, "--"]);
    command
}

/// The search path with the installed clients first.
pub(crate) fn path() -> OsString {
    let own = std::env::var_os("PATH").unwrap();
    let all = std::iter::once(installed("bin")).chain(std::env::split_paths(&own));
    std::env::join_paths(all).unwrap()
}
