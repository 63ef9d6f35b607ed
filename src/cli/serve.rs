//! `tollgate serve`: the broker, until it is told to stop.

use std::io;

use clap::{Args, ValueEnum};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::source::{SourceArgs, failure_of};
use crate::app::{self, App};
use crate::causes;
use crate::clock::Clock;
use crate::telemetry::{self, FILTER_VARIABLE, Format, Metrics};

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For people.
    Pretty,
}

/// Arguments of `serve`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  tollgate serve --config /etc/tollgate/config
  TOLLGATE_SERVER__LISTEN=127.0.0.1:8443 tollgate serve

SIGHUP and `tollgate reload` read the configuration again; SIGTERM and Ctrl-C finish what is in flight and stop.
A configuration that `tollgate check` refuses does not start: exit status 64, no port bound.")]
pub(super) struct ServeArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// How log lines look.
    #[arg(long, value_enum, default_value = "json")]
    log_format: LogFormat,
    /// What is logged, such as info or tollgate=debug.
    #[arg(long, env = FILTER_VARIABLE, default_value = telemetry::DEFAULT_FILTER)]
    log: String,
}

/// Starts, reloads on SIGHUP, and stops in order.
pub(super) async fn run(args: ServeArgs, output: Output) -> Result<(), Failure> {
    let format = match args.log_format {
        LogFormat::Json => Format::Json,
        LogFormat::Pretty => Format::Pretty,
    };
    let checked = args.source.checked()?;
    let traces = app::traces(&checked.config.settings).map_err(|error| failure_of(&error))?;
    telemetry::init(format, &args.log, traces.as_ref())
        .map_err(|error| Failure::new(Status::Usage, causes::in_full(&error)))?;
    let exemplars = checked.config.settings.telemetry.exemplars.then(Clock::system);
    let metrics =
        Metrics::install(exemplars).map_err(|error| Failure::new(Status::Failed, causes::in_full(&error)))?;
    tokio::spawn(metrics.clone().upkeep());

    // Before the start: a signal that comes meanwhile is acted on after it, instead of ending the process half way.
    let (mut hangup, mut terminate, mut interrupt) =
        (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let app = App::start_checked(args.source.source(), checked, Clock::system(), Some(metrics))
        .await
        .map_err(|error| failure_of(&error))?;
    announce(&app, output)?;

    loop {
        tokio::select! {
            _ = hangup.recv() => reload(&app).await,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    tracing::info!("stopping: no new connections, finishing what is in flight");
    app.stop().await;
    if let Some(traces) = traces {
        traces.finish().await;
    }
    Ok(())
}

fn announce(app: &App, output: Output) -> io::Result<()> {
    let (callers, spiffe, operators) = (app.address(), app.spiffe_address(), app.operations_address());
    if output.is_json() {
        return Output::json(&json!({ "listening": callers, "spiffe": spiffe, "operations": operators }));
    }
    output.toned(Tone::Good, &format!("listening on {callers}"))?;
    if let Some(address) = spiffe {
        output.toned(Tone::Good, &format!("with its SVID on {address}"))?;
    }
    match operators {
        Some(address) => output.toned(Tone::Good, &format!("operators on {address}")),
        None => Ok(()),
    }
}

async fn reload(app: &App) {
    if let Err(problems) = app.reload().await {
        for problem in &problems {
            tracing::error!(code = problem.code, file = %problem.file.display(), "{}", problem.message);
        }
        tracing::error!("the last good configuration stays in force");
    }
}
