//! Arguments of the commands that ask for a credential, and the asking itself.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::client::{AskBody, Attempt, Broker, Granted, new_idempotency_key, pause};
use super::connection::{ActorArgs, Connection};
use super::failure::{Failure, Status};
use super::output::{Output, Tone};
use super::possession::Shown;
use crate::domain::{FactKey, RoleName, Scalar, ScopeName, Ttl};

/// What to ask for.
#[derive(Debug, Args)]
pub(super) struct AskArgs {
    #[command(flatten)]
    pub(super) connection: Connection,
    #[command(flatten)]
    pub(super) actor: ActorArgs,
    /// Role to ask for, such as deploy/production.
    role: RoleName,
    /// Scope to ask for; repeat for more. The role's default scopes unless given.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<ScopeName>,
    /// Lifetime to ask for, such as 15m. The role's default unless given.
    #[arg(long)]
    ttl: Option<Ttl>,
    /// Something to declare about this request, such as purpose=debug; repeat for more.
    #[arg(long = "declare", value_name = "KEY=VALUE", value_parser = declared)]
    declared: Vec<(FactKey, Scalar)>,
    /// Ride out a broker that is restarting, for at most this many seconds.
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "60", value_parser = clap::value_parser!(u32).range(1..=900))]
    wait: Option<u32>,
}

/// Reads `key=value`; `true`, `false` and whole numbers keep their type.
fn declared(text: &str) -> Result<(FactKey, Scalar), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    let key = key.parse::<FactKey>().map_err(|error| error.to_string())?;
    let value = match value {
        "true" => Scalar::Bool(true),
        "false" => Scalar::Bool(false),
        other => other.parse().map_or_else(|_| Scalar::Text(other.to_owned()), Scalar::Integer),
    };
    Ok((key, value))
}

impl AskArgs {
    /// The request's body.
    pub(super) fn body(&self, dry_run: bool) -> AskBody {
        let scopes: BTreeSet<_> = self.scopes.iter().cloned().collect();
        let declared: BTreeMap<_, _> =
            self.declared.iter().map(|(key, value)| (key.to_string(), value.clone())).collect();
        AskBody {
            role: self.role.clone(),
            scopes: (!scopes.is_empty()).then_some(scopes),
            ttl: self.ttl,
            declared,
            dry_run,
        }
    }

    /// Asks until there is an answer or the patience of `--wait` is over. Every attempt carries the same
    /// idempotency key, so that an answer lost on the way is replaced and not doubled.
    pub(super) async fn exchange(&self, broker: &Broker, output: Output) -> Result<Granted, Failure> {
        let key = new_idempotency_key();
        let body = self.body(false);
        let patience = Duration::from_secs(self.wait.unwrap_or(0).into());
        let started = Instant::now();
        let progress = Progress::new(output, &format!("asking for {}", self.role));
        let mut attempt = 0;
        loop {
            attempt += 1;
            let failure = match self.attempt(broker, &body, &key).await {
                Ok(granted) => return Ok(granted),
                Err(refused @ Attempt::Refused(_)) => return Err(refused.into()),
                Err(Attempt::Unavailable(failure)) => failure,
            };
            let pause = pause(attempt);
            let retry = failure.status == Status::Unavailable && started.elapsed() + pause < patience;
            if !retry {
                return Err(failure);
            }
            progress.say(&format!("{}; trying again", failure.message));
            tokio::time::sleep(pause).await;
        }
    }
}

impl AskArgs {
    /// One attempt, with tokens of its own: the last one's may have been used, or have expired.
    async fn attempt(&self, broker: &Broker, body: &AskBody, key: &str) -> Result<Granted, Attempt> {
        broker.exchange(&self.shown().await?, body, key).await
    }

    /// The broker to ask.
    pub(super) fn broker(&self) -> Result<Broker, Failure> {
        self.connection.broker(Some(&self.actor))
    }

    /// Gets fresh tokens of the job and of the runner.
    pub(super) async fn shown(&self) -> Result<Shown, Failure> {
        self.connection.shown(&self.actor).await
    }
}

/// A spinner on a terminal, for what may take more than a second; silent elsewhere.
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new(output: Output, text: &str) -> Self {
        if output.is_json() || !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        bar.set_message(text.to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        Self(Some(bar))
    }

    fn say(&self, text: &str) {
        match &self.0 {
            Some(bar) => bar.set_message(text.to_owned()),
            None => Output::note(Tone::Faint, text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_values_keep_their_type() {
        let value = |text: &str| declared(text).unwrap().1;
        assert_eq!(value("a=true"), Scalar::Bool(true));
        assert_eq!(value("a=12"), Scalar::Integer(12));
        assert_eq!(value("a=x=y"), Scalar::Text("x=y".into()));
        assert!(declared("a").is_err() && declared("A=1").is_err());
    }
}
