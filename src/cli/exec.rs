//! `tollgate exec`: a command with a credential in its environment, which ends with it.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tokio::signal::unix::{Signal as Listener, SignalKind, signal};

use super::ask::AskArgs;
use super::client::{Broker, Granted, LeaseAnswer};
use super::environment::{CONFLICTING, variables};
use super::failure::{Failure, Status};
use super::keeper::keep;
use super::output::{Output, Tone};
use super::whoami::print_members;

/// Longest that ending the lease may hold up the job's end.
const END_TIMEOUT: Duration = Duration::from_secs(15);
/// Statuses for a command that did not run, as shells and `env` give them (POSIX, `env`, "Exit status").
const NOT_FOUND: u8 = 127;
const NOT_EXECUTABLE: u8 = 126;

/// Arguments of `exec`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate exec deploy/production -- aws s3 sync dist s3://shop-production
  tollgate exec vault/app-secrets --ttl 5m -- vault kv get secret/shop
  tollgate exec deploy/production --scope artifacts --wait -- ./deploy.sh
  tollgate exec deploy/production --dry-run
  tollgate exec shop/api --token-from x509-svid -- ./sync.sh       beside a SPIFFE agent

The command's exit status becomes this one's. 64: wrong arguments; 69: no broker; 77: denied; 126 and 127: the command
cannot be run, or is not there. While it runs, heartbeats are sent and the credential is renewed, as its role asks.")]
pub(super) struct ExecArgs {
    #[command(flatten)]
    ask: AskArgs,
    /// Leave the lease alive when the command ends.
    #[arg(long)]
    keep: bool,
    /// Ask what would be granted, and run nothing.
    #[arg(long, conflicts_with_all = ["keep", "command"])]
    dry_run: bool,
    /// The command and its arguments.
    #[arg(last = true, required_unless_present = "dry_run", value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Exchanges, runs the command, ends the lease, and gives the command's exit status.
pub(super) async fn run(args: ExecArgs, output: Output) -> Result<ExitCode, Failure> {
    if args.dry_run {
        return dry_run(&args.ask, output).await.map(|()| ExitCode::SUCCESS);
    }
    // Listened for from the start: a signal between the grant and the child must not leave the lease behind.
    let mut stops = Stops::listen()?;
    let broker = args.ask.broker()?;
    let granted = tokio::select! {
        granted = args.ask.exchange(&broker, output) => granted?,
        stop = stops.next() => return Ok(ended_by(stop.as_raw())),
    };
    Output::note(
        Tone::Faint,
        &format!(
            "lease {} of decision {}, dies at {}",
            granted.lease.id, granted.decision, granted.lease.dies_at
        ),
    );
    let ended = tokio::select! {
        ended = run_command(&args.command, &granted, &mut stops) => ended,
        never = keep(&broker, &granted.lease, &args.ask) => match never {},
    };
    if !args.keep {
        end(&broker, &granted).await;
    }
    ended
}

/// Prints what would be granted; a denial fails as it would for real.
async fn dry_run(ask: &AskArgs, output: Output) -> Result<(), Failure> {
    let (broker, shown) = (ask.broker()?, ask.shown().await?);
    let answer = broker.dry_run(&shown, &ask.body(true)).await?;
    if output.is_json() {
        return Ok(Output::json(&answer)?);
    }
    print_members(&answer, output, 0)
}

async fn run_command(
    command: &[OsString],
    granted: &Granted,
    stops: &mut Stops,
) -> Result<ExitCode, Failure> {
    let [program, arguments @ ..] = command else {
        return Err(Failure::new(Status::Usage, "no command given"));
    };
    let mut child = Command::new(program);
    child.args(arguments);
    for name in CONFLICTING {
        child.env_remove(name);
    }
    for variable in variables(granted) {
        child.env(variable.name, variable.value.expose_secret());
    }
    match child.spawn() {
        Ok(child) => Ok(exit_code(wait_forwarding_signals(child, stops).await?)),
        Err(error) => {
            let program = program.to_string_lossy();
            Output::note(Tone::Bad, &format!("tollgate: cannot run {program}: {error}"));
            Ok(ExitCode::from(if error.kind() == ErrorKind::NotFound { NOT_FOUND } else { NOT_EXECUTABLE }))
        }
    }
}

/// What a CI runner or a terminal sends to stop a job.
struct Stops {
    interrupt: Listener,
    terminate: Listener,
    hangup: Listener,
    quit: Listener,
}

impl Stops {
    /// From now on these signals no longer end this process.
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            quit: signal(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.hangup.recv() => Signal::HUP,
            _ = self.quit.recv() => Signal::QUIT,
        }
    }
}

/// Waits for the child and passes on what should stop it.
async fn wait_forwarding_signals(mut child: Child, stops: &mut Stops) -> Result<ExitStatus, Failure> {
    loop {
        let received = tokio::select! {
            status = child.wait() => return Ok(status?),
            received = stops.next() => received,
        };
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // The child may have ended between the signal and here; the next wait tells.
            let _ = kill_process(pid, received);
        }
    }
}

async fn end(broker: &Broker, granted: &Granted) {
    let LeaseAnswer { id, .. } = &granted.lease;
    let ending = async { broker.end(id, &granted.lease.shown()).await.map(drop).map_err(Failure::from) };
    let failed = match tokio::time::timeout(END_TIMEOUT, ending).await {
        Ok(Ok(())) => return,
        Ok(Err(failure)) => failure.message,
        Err(_) => "no answer in time".to_owned(),
    };
    let dies = &granted.lease.dies_at;
    Output::note(Tone::Warn, &format!("the lease could not be ended ({failed}); it dies at {dies}"));
}

/// The command's status as a shell reports it: 128 plus the signal that killed it.
fn exit_code(status: ExitStatus) -> ExitCode {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
        (None, Some(signal)) => ended_by(signal),
        (None, None) => ExitCode::FAILURE,
    }
}

fn ended_by(signal: i32) -> ExitCode {
    u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from)
}
