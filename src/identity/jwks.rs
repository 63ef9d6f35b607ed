//! The keys of one issuer, kept fresh: one fetch at a time, in the background where possible, and the last good ones
//! for a bounded while when the issuer is down.
//!
//! A fetch runs in a task of its own: whoever waits may hang up without ending it for the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Remembered;
use super::discovery::FetchError;
use super::fetcher::{Fetcher, Place};
use super::keys::VerifyingKey;
use super::published::{Fetched, Published};
use crate::causes;
use crate::clock::{Clock, random_bytes};
use crate::config::Algorithm;
use crate::domain::{Code, Refusal};
use crate::net::{NetError, WorkloadApi};

/// Keys older than this are refreshed in the background, unless the source wants to be asked at another pace.
const FRESH: Duration = Duration::from_mins(5);
/// The paces that a source can ask for: a bundle that is refreshed each second would be a load, and one that is refreshed
/// each month would be stale.
const PACES: std::ops::RangeInclusive<Duration> = Duration::from_secs(10)..=Duration::from_hours(1);
/// Keys older than this are refreshed before they are used: after a quiet hour, a key may have been withdrawn.
const STALE: Duration = Duration::from_hours(1);
/// Keys older than this are not used, however long the issuer is down.
const TOO_OLD: Duration = Duration::from_hours(24);
/// Least time between fetches that unknown key ids cause: a storm of random ids must not become one of fetches.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(30);
/// Least time between two documents of a stream that are given to the store.
const KEEP_PAUSE: Duration = Duration::from_secs(10);
/// Longest pause after failures; the first is a second, and each doubles.
const MAX_BACKOFF: Duration = Duration::from_mins(1);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    /// The issuer publishes no such key.
    #[error("the issuer does not publish the key that signed the token")]
    Unknown {
        /// Seconds until the issuer is asked again.
        retry_after: Option<u32>,
    },
    /// The issuer cannot be asked, and no keys young enough are known.
    #[error("the issuer's keys cannot be fetched")]
    Unavailable {
        /// What the last fetch said.
        cause: Option<String>,
        /// Seconds until the issuer is asked again.
        retry_after: u32,
    },
}

/// Keys with the time at which they were last known to be what the issuer says: the beginning of their fetch.
struct Known {
    published: Arc<Published>,
    fetched: Timestamp,
}

/// What is known of fetches. Never locked across an await.
#[derive(Default)]
struct Attempts {
    /// Open as long as a fetch runs.
    flight: Option<watch::Receiver<()>>,
    /// The newest fetches: one may still be kept in the store when the next one begins.
    tasks: JoinSet<()>,
    /// When a document was last given to the store, unless it failed to keep it; and whether one is still to be kept.
    kept: Option<Timestamp>,
    unkept: bool,
    last: Option<Timestamp>,
    failures: u32,
    /// Not before this, after failures.
    not_before: Option<Timestamp>,
    error: Option<String>,
}

/// What the age of the keys asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Age {
    Fresh,
    Ageing,
    Stale,
    TooOld,
}

/// One issuer's keys.
pub(super) struct KeyCache {
    place: Place,
    fetcher: Fetcher,
    remembered: Arc<dyn Remembered>,
    clock: Clock,
    known: ArcSwapOption<Known>,
    attempts: Mutex<Attempts>,
}

impl KeyCache {
    /// A cache that has not asked anybody yet. `timeout` is for each request.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub(super) fn new(
        place: Place,
        timeout: Duration,
        remembered: Arc<dyn Remembered>,
        clock: Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, NetError> {
        let fetcher = Fetcher::new(&place, timeout, &clock, workload)?;
        Ok(Self {
            place,
            fetcher,
            remembered,
            clock,
            known: ArcSwapOption::empty(),
            attempts: Mutex::default(),
        })
    }

    /// Where the keys come from.
    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// How old the keys are; none if there are none.
    pub(super) fn age(&self) -> Option<Duration> {
        let known = self.known.load_full()?;
        Some(self.since(known.fetched).unwrap_or_default())
    }

    /// The key that a token names, fetched again if it is unknown and that is not too soon.
    pub(super) async fn find(
        self: &Arc<Self>,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<Arc<VerifyingKey>, KeyError> {
        let known = self.usable().await?;
        if let Some(key) = known.published.keys.find(kid, algorithm) {
            return Ok(Arc::clone(key));
        }
        // The issuer may have begun to sign with a new key since.
        match self.start(UNKNOWN_KEY_PAUSE) {
            Ok(flight) => wait(flight).await,
            Err(retry_after) => return Err(KeyError::Unknown { retry_after: Some(retry_after) }),
        }
        let known = self.known.load_full();
        let key = known.as_ref().and_then(|known| known.published.keys.find(kid, algorithm));
        key.map(Arc::clone).ok_or(KeyError::Unknown { retry_after: None })
    }

    /// All that is published, young enough to be used.
    pub(super) async fn published(self: &Arc<Self>) -> Result<Arc<Published>, KeyError> {
        Ok(Arc::clone(&self.usable().await?.published))
    }

    /// Fetches because what is known vouches for nobody who asks, if that is not too soon. Gives what is new.
    pub(super) async fn renewed(self: &Arc<Self>) -> Option<Arc<Published>> {
        let before = self.known.load_full()?;
        wait(self.start(UNKNOWN_KEY_PAUSE).ok()?).await;
        let known = self.known.load_full()?;
        (!Arc::ptr_eq(&known, &before)).then(|| Arc::clone(&known.published))
    }

    /// Fetches if the keys are no longer fresh, and waits for it. For a warm start and for a timer.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let fresh = self.known.load_full().is_some_and(|known| self.judge(&known) == Age::Fresh);
        let kept = !self.attempts.lock().unwrap_or_else(PoisonError::into_inner).unkept;
        if self.fetcher.has_news() {
            wait(self.start_now()).await;
        } else if !(fresh && kept)
            && let Ok(flight) = self.start(Duration::ZERO)
        {
            wait(flight).await;
        }
    }

    /// Cuts off a fetch under way, and waits until nothing of it is left: it would keep the store open.
    pub(super) async fn stop(&self) {
        let mut tasks =
            std::mem::take(&mut self.attempts.lock().unwrap_or_else(PoisonError::into_inner).tasks);
        tasks.shutdown().await;
    }

    async fn usable(self: &Arc<Self>) -> Result<Arc<Known>, KeyError> {
        // The second time, for news that came after the fetch that was joined had begun.
        for _ in 0..2 {
            if self.fetcher.has_news() {
                wait(self.start_now()).await;
            }
        }
        let known = self.known.load_full();
        match known.as_ref().map(|known| self.judge(known)) {
            Some(Age::Fresh) => {}
            Some(Age::Ageing) => drop(self.start(Duration::ZERO)),
            Some(Age::Stale | Age::TooOld) | None => {
                if let Ok(flight) = self.start(Duration::ZERO) {
                    wait(flight).await;
                }
            }
        }
        let known = self.known.load_full().filter(|known| self.judge(known) != Age::TooOld);
        known.ok_or_else(|| self.unavailable())
    }

    /// Joins the fetch under way, or begins one: but not while failures keep it waiting, and not within `pause` of the
    /// last one. In that case, the seconds left.
    fn start(self: &Arc<Self>, pause: Duration) -> Result<watch::Receiver<()>, u32> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = attempts.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Ok(flight.clone());
        }
        let now = self.clock.now();
        let paused = attempts.last.map(|last| last.saturating_add(pause).unwrap_or(last));
        // A clock that was set back must not keep the issuer from being asked until it catches up.
        let set_back = attempts.last.is_some_and(|last| last > now);
        let until = paused.max(attempts.not_before).filter(|until| *until > now && !set_back);
        if let Some(until) = until {
            return Err(seconds_until(until, now));
        }
        Ok(self.launch(&mut attempts, now))
    }

    /// The same without a pause, for what is here already.
    fn start_now(self: &Arc<Self>) -> watch::Receiver<()> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        match attempts.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            Some(flight) => flight.clone(),
            None => self.launch(&mut attempts, self.clock.now()),
        }
    }

    fn launch(self: &Arc<Self>, attempts: &mut Attempts, now: Timestamp) -> watch::Receiver<()> {
        let (done, flight) = watch::channel(());
        attempts.flight = Some(flight.clone());
        attempts.last = Some(now);
        while attempts.tasks.try_join_next().is_some() {}
        let cache = Arc::clone(self);
        attempts.tasks.spawn(async move { cache.fetch(now, done).await });
        flight
    }

    /// Ends the flight by dropping `done`, a panic included.
    async fn fetch(&self, began: Timestamp, done: watch::Sender<()>) {
        let held = self.known.load_full().filter(|known| self.judge(known) != Age::TooOld);
        let fetched = self.fetcher.fetch(held.as_ref().map(|known| known.published.as_ref())).await;
        match fetched.and_then(|fetched| self.dated(fetched, began)) {
            Ok((Fetched { document, published, removes, .. }, dated)) => {
                self.succeeded(dated, published);
                self.fetcher.settle();
                drop(done);
                if self.may_keep(began, removes) {
                    self.keep(document, dated).await;
                }
            }
            Err(error) => {
                self.failed(&error);
                self.fetcher.settle();
                if self.known.load().is_none() {
                    self.recall().await;
                }
            }
        }
    }

    /// With the time from which its age counts. What is in doubt is no younger than what was known before: half an agent
    /// must not make young what the other half gave.
    fn dated(&self, mut fetched: Fetched, began: Timestamp) -> Result<(Fetched, Timestamp), FetchError> {
        let dated = match (fetched.doubt.take(), self.known.load().as_ref()) {
            (None, _) => began,
            (Some(_), Some(known)) => known.fetched,
            (Some(doubt), None) => return Err(doubt),
        };
        Ok((fetched, dated))
    }

    /// Whether a document is given to the store: each that was asked for, each that takes something back, and of the others
    /// that are streamed not each of many a second. One that is left out makes the next refresh fetch again.
    fn may_keep(&self, now: Timestamp, removes: bool) -> bool {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let since = attempts.kept.and_then(|kept| Duration::try_from(now.duration_since(kept)).ok());
        let soon = since.is_some_and(|since| since < KEEP_PAUSE);
        attempts.unkept = self.place.is_streamed() && soon && !removes;
        if !attempts.unkept {
            attempts.kept = Some(now);
        }
        !attempts.unkept
    }

    /// Gives a document to the store. If a streamed one is not kept, the next refresh tries again.
    async fn keep(&self, document: Vec<u8>, dated: Timestamp) {
        let Ok(document) = String::from_utf8(document) else { return };
        if !self.remembered.keep_keys(self.place.issuer(), &document, dated).await {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            attempts.kept = None;
            attempts.unkept = self.place.is_streamed();
        }
    }

    fn succeeded(&self, fetched: Timestamp, published: Published) {
        let (issuer, skipped) = (self.place.issuer(), published.skipped);
        if published.is_empty() {
            // An answer all the same: an issuer that withdraws every key is to be believed.
            tracing::warn!(%issuer, skipped, "the issuer publishes no usable key");
        } else if skipped > 0 {
            tracing::debug!(%issuer, skipped, "the issuer publishes keys that are not used");
        }
        self.known.store(Some(Arc::new(Known { published: Arc::new(published), fetched })));
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        attempts.failures = 0;
        attempts.not_before = None;
        attempts.error = None;
    }

    fn failed(&self, error: &FetchError) {
        let text = causes::in_full(error);
        tracing::warn!(issuer = %self.place.issuer(), error = %text, "the issuer's keys cannot be fetched");
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let pause = backoff(attempts.failures);
        attempts.failures = attempts.failures.saturating_add(1);
        attempts.not_before = self.clock.now().saturating_add(pause).ok();
        attempts.error = Some(text);
    }

    /// Takes the last good keys of an earlier run, unless they are too old.
    async fn recall(&self) {
        let issuer = self.place.issuer();
        let Some((document, fetched)) = self.remembered.last_keys(issuer).await else { return };
        match self.fetcher.read(document.as_bytes()) {
            Ok(published) => {
                let known = Known { published: Arc::new(published), fetched };
                if self.judge(&known) != Age::TooOld {
                    self.known.store(Some(Arc::new(known)));
                }
            }
            Err(error) => {
                let error = causes::in_full(&error);
                tracing::warn!(%issuer, %error, "the remembered keys cannot be read");
            }
        }
    }

    fn judge(&self, known: &Known) -> Age {
        let fresh = known.published.refresh.map_or(FRESH, |pace| pace.clamp(*PACES.start(), *PACES.end()));
        match self.since(known.fetched) {
            Some(age) if age < fresh => Age::Fresh,
            Some(age) if age < STALE => Age::Ageing,
            Some(age) if age < TOO_OLD => Age::Stale,
            Some(_) => Age::TooOld,
            // From the future: the clock was set back, and nobody knows how old they are.
            None => Age::Stale,
        }
    }

    /// Time since `then`; none if it lies ahead.
    fn since(&self, then: Timestamp) -> Option<Duration> {
        Duration::try_from(self.clock.now().duration_since(then)).ok()
    }

    fn unavailable(&self) -> KeyError {
        let attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.now();
        let retry_after = attempts.not_before.map_or(1, |until| seconds_until(until, now));
        KeyError::Unavailable { cause: attempts.error.clone(), retry_after }
    }
}

/// Waits for a fetch to end, well or not. Its channel carries no value: only its closing counts.
async fn wait(mut flight: watch::Receiver<()>) {
    while flight.changed().await.is_ok() {}
}

/// Whole seconds, at least one: a client told zero would ask again at once.
fn seconds_until(until: Timestamp, now: Timestamp) -> u32 {
    let millis = until.as_millisecond().saturating_sub(now.as_millisecond()).max(1).unsigned_abs();
    u32::try_from(millis.div_ceil(1000)).unwrap_or(u32::MAX)
}

/// Doubles from a second up to [`MAX_BACKOFF`], of which half is random, so that replicas do not ask in step.
fn backoff(failures: u32) -> Duration {
    let full = Duration::from_secs(1 << failures.min(6)).min(MAX_BACKOFF);
    let random = random_bytes::<2>().map_or(0, u16::from_be_bytes);
    full.mul_f64(0.5 + 0.5 * f64::from(random) / f64::from(u16::MAX))
}

impl From<KeyError> for Refusal {
    fn from(error: KeyError) -> Self {
        let message = error.to_string();
        match error {
            KeyError::Unknown { retry_after: None } => Self::new(Code::TokenKeyUnknown, message),
            KeyError::Unknown { retry_after: Some(seconds) } => {
                Self::new(Code::TokenKeyUnknown, message).with_retry_after(seconds)
            }
            KeyError::Unavailable { cause, retry_after } => {
                let refusal = Self::new(Code::IssuerUnavailable, message).with_retry_after(retry_after);
                Self { detail: cause, ..refusal }
            }
        }
    }
}

#[cfg(test)]
mod tests;
