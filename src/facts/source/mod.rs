//! Verified facts over HTTP: one source gives all of its facts, or none.
//!
//! A source that is down, slow, redirecting or talking nonsense is a failure of all its keys. Nothing here ever makes
//! up a value, remembers a failure, or lets a caller choose where a request goes.

mod answer;
mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use jiff::{SignedDuration, Timestamp};
use moka::future::Cache;
use secrecy::ExposeSecret;
use tokio::sync::Semaphore;
use url::Url;

use crate::causes;
use crate::clock::Clock;
use crate::config::{FactSource, SourceAuth};
use crate::domain::{FactKey, IssuerName, Scalar};
use crate::net::{Client, NetError, Request, Rules, read_ca_file};

pub use template::InvalidTemplate;
pub(super) use template::Placeholder;
use template::{RenderError, Template};

/// Requests to one source in flight at once, so that a slow one cannot hold every connection.
const MAX_CONCURRENT: usize = 16;

/// Room for the answers of one source, bytes.
const CACHE_BYTES: u64 = 4 * 1024 * 1024;

/// What a cached answer weighs besides its text, bytes.
const ENTRY_BYTES: usize = 128;

/// One source, ready to be asked.
#[derive(Debug)]
pub(super) struct Source {
    name: String,
    url: Template,
    issuers: Option<BTreeSet<IssuerName>>,
    headers: HeaderMap,
    pointers: BTreeMap<FactKey, String>,
    timeout: Duration,
    client: Client,
    places: Semaphore,
    cache: Option<AnswerCache>,
    clock: Clock,
}

/// Good answers by URL.
#[derive(Debug)]
struct AnswerCache {
    keep: Duration,
    answers: Cache<Url, Answer>,
}

/// A good answer and when it was asked for.
#[derive(Debug, Clone)]
struct Answer {
    asked: Timestamp,
    facts: Arc<BTreeMap<FactKey, Scalar>>,
}

/// A source whose settings cannot work.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSource {
    /// Its URL.
    #[error("its url is not usable")]
    Url(#[from] InvalidTemplate),
    /// Its header; the value is a secret and not repeated.
    #[error("its header's name or value is not a valid HTTP header")]
    Header,
    /// A pointer.
    #[error("`{0}` is not a JSON pointer: start it with a slash")]
    Pointer(String),
    /// The HTTP client.
    #[error("no HTTP client can be made for it")]
    Client(#[source] NetError),
}

/// Why a source gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error(transparent)]
    Url(#[from] RenderError),
    #[error("no answer within {0:?}, waiting for a place included")]
    Slow(Duration),
    #[error(transparent)]
    Net(#[from] NetError),
    #[error("it answered with status {0}")]
    Status(StatusCode),
    #[error(transparent)]
    Answer(#[from] answer::BadAnswer),
    #[error("it knows nothing of identities of the issuer {0}, and was not asked")]
    NotItsIssuer(IssuerName),
    /// The failure of a request that several asked for at once.
    #[error("{0}")]
    Shared(Arc<SourceError>),
}

impl Source {
    pub(super) fn new(name: &str, source: &FactSource, clock: Clock) -> Result<Self, InvalidSource> {
        if let Some(bad) = source.facts.values().find(|p| !p.is_empty() && !p.starts_with('/')) {
            return Err(InvalidSource::Pointer(bad.clone()));
        }
        let rules = Rules {
            allow_networks: source.allow_networks.clone(),
            insecure_loopback: source.insecure_loopback,
            extra_roots: read_ca_file(source.ca_file.as_deref()).map_err(InvalidSource::Client)?,
            timeout: source.timeout,
            max_bytes: source.max_bytes,
        };
        Ok(Self {
            name: name.to_owned(),
            url: Template::parse(&source.url)?,
            issuers: source.issuers.clone(),
            headers: headers(source.auth.as_ref())?,
            pointers: source.facts.clone(),
            timeout: source.timeout,
            client: Client::new(rules).map_err(InvalidSource::Client)?,
            places: Semaphore::new(MAX_CONCURRENT),
            cache: AnswerCache::new(source.cache),
            clock,
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The keys that this source alone may fill.
    pub(super) fn keys(&self) -> impl Iterator<Item = &FactKey> {
        self.pointers.keys()
    }

    /// Every fact of the source about an identity of `issuer`, for the request whose values `value` gives.
    ///
    /// Another platform's source is not asked: it would hear of paths that are not its own, and what it says of them would be
    /// about somebody else's.
    pub(super) async fn ask(
        &self,
        issuer: &IssuerName,
        value: impl Fn(&Placeholder) -> Option<String>,
    ) -> Result<Arc<BTreeMap<FactKey, Scalar>>, SourceError> {
        if self.issuers.as_ref().is_some_and(|issuers| !issuers.contains(issuer)) {
            return Err(SourceError::NotItsIssuer(issuer.clone()));
        }
        let url = self.url.render(value)?;
        let answer = match &self.cache {
            None => self.fetch(url).await?,
            Some(cache) => match cache.fresh(&url, self.clock.now()).await {
                Some(answer) => answer,
                // One request for all who ask the same at the same time; a failure is told to them and forgotten.
                None => cache
                    .answers
                    .try_get_with(url.clone(), self.fetch(url))
                    .await
                    .map_err(SourceError::Shared)?,
            },
        };
        Ok(answer.facts)
    }

    async fn fetch(&self, url: Url) -> Result<Answer, SourceError> {
        let asked = self.clock.now();
        let request = Request { method: Method::GET, url, headers: self.headers.clone(), body: Bytes::new() };
        let exchange = async {
            // The semaphore is never closed, so a place is always a matter of waiting.
            let _place = self.places.acquire().await.ok();
            self.client.send(request).await
        };
        let response = tokio::time::timeout(self.timeout, exchange)
            .await
            .map_err(|_| SourceError::Slow(self.timeout))??;
        // Not 2xx: 204 has no body, 206 a part of one, and 203 comes from somebody between.
        if response.status != StatusCode::OK {
            return Err(SourceError::Status(response.status));
        }
        let facts = answer::read(&response.body, &self.pointers)?;
        Ok(Answer { asked, facts: Arc::new(facts) })
    }
}

impl SourceError {
    /// What happened with its causes, for the record. Only our own types and the client library's are in it: no header,
    /// no body.
    pub(super) fn detail(&self) -> String {
        if let Self::Shared(first) = self {
            return first.detail();
        }
        causes::in_full(self)
    }
}

impl AnswerCache {
    fn new(keep: Duration) -> Option<Self> {
        if keep.is_zero() {
            return None;
        }
        let answers = Cache::builder()
            .max_capacity(CACHE_BYTES)
            .weigher(|url: &Url, answer: &Answer| {
                let text = |fact: &Scalar| match fact {
                    Scalar::Text(text) => text.len(),
                    Scalar::Bool(_) | Scalar::Integer(_) => 0,
                };
                let facts: usize = answer.facts.values().map(|fact| ENTRY_BYTES + text(fact)).sum();
                u32::try_from(ENTRY_BYTES + url.as_str().len() + facts).unwrap_or(u32::MAX)
            })
            // Frees the memory of what nobody asks for again; `fresh` decides on the injected clock.
            .time_to_live(keep)
            .build();
        Some(Self { keep, answers })
    }

    /// The answer for `url` if it is not older than `keep`, which begins when it was asked for.
    async fn fresh(&self, url: &Url, now: Timestamp) -> Option<Answer> {
        let answer = self.answers.get(url).await?;
        let age = now.duration_since(answer.asked);
        // A clock that went backwards says nothing about the age.
        let fresh = !age.is_negative() && SignedDuration::try_from(self.keep).is_ok_and(|keep| age < keep);
        if fresh {
            return Some(answer);
        }
        self.answers.invalidate(url).await;
        None
    }
}

fn headers(auth: Option<&SourceAuth>) -> Result<HeaderMap, InvalidSource> {
    let mut headers = HeaderMap::with_capacity(2);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(auth) = auth {
        let name: HeaderName = auth.header.parse().map_err(|_| InvalidSource::Header)?;
        let mut value: HeaderValue = auth.value.expose_secret().parse().map_err(|_| InvalidSource::Header)?;
        value.set_sensitive(true);
        headers.insert(name, value);
    }
    Ok(headers)
}
