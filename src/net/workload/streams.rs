//! The two streams of the Workload API, opened again whenever they end.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use spiffe::WorkloadApiClient;
use spiffe::transport::Endpoint;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::error::StreamError;
use super::read::{self, Keys, Message, X509};
use super::told::{Part, Standing, Told};
use crate::clock::random_bytes;

/// Longest wait for a stream's first message.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest silence of a stream before it is opened anew: an agent that hangs looks like one that has no news.
const SILENCE: Duration = Duration::from_mins(5);
/// Pause after the first failure; each further one doubles it, up to the other.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// A stream that was opened.
type Opened<T> = BoxStream<'static, Heard<T>>;

/// What came of a stream: a message, or why there is none.
type Heard<T> = Result<Message<T>, StreamError>;

/// Follows both streams until nobody listens any more.
pub(super) async fn follow(endpoint: Endpoint, wanted: Option<String>, told: watch::Sender<Told>) {
    let certificates = keep_open(
        || open_x509(&endpoint, wanted.clone()),
        |heard| hear("X.509-SVIDs", heard, &told, |told| &mut told.x509, Told::take_x509),
    );
    let keys = keep_open(
        || open_keys(&endpoint),
        |heard| hear("JWT bundles", heard, &told, |told| &mut told.keys, Told::take_keys),
    );
    tokio::select! {
        () = told.closed() => {}
        () = certificates => {}
        () = keys => {}
    }
}

async fn open_x509(endpoint: &Endpoint, wanted: Option<String>) -> Result<Opened<X509>, StreamError> {
    let stream = WorkloadApiClient::connect(endpoint.clone()).await?.stream_x509_contexts().await?;
    Ok(stream.map(move |context| Ok(X509::read(&context?, wanted.as_deref()))).boxed())
}

async fn open_keys(endpoint: &Endpoint) -> Result<Opened<Keys>, StreamError> {
    let stream = WorkloadApiClient::connect(endpoint.clone()).await?.stream_jwt_bundles().await?;
    Ok(stream.map(|bundles| read::keys(&bundles?)).boxed())
}

/// Opens the stream, hands on what it gives, and begins again when it ends: at once after silence, else after a pause.
async fn keep_open<T, F>(open: impl Fn() -> F, hear: impl Fn(Heard<T>))
where
    F: Future<Output = Result<Opened<T>, StreamError>>,
{
    let mut failures = 0;
    loop {
        if let Err(error) = listen(&open, &hear, &mut failures).await {
            hear(Err(error));
            sleep(pause(failures)).await;
            failures = failures.saturating_add(1);
        }
    }
}

/// Hands on what one stream gives. Ends well if it falls silent.
async fn listen<T, F>(
    open: &impl Fn() -> F,
    hear: &impl Fn(Heard<T>),
    failures: &mut u32,
) -> Result<(), StreamError>
where
    F: Future<Output = Result<Opened<T>, StreamError>>,
{
    let first = timeout(PATIENCE, async {
        let mut stream = open().await?;
        let message = stream.next().await.ok_or(StreamError::Ended)??;
        Ok::<_, StreamError>((stream, message))
    });
    let (mut stream, message) = first.await.map_err(|_| StreamError::Hangs(PATIENCE))??;
    *failures = 0;
    hear(Ok(message));
    while let Ok(message) = timeout(SILENCE, stream.next()).await {
        hear(Ok(message.ok_or(StreamError::Ended)??));
    }
    Ok(())
}

/// Notes what came of a stream, and says so where it is news.
fn hear<T>(
    what: &'static str,
    heard: Heard<T>,
    told: &watch::Sender<Told>,
    part: fn(&mut Told) -> &mut Part<T>,
    take: fn(&mut Told, T),
) {
    told.send_modify(|told| {
        match heard {
            Ok(Message { content, left_out }) => {
                let part = part(told);
                if part.standing != Standing::Open {
                    tracing::info!(what, "the Workload API answers");
                }
                if part.left_out != left_out {
                    for why in &left_out {
                        tracing::warn!(what, %why, "not all that the Workload API gives can be used");
                    }
                    part.left_out = left_out;
                }
                take(told, content);
            }
            Err(error) => {
                let why = crate::causes::in_full(&error);
                if part(told).fail(why.clone()) {
                    tracing::warn!(what, %why, "the Workload API gives nothing; what it gave before goes on");
                }
            }
        }
        told.join();
    });
}

/// Doubles with each failure, of which half is random, so that replicas do not ask in step.
fn pause(failures: u32) -> Duration {
    let (first, most) = PAUSES;
    let full = first.saturating_mul(1 << failures.min(10)).min(most);
    let random = random_bytes::<2>().map_or(0, u16::from_be_bytes);
    full.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_half_a_minute_with_half_left_to_chance() {
        for (failures, most) in [(0, 250), (1, 500), (6, 16_000), (7, 30_000), (u32::MAX, 30_000)] {
            let most = Duration::from_millis(most);
            assert!((0..100).all(|_| (most / 2..=most).contains(&pause(failures))), "{failures}");
        }
    }
}
