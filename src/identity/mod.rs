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
mod fetcher;
mod jwks;
mod keys;
mod possession;
mod profile;
mod proxy;
mod published;
mod runner;
mod spiffe;
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
use secrecy::ExposeSecret;
use serde_json::{Map, Value};

pub use caller::{Attributes, Caller};
pub use entry::KeyAge;
pub use error::{IdentityError, InlineKeysError};
pub use event::{Revoked, SecurityEvent};
pub use evidence::{Evidence, RunnerEvidence};
pub use possession::{
    ALGORITHMS, BINDING, Binding, Held, Holder, Proof, SvidKey, UsedProof, thumbprint,
    thumbprint_of_certificate,
};
pub use runner::Runner;

use crate::clock::Clock;
use crate::config::{Issuer, Replay};
use crate::domain::{Code, IssuerUrl, Refusal};
use crate::net::{PeerCertificate, WorkloadApi};
use crate::secret::Fingerprint;
use claim::ClaimError;
use entry::{Entries, Entry};
use possession::Shown;
use spiffe::X509Svid;
use times::Times;
use token::{TokenError, Unverified};

/// A boxed future, for the one trait that the ledger implements.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Longest `sub`, bytes. OpenID Connect Core, section 2, allows 255 characters; GitHub's customised ones are longer.
const MAX_SUBJECT: usize = 1024;

/// What identity asks to be remembered: an issuer's last good keys.
pub trait Remembered: Send + Sync {
    /// The last good JWKS document of `issuer` and when it was fetched.
    fn last_keys<'a>(&'a self, issuer: &'a IssuerUrl) -> BoxFuture<'a, Option<(String, Timestamp)>>;
    /// Keeps `jwks` as the last good document of `issuer`. False if it could not, which it has logged.
    fn keep_keys<'a>(
        &'a self,
        issuer: &'a IssuerUrl,
        jwks: &'a str,
        fetched: Timestamp,
    ) -> BoxFuture<'a, bool>;
}

/// Verifies tokens of the configured issuers.
pub struct Identity {
    entries: Entries,
    clock: Clock,
}

impl Identity {
    /// Sets up the issuers; fetches nothing yet. `own_issuers` are Tollgate's, whose tokens are never identities; `workload`
    /// is where trust domains that say so have their bundles from.
    ///
    /// # Errors
    /// [`IdentityError`]: an entry that cannot be used, or no HTTP client.
    pub fn new(
        issuers: impl IntoIterator<Item = Arc<Issuer>>,
        own_issuers: [IssuerUrl; 2],
        remembered: Arc<dyn Remembered>,
        clock: Clock,
        workload: Option<WorkloadApi>,
    ) -> Result<Self, IdentityError> {
        let mut entries = Entries::new(own_issuers, remembered, clock.clone(), workload);
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

    /// Verifies the evidence, and the proof of the key that its token is bound to, reads it through its issuer's profile,
    /// and admits it. A token says who asks where there is one; else the certificate of the connection does.
    ///
    /// # Errors
    /// A refusal with one of the `token_*`, `proof_*`, `certificate_*`, `issuer_*` or `identity_*` codes;
    /// `possession_required`, `runner_not_identity`.
    pub async fn authenticate(&self, evidence: &Evidence) -> Result<Caller, Refusal> {
        match (&evidence.token, &evidence.certificate) {
            (Some(token), certificate) => {
                let shown = Shown { proof: evidence.proof.as_ref(), certificate: certificate.as_ref() };
                self.by_token(token.expose_secret(), shown, runner::identities_only).await
            }
            (None, Some(certificate)) if self.entries.have_domains() => {
                self.by_certificate(&X509Svid::read(certificate)?, certificate, runner::identities_only).await
            }
            (None, _) => Err(TokenError::Missing.into()),
        }
    }

    /// Who `token` is about, if `fits` lets its entry vouch for that; nobody is asked before.
    async fn by_token(
        &self,
        token: &str,
        shown: Shown<'_>,
        fits: fn(&Issuer) -> Result<(), Refusal>,
    ) -> Result<Caller, Refusal> {
        let unverified = Unverified::parse(token)?;
        let entry = self.entries.select(&unverified)?;
        fits(&entry.issuer)?;
        entry.check_form(&unverified, token)?;
        let bound = entry.bound_to(&unverified.audiences_insecure()?)?;
        let pair = possession::pair(bound, shown)?;
        let key = entry.key(&unverified).await?;
        let fingerprint = unverified.fingerprint();
        let claims = unverified.verify(&key)?;
        let now = self.clock.now();
        let times = times::check(&claims, &entry.issuer, now)?;
        // After the signature: who has no token of the issuer's makes nobody look at a proof.
        let proof = pair.map(|(key, proof)| proof.check(key, token, now)).transpose()?;
        let caller = Self::admit(entry, claims, times, fingerprint, entry.issuer.replay)?;
        Ok(Caller { bound, proof, ..caller })
    }

    /// Whom `svid`, the leaf of `peer`, is about, if `fits` lets its entry vouch for that. The certificate's own trust domain is
    /// asked, and no other; one that is not configured is asked nothing.
    async fn by_certificate(
        &self,
        svid: &X509Svid,
        peer: &PeerCertificate,
        fits: impl FnOnce(&Issuer) -> Result<(), Refusal>,
    ) -> Result<Caller, Refusal> {
        let entry = self.entries.of_domain(&format!("spiffe://{}", svid.id.trust_domain_name()))?;
        fits(&entry.issuer)?;
        let now = self.clock.now();
        entry.vouch(svid, peer, now).await?;
        let claims = svid.claims();
        let times = times::of_certificate(&claims, &entry.issuer, now)?;
        let caller = Self::admit(entry, claims, times, Fingerprint::of(peer.leaf()), Replay::Off)?;
        Ok(Caller { svid: svid.key, ..caller })
    }

    /// The identity that the verified `claims` of an earlier exchange are today: read and admitted by the configuration
    /// in force, which may know its issuer no more. Nobody is asked, and the token's times are not looked at again.
    ///
    /// Verifies no signature: `claims` come from a decision's record that is proved to be unchanged, never from a caller.
    ///
    /// # Errors
    /// `issuer_unknown`, `token_audience_refused`, `possession_required`, `token_claim_invalid`, `identity_not_admitted`,
    /// `runner_not_identity`.
    pub fn recall_insecure(&self, claims: Map<String, Value>, token: Fingerprint) -> Result<Caller, Refusal> {
        let entry = self.entries.select_recorded(&claims)?;
        runner::identities_only(&entry.issuer)?;
        // A certificate has no audience, and needs no other key than its own.
        let named = claims.contains_key("aud").then(|| token::audiences(&claims)).transpose()?;
        let svid = named.is_none().then(|| SvidKey::recorded(&claims)).flatten();
        let bound = named.map_or(Ok(None), |audiences| entry.bound_to(&audiences))?;
        let times = times::recall(&claims, &entry.issuer)?;
        let caller = Self::admit(entry, claims, times, token, entry.issuer.replay)?;
        Ok(Caller { bound, svid, ..caller })
    }

    fn admit(
        entry: &Entry,
        claims: Map<String, Value>,
        times: Times,
        token: Fingerprint,
        replay: Replay,
    ) -> Result<Caller, Refusal> {
        let issuer = &entry.issuer;
        let facts = entry.profile.facts(&claims)?;
        admission::admit(&facts, &issuer.require)?;

        let mut reading = entry.profile.read(&facts)?;
        extra::add(&mut reading.attributes, &facts, &issuer.attributes)?;
        let tenant = extra::tenant(&facts, &issuer.tenant)?;
        let subject = subject(&claims)?;
        drop(facts);
        Ok(Caller {
            kind: profile::kind(&issuer.profile),
            subject,
            principal: reading.principal,
            tenant,
            trust: reading.trust,
            attributes: Arc::new(reading.attributes),
            claims: Arc::new(claims),
            token,
            issued_at: times.issued_at,
            expires_at: times.expires_at,
            replay,
            bound: None,
            proof: None,
            svid: None,
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
