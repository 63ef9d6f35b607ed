//! A server in a process of its own, so that what it costs is told apart from what the load generator costs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::Fallible;
use crate::load;

/// `USER_HZ`, in which Linux reports processor time: 100 on every architecture that this is built for.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// Starts `tollgate serve`, logging as it does unless told otherwise, to nowhere.
    pub(crate) fn tollgate(config: &Path) -> Fallible<Self> {
        Self::start(serve(config))
    }

    /// Another one on the same configuration, with an address and a socket of its own.
    pub(crate) fn replica(config: &Path) -> Fallible<Self> {
        let mut command = serve(config);
        command.env("TOLLGATE_SERVER__LISTEN", free_address()?.to_string());
        command.env("TOLLGATE_SERVER__ADMIN_SOCKET", config.join("replica.sock"));
        Self::start(command)
    }

    /// Starts a program that prints `{"listening": ADDRESS}` once it does.
    pub(crate) fn start(mut command: Command) -> Fallible<Self> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or("no output")?).read_line(&mut line)?;
        let line: serde_json::Value = serde_json::from_str(&line).map_err(|_| "the server did not start")?;
        let address =
            line.get("listening").and_then(|address| address.as_str()).ok_or("no address")?.parse()?;
        Ok(Self { child, address })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Processor time so far, user and system, seconds (proc(5), `/proc/pid/stat`: fields 14 and 15).
    pub(crate) fn cpu(&self) -> Fallible<f64> {
        let stat = self.proc("stat")?;
        let fields = stat.rsplit_once(')').ok_or("no stat")?.1;
        let ticks =
            fields.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<Result<u32, _>>()?;
        Ok(f64::from(ticks) / TICKS_PER_SECOND)
    }

    /// Bytes that it caused to be written to storage (proc(5), `/proc/pid/io`).
    pub(crate) fn written(&self) -> Fallible<u64> {
        number(&self.proc("io")?, "write_bytes:")
    }

    /// Resident memory, bytes.
    pub(crate) fn resident(&self) -> Fallible<u64> {
        Ok(number(&self.proc("status")?, "VmRSS:")? * 1024)
    }

    /// The sum and count that a histogram shows, or `None` if nothing was observed.
    pub(crate) async fn histogram(&self, name: &str) -> Fallible<(f64, f64)> {
        let text = load::get(self.address, "/metrics").await?;
        let value = |ending: &str| {
            let name = format!("{name}_{ending} ");
            text.lines().find_map(|line| line.strip_prefix(&name)?.parse::<f64>().ok()).unwrap_or_default()
        };
        Ok((value("sum"), value("count")))
    }

    /// What a metric without labels shows.
    pub(crate) async fn value(&self, name: &str) -> Fallible<f64> {
        let (text, name) = (load::get(self.address, "/metrics").await?, format!("{name} "));
        let value = text.lines().find_map(|line| line.strip_prefix(&name)).ok_or("no such metric")?;
        Ok(value.parse()?)
    }

    /// Ends it in order and waits.
    pub(crate) fn stop(mut self) -> Fallible<()> {
        kill_process(Pid::from_child(&self.child), Signal::TERM)?;
        self.child.wait()?;
        Ok(())
    }

    fn proc(&self, file: &str) -> Fallible<String> {
        Ok(std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Ended already, perhaps.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that nobody listens on.
pub(crate) fn free_address() -> Fallible<SocketAddr> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}

/// Resident memory of a process at its highest so far, bytes; none once it has ended.
pub(crate) fn peak(process: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    Some(number(&status, "VmHWM:").ok()? * 1024)
}

fn serve(config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command.args(["--json", "serve", "--config"]).arg(config);
    command
}

fn number(text: &str, name: &str) -> Fallible<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such figure")?;
    Ok(line.split_whitespace().next().ok_or("no figure")?.parse()?)
}
