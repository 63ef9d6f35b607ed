//! Keeps a command's lease alive while the command runs: heartbeats, and renewals of a credential that lives on in place.

use std::convert::Infallible;
use std::time::Duration;

use jiff::Timestamp;

use super::ask::AskArgs;
use super::client::{Attempt, Broker, LeaseAnswer, pause};
use super::output::{Output, Tone};
use crate::clock::Clock;
use crate::domain::{Code, Renewal};

/// Heartbeats per longest silence: two may get lost.
const BEATS: u32 = 3;

/// A session of which less than this is left is not renewed any more.
const LAST: Duration = Duration::from_secs(30);

/// Beats and renews as the lease that `ask` led to asks for it; runs for ever, for whoever waits for the command to drop it.
pub(super) async fn keep(broker: &Broker, lease: &LeaseAnswer, ask: &AskArgs) -> Infallible {
    tokio::join!(beat(broker, lease), renew(broker, lease, ask));
    std::future::pending().await
}

async fn beat(broker: &Broker, lease: &LeaseAnswer) {
    let Some(silence) = lease.heartbeat_seconds else { return };
    let every = Duration::from_secs(silence) / BEATS;
    let mut failures = 0;
    loop {
        // An outage of the broker does not count as silence, but may end at any moment.
        tokio::time::sleep(if failures == 0 { every } else { pause(failures).min(every) }).await;
        match broker.beat(lease).await {
            Ok(()) => failures = 0,
            Err(Attempt::Refused(problem)) if is_over(&problem.code) => {
                return Output::note(Tone::Warn, "the lease was ended: its credential is dead, or dies soon");
            }
            Err(Attempt::Refused(_) | Attempt::Unavailable(_)) => failures += 1,
        }
    }
}

async fn renew(broker: &Broker, lease: &LeaseAnswer, ask: &AskArgs) {
    // A command that runs cannot be given another credential.
    let (Some(until), Some(Renewal::Extends)) = (lease.renewable_until, lease.renewal) else { return };
    let Ok(mut dies_at) = lease.dies_at.parse::<Timestamp>() else { return };
    let clock = Clock::system();
    let mut failures = 0;
    while dies_at + LAST < until {
        let left = dies_at.duration_since(clock.now()).unsigned_abs();
        tokio::time::sleep(if failures == 0 { left * 2 / 3 } else { pause(failures) }).await;
        match renew_once(broker, lease, ask).await {
            Ok(renewed) => (dies_at, failures) = (renewed, 0),
            Err(Attempt::Refused(problem)) => {
                let text = format!("not renewed ({}): the credential dies at {dies_at}", problem.code);
                return Output::note(Tone::Warn, &text);
            }
            Err(Attempt::Unavailable(_)) if clock.now() >= dies_at => {
                return Output::note(Tone::Warn, "not renewed in time: the credential is dead");
            }
            Err(Attempt::Unavailable(_)) => failures += 1,
        }
    }
}

/// One attempt, with a fresh token of the runner where it proves itself.
async fn renew_once(broker: &Broker, lease: &LeaseAnswer, ask: &AskArgs) -> Result<Timestamp, Attempt> {
    let actor = ask.actor.token(&ask.connection.url).await?;
    broker.renew(lease, actor.as_ref()).await
}

fn is_over(code: &str) -> bool {
    [Code::LeaseEnded, Code::LeaseUnknown].iter().any(|over| over.as_str() == code)
}
