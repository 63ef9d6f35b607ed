//! Who asks: the token is verified, read through its profile, and admitted.
//!
//! Only configured issuers are ever contacted: an unknown one causes no look-up, no fetch and no cache entry. No token
//! is accepted without a signature by a key that its issuer publishes, whatever its header says.

mod admission;
mod caller;
mod claim;
mod discovery;
mod entry;
mod error;
mod event;
mod evidence;
mod extra;
mod jwks;
mod keys;
mod profile;
mod runner;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod times;
mod token;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

pub use caller::{Attributes, Caller};
pub use entry::KeyAge;
pub use error::{IdentityError, InlineKeysError};
pub use event::{Revoked, SecurityEvent};
pub use evidence::Evidence;
pub use runner::Runner;

use crate::clock::Clock;
use crate::config::Issuer;
use crate::domain::{Code, IssuerUrl, Refusal};
use crate::secret::Fingerprint;
use claim::ClaimError;
use entry::{Entries, Entry};
use times::Times;
use token::Unverified;

/// A boxed future, for the one trait that the ledger implements.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Longest `sub`, bytes. OpenID Connect Core, section 2, allows 255 characters; GitHub's customised ones are longer.
const MAX_SUBJECT: usize = 1024;

/// What identity asks to be remembered: an issuer's last good keys.
pub trait Remembered: Send + Sync {
    /// The last good JWKS document of `issuer` and when it was fetched.
    fn last_keys<'a>(&'a self, issuer: &'a IssuerUrl) -> BoxFuture<'a, Option<(String, Timestamp)>>;
    /// Keeps `jwks` as the last good document of `issuer`. Failures are logged, not returned.
    fn keep_keys<'a>(&'a self, issuer: &'a IssuerUrl, jwks: &'a str, fetched: Timestamp)
    -> BoxFuture<'a, ()>;
}

/// Verifies tokens of the configured issuers.
pub struct Identity {
    entries: Entries,
    clock: Clock,
}

impl Identity {
    /// Sets up the issuers; fetches nothing yet. `own_issuers` are Tollgate's, whose tokens are never identities.
    ///
    /// # Errors
    /// [`IdentityError`]: an entry that cannot be used, or no HTTP client.
    pub fn new(
        issuers: impl IntoIterator<Item = Arc<Issuer>>,
        own_issuers: [IssuerUrl; 2],
        remembered: Arc<dyn Remembered>,
        clock: Clock,
    ) -> Result<Self, IdentityError> {
        let mut entries = Entries::new(own_issuers, remembered, clock.clone());
        for issuer in issuers {
            entries.add(issuer)?;
        }
        Ok(Self { entries, clock })
    }

    /// Takes over the keys that `previous` holds for issuers whose sources have not changed, so that a reload asks
    /// nobody again.
    #[must_use]
    pub fn succeed(mut self, previous: &Self) -> Self {
        self.entries.take_over(&previous.entries);
        self
    }

    /// Fetches all keys that are not fresh, side by side, and waits: for a warm start, and for a timer that keeps keys
    /// young while nobody asks.
    pub async fn refresh(&self) {
        let mut fetches = tokio::task::JoinSet::new();
        for cache in self.entries.caches().map(Arc::clone) {
            fetches.spawn(async move { cache.refresh().await });
        }
        fetches.join_all().await;
    }

    /// Ends every fetch under way, before the store is closed that they would write to.
    pub async fn stop(&self) {
        for cache in self.entries.caches() {
            cache.stop().await;
        }
    }

    /// How old each entry's keys are, by name: for readiness and metrics.
    pub fn key_ages(&self) -> Vec<KeyAge> {
        self.entries.key_ages()
    }

    /// Verifies the evidence's token, reads it through its issuer's profile, and admits it.
    ///
    /// # Errors
    /// A refusal with one of the `token_*`, `issuer_*` or `identity_*` codes; `runner_not_identity`.
    pub async fn authenticate(&self, evidence: &Evidence) -> Result<Caller, Refusal> {
        self.verify(&evidence.token, runner::identities_only).await
    }

    /// Who `token` is about, if `fits` lets its entry vouch for that; nobody is asked before.
    async fn verify(
        &self,
        token: &SecretString,
        fits: fn(&Issuer) -> Result<(), Refusal>,
    ) -> Result<Caller, Refusal> {
        let unverified = Unverified::parse(token.expose_secret())?;
        let entry = self.entries.select(&unverified)?;
        fits(&entry.issuer)?;
        let key = entry.key(&unverified).await?;
        let token = unverified.fingerprint();
        let claims = unverified.verify(&key)?;
        let times = times::check(&claims, &entry.issuer, self.clock.now())?;
        Self::admit(entry, claims, times, token)
    }

    /// The identity that the verified `claims` of an earlier exchange are today: read and admitted by the configuration
    /// in force, which may know its issuer no more. Nobody is asked, and the token's times are not looked at again.
    ///
    /// Verifies no signature: `claims` come from a decision's record that is proved to be unchanged, never from a caller.
    ///
    /// # Errors
    /// `issuer_unknown`, `token_audience_refused`, `token_claim_invalid`, `identity_not_admitted`, `runner_not_identity`.
    pub fn recall_insecure(&self, claims: Map<String, Value>, token: Fingerprint) -> Result<Caller, Refusal> {
        let entry = self.entries.select_by(token::issuer(&claims)?, &token::audiences(&claims)?)?;
        runner::identities_only(&entry.issuer)?;
        let times = times::recall(&claims)?;
        Self::admit(entry, claims, times, token)
    }

    fn admit(
        entry: &Entry,
        claims: Map<String, Value>,
        times: Times,
        token: Fingerprint,
    ) -> Result<Caller, Refusal> {
        let issuer = &entry.issuer;
        admission::admit(&claims, &issuer.require)?;

        let mut reading = entry.profile.read(&claims)?;
        extra::add(&mut reading.attributes, &claims, &issuer.attributes)?;
        Ok(Caller {
            kind: profile::kind(&issuer.profile),
            subject: subject(&claims)?,
            principal: reading.principal,
            tenant: extra::tenant(&claims, &issuer.tenant)?,
            trust: reading.trust,
            attributes: Arc::new(reading.attributes),
            claims: Arc::new(claims),
            token,
            issued_at: times.issued_at,
            expires_at: times.expires_at,
            issuer: Arc::clone(issuer),
        })
    }
}

fn subject(claims: &Map<String, Value>) -> Result<String, ClaimError> {
    match claims.get("sub") {
        Some(Value::String(subject)) if (1..=MAX_SUBJECT).contains(&subject.len()) => Ok(subject.clone()),
        Some(_) | None => Err(ClaimError::new("sub", "must be text of 1 to 1024 bytes")),
    }
}

/// The caller may know which claim is wrong: it is in its own token.
impl From<ClaimError> for Refusal {
    fn from(error: ClaimError) -> Self {
        Self::new(Code::TokenClaimInvalid, "a claim of the token is missing or of the wrong type")
            .with_detail(error.to_string())
    }
}
