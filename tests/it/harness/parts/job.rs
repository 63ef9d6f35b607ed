//! A CI job: the real client, with nothing of this process's environment but the search path.

use std::process::{ExitStatus, Stdio};

use tokio::process::Command;

use super::path;
use crate::harness::{Site, process};

/// How a job ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    /// What it wrote, if it went well.
    #[track_caller]
    pub(crate) fn ok(&self) -> &str {
        assert!(self.status.success(), "{self:?}");
        self.out.trim_end()
    }

    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }
}

/// A job of `site` that runs `tollgate` with `arguments`, in the site's folder.
pub(crate) fn job(site: &Site, arguments: &[&str]) -> Command {
    let mut command: Command = process::tollgate().into();
    command.args(arguments).env("TOLLGATE_URL", &site.url);
    at_home(command, site)
}

/// A job of `site` that runs a shell script, in which `$TOLLGATE` is the program.
pub(crate) fn script(site: &Site, script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-euc", script]).env_clear();
    command.env("TOLLGATE", env!("CARGO_BIN_EXE_tollgate")).env("TOLLGATE_URL", &site.url);
    command.envs(std::env::var_os("SSL_CERT_FILE").map(|roots| ("SSL_CERT_FILE", roots)));
    at_home(command, site)
}

/// A job with a fresh token of a trusted job in `JOB_TOKEN`, where it says it is.
pub(crate) fn trusted(mut command: Command, site: &Site) -> Command {
    command.env("JOB_TOKEN", site.token()).env("TOLLGATE_TOKEN_FROM", "env:JOB_TOKEN");
    command
}

fn at_home(mut command: Command, site: &Site) -> Command {
    command.env("PATH", path()).env("HOME", site.folder.path()).current_dir(site.folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// Runs a job to its end.
pub(crate) async fn run(mut command: Command) -> Done {
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Done { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}
