//! The configured issuer entries, checked once more, and the one that a token is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::discovery::{Origin, TIMEOUT};
use super::error::{IdentityError, InlineKeysError};
use super::fetcher::Place;
use super::jwks::{KeyCache, KeyError};
use super::keys::{KeySet, VerifyingKey};
use super::spiffe::{Authorities, BundlePlace, X509Svid};
use super::token::{TokenError, Unverified};
use super::{Remembered, possession, profile, token};
use crate::clock::Clock;
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::{Issuer, KeySource, Possession, SecurityEvents};
use crate::domain::{Code, IssuerName, IssuerUrl, Refusal, Thumbprint};
use crate::net::{PeerCertificate, WorkloadApi};

/// How the URL of a trust domain begins.
const SPIFFE: &str = "spiffe://";

/// How an issuer entry stands with its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAge {
    /// The entry.
    pub issuer: IssuerName,
    /// Time since the keys were fetched; none if they never were. Inline keys do not age: zero.
    pub age: Option<Duration>,
}

/// One issuer entry, ready to read tokens.
pub(super) struct Entry {
    /// What the configuration says.
    pub issuer: Arc<Issuer>,
    /// How to read its claims.
    pub profile: profile::Reader,
    keys: Keys,
}

enum Keys {
    Inline(KeySet),
    Fetched(Arc<KeyCache>),
}

impl Entry {
    /// Refuses a form that the entry's tokens do not have: `token` is `text`.
    pub(super) fn check_form(&self, token: &Unverified<'_>, text: &str) -> Result<(), TokenError> {
        if !self.issuer.algorithms.contains(&token.algorithm()) {
            return Err(TokenError::AlgorithmNotConfigured(token.algorithm()));
        }
        if self.is_spiffe() { token.check_svid_insecure(text) } else { token.check_plain() }
    }

    /// The key that signed `token`, as far as the token says.
    pub(super) async fn key(&self, token: &Unverified<'_>) -> Result<Arc<VerifyingKey>, Refusal> {
        let (kid, algorithm) = (token.kid(), token.algorithm());
        if !self.issuer.algorithms.contains(&algorithm) {
            return Err(TokenError::AlgorithmNotConfigured(algorithm).into());
        }
        match &self.keys {
            Keys::Inline(keys) => {
                let key = keys.find(kid, algorithm).map(Arc::clone);
                Ok(key.ok_or(KeyError::Unknown { retry_after: None })?)
            }
            Keys::Fetched(cache) => Ok(cache.find(kid, algorithm).await?),
        }
    }

    /// Checks that the bundle of the trust domain vouches for `svid`, the leaf of `peer`, at `now`. If none of its authorities
    /// does, it may have a new one since.
    pub(super) async fn vouch(
        &self,
        svid: &X509Svid,
        peer: &PeerCertificate,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let Keys::Fetched(cache) = &self.keys else { return Err(untrusted("the domain has no bundle")) };
        let published = cache.published().await?;
        let verify = |authorities: Option<&Authorities>| match authorities {
            Some(authorities) => authorities.verify(svid, peer, now),
            None => Err(rustls::CertificateError::UnknownIssuer.into()),
        };
        let error = match verify(published.authorities.as_ref()) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        match cache.renewed().await {
            Some(newer) => verify(newer.authorities.as_ref()).map_err(|error| untrusted(&error.to_string())),
            None => Err(untrusted(&error.to_string())),
        }
    }

    /// True for a trust domain.
    pub(super) fn is_spiffe(&self) -> bool {
        self.issuer.url.trust_domain().is_some()
    }

    const fn cache(&self) -> Option<&Arc<KeyCache>> {
        match &self.keys {
            Keys::Fetched(cache) => Some(cache),
            Keys::Inline(_) => None,
        }
    }

    /// Exact comparison, apart from the key that may follow. Several audiences mean that others can use the token too,
    /// which an entry must accept expressly; beside others no key is named, or the token would be bound and not bound.
    fn is_for(&self, audiences: &[&str]) -> bool {
        let ours = self.issuer.audience.as_str();
        let names_key = |audience: &&str| possession::key_named(audience, ours).is_some();
        match audiences {
            [one] => *one == ours || names_key(one),
            several => self.issuer.audience_list && several.contains(&ours) && !several.iter().any(names_key),
        }
    }

    /// The key that a token for these audiences is bound to, if it names one.
    pub(super) fn bound_to(&self, audiences: &[&str]) -> Result<Option<Thumbprint>, Refusal> {
        let ours = self.issuer.audience.as_str();
        let named = audiences.iter().find_map(|audience| possession::key_named(audience, ours));
        match (named, self.issuer.possession) {
            (None, Possession::Accepted | Possession::Refused) => Ok(None),
            (None, Possession::Required) => Err(Refusal::new(
                Code::PossessionRequired,
                "this issuer's tokens must be bound to a key: ask for the audience with #jkt= after it",
            )),
            (Some(_), Possession::Refused) => {
                Err(audience_refused("the entry takes no tokens that name a key"))
            }
            (Some(text), Possession::Accepted | Possession::Required) => {
                text.parse().map(Some).map_err(|error| audience_refused(&format!("{error}")))
            }
        }
    }
}

/// All entries, by the exact `iss` claim.
pub(super) struct Entries {
    by_issuer: HashMap<String, Vec<Entry>>,
    own_issuers: [IssuerUrl; 2],
    remembered: Arc<dyn Remembered>,
    clock: Clock,
    workload: Option<WorkloadApi>,
}

impl Entries {
    pub(super) fn new(
        own_issuers: [IssuerUrl; 2],
        remembered: Arc<dyn Remembered>,
        clock: Clock,
        workload: Option<WorkloadApi>,
    ) -> Self {
        Self { by_issuer: HashMap::new(), own_issuers, remembered, clock, workload }
    }

    /// Adds an entry; asks nobody.
    pub(super) fn add(&mut self, issuer: Arc<Issuer>) -> Result<(), IdentityError> {
        self.check(&issuer)?;
        let name = || issuer.name.clone();
        let profile = profile::Reader::new(&issuer)
            .map_err(|source| IdentityError::Profile { issuer: name(), source })?;
        let keys = match &issuer.keys {
            KeySource::Inline { jwks } => Keys::Inline(
                inline(jwks).map_err(|source| IdentityError::InlineKeys { issuer: name(), source })?,
            ),
            KeySource::Discovery { jwks_hosts } => {
                Keys::Fetched(self.cache(&issuer, Place::Discovery(Origin::new(&issuer, jwks_hosts)))?)
            }
            KeySource::Bundle(source) => {
                Keys::Fetched(self.cache(&issuer, Place::Bundle(BundlePlace::new(&issuer, source)))?)
            }
        };
        let entries = self.by_issuer.entry(issuer.url.to_string()).or_default();
        entries.push(Entry { issuer, profile, keys });
        Ok(())
    }

    /// The entry whose issuer and audience the token names: exactly one, or a refusal. Nothing else is read before the
    /// signature is verified, and nobody is asked.
    pub(super) fn select(&self, token: &Unverified<'_>) -> Result<&Entry, Refusal> {
        self.select_of(token.claims_insecure(), Some(token.audiences_insecure()))
    }

    /// The entry of recorded claims. Those of a certificate name no audience.
    pub(super) fn select_recorded(&self, claims: &Map<String, Value>) -> Result<&Entry, Refusal> {
        self.select_of(claims, claims.contains_key("aud").then(|| token::audiences(claims)))
    }

    /// By `iss`, where that is a configured issuer; else by the trust domain of `sub`, as JWT-SVIDs need not have an `iss`, and
    /// some have one that nobody configured.
    fn select_of(
        &self,
        claims: &Map<String, Value>,
        audiences: Option<Result<Vec<&str>, TokenError>>,
    ) -> Result<&Entry, Refusal> {
        let issuer = token::issuer(claims);
        let known = |issuer: &&str| self.is_own(issuer) || self.by_issuer.contains_key(*issuer);
        let configured =
            issuer.as_ref().ok().filter(|issuer| !issuer.starts_with(SPIFFE)).filter(|i| known(i));
        let domain = claims.get("sub").and_then(Value::as_str).and_then(trust_domain_of);
        match (configured, domain) {
            (Some(issuer), _) => self.select_by(issuer, &audiences.unwrap_or(Err(TokenError::Claim("aud")))?),
            (None, Some(domain)) => {
                let entry = self.of_domain(domain)?;
                let fits = audiences.transpose()?.is_none_or(|audiences| entry.is_for(&audiences));
                if fits {
                    Ok(entry)
                } else {
                    Err(audience_refused("it is not for the trust domain's entry alone"))
                }
            }
            (None, None) => self.select_by(issuer?, &audiences.unwrap_or(Err(TokenError::Claim("aud")))?),
        }
    }

    /// The entry of the trust domain whose URL is `domain`.
    pub(super) fn of_domain(&self, domain: &str) -> Result<&Entry, Refusal> {
        let entry = self.by_issuer.get(domain).and_then(|entries| entries.first());
        entry.ok_or_else(|| {
            Refusal::new(Code::IssuerUnknown, "the identity's trust domain is not configured here")
        })
    }

    /// True if some entry is a trust domain, so that a certificate can be an identity.
    pub(super) fn have_domains(&self) -> bool {
        self.by_issuer.values().flatten().any(Entry::is_spiffe)
    }

    fn is_own(&self, issuer: &str) -> bool {
        self.own_issuers.iter().any(|own| own.as_str() == issuer)
    }

    /// The entry of `issuer` for `audiences`: exactly one, or a refusal.
    fn select_by(&self, issuer: &str, audiences: &[&str]) -> Result<&Entry, Refusal> {
        if self.is_own(issuer) {
            return Err(TokenError::Kind("one of Tollgate's own tokens").into());
        }
        let Some(entries) = self.by_issuer.get(issuer) else {
            return Err(Refusal::new(Code::IssuerUnknown, "the token's issuer is not configured here"));
        };
        let mut meant = entries.iter().filter(|entry| entry.is_for(audiences));
        match (meant.next(), meant.next()) {
            (Some(entry), None) => Ok(entry),
            (Some(_), Some(_)) => Err(audience_refused("the audiences of the token fit several entries")),
            (None, _) => Err(audience_refused("no entry of the issuer accepts the token's audiences")),
        }
    }

    /// The entry whose issuer and audience of events the token names, with what it says about them.
    pub(super) fn select_event(&self, token: &Unverified<'_>) -> Result<(&Entry, &SecurityEvents), Refusal> {
        let issuer = token.issuer_insecure()?;
        let Some(entries) = self.by_issuer.get(issuer) else {
            return Err(Refusal::new(Code::IssuerUnknown, "the event's issuer is not configured here"));
        };
        let audiences = token.audiences_insecure()?;
        let accepts = |events: &SecurityEvents| audiences.contains(&events.audience.as_str());
        let mut meant = entries.iter().filter_map(|entry| {
            let events = entry.issuer.security_events.as_ref().filter(|events| accepts(events))?;
            Some((entry, events))
        });
        match (meant.next(), meant.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(audience_refused("the audiences of the event fit several entries")),
            (None, _) => Err(audience_refused("no entry of the issuer accepts events for these audiences")),
        }
    }

    /// Replaces each cache by the one that `previous` has for the same source. A file is read again.
    pub(super) fn take_over(&mut self, previous: &Self) {
        for entry in self.by_issuer.values_mut().flatten() {
            if let Keys::Fetched(cache) = &mut entry.keys
                && let Some(known) = previous.cache_of(cache.place()).filter(|_| !cache.place().is_file())
            {
                *cache = Arc::clone(known);
            }
        }
    }

    /// The caches, one per entry: entries of one source name the same one.
    pub(super) fn caches(&self) -> impl Iterator<Item = &Arc<KeyCache>> {
        self.by_issuer.values().flatten().filter_map(Entry::cache)
    }

    /// How old each entry's keys are, by name.
    pub(super) fn key_ages(&self) -> Vec<KeyAge> {
        let age = |entry: &Entry| match &entry.keys {
            Keys::Inline(_) => Some(Duration::ZERO),
            Keys::Fetched(cache) => cache.age(),
        };
        let of = |entry: &Entry| KeyAge { issuer: entry.issuer.name.clone(), age: age(entry) };
        let mut ages: Vec<_> = self.by_issuer.values().flatten().map(of).collect();
        ages.sort_by(|a, b| a.issuer.cmp(&b.issuer));
        ages
    }

    /// What the configuration refuses too; here, nothing goes around it.
    fn check(&self, issuer: &Issuer) -> Result<(), IdentityError> {
        let name = || issuer.name.clone();
        if self.own_issuers.contains(&issuer.url) {
            return Err(IdentityError::OwnIssuer { issuer: name(), url: issuer.url.clone() });
        }
        if profile::is_shared(issuer) && issuer.require.is_empty() {
            return Err(IdentityError::Unrestricted { issuer: name() });
        }
        let taken = |attribute: &str| {
            RESERVED_IDENTITY_KEYS.contains(&attribute) || issuer.profile.attributes().contains(&attribute)
        };
        if let Some(attribute) = issuer.attributes.keys().find(|attribute| taken(attribute.as_str())) {
            return Err(IdentityError::AttributeTaken { issuer: name(), attribute: attribute.to_string() });
        }
        let same = |entry: &&Entry| entry.is_spiffe() || entry.issuer.audience == issuer.audience;
        match self.by_issuer.get(issuer.url.as_str()).and_then(|entries| entries.iter().find(same)) {
            Some(first) => Err(IdentityError::Ambiguous { first: first.issuer.name.clone(), second: name() }),
            None => Ok(()),
        }
    }

    /// The cache of another entry with the same source, or a new one.
    fn cache(&self, issuer: &Issuer, place: Place) -> Result<Arc<KeyCache>, IdentityError> {
        if let Some(cache) = self.cache_of(&place) {
            return Ok(Arc::clone(cache));
        }
        let (remembered, clock) = (Arc::clone(&self.remembered), self.clock.clone());
        let cache = KeyCache::new(place, TIMEOUT, remembered, clock, self.workload.as_ref());
        cache.map(Arc::new).map_err(|source| IdentityError::Client { issuer: issuer.name.clone(), source })
    }

    fn cache_of(&self, place: &Place) -> Option<&Arc<KeyCache>> {
        let entries = self.by_issuer.get(place.issuer().as_str())?;
        entries.iter().filter_map(Entry::cache).find(|cache| cache.place() == place)
    }
}

/// The URL of the trust domain in a SPIFFE ID, if `id` may be one: it is read in full once its domain is known.
fn trust_domain_of(id: &str) -> Option<&str> {
    let rest = id.strip_prefix(SPIFFE)?;
    let name = rest.split('/').next()?;
    id.get(..SPIFFE.len() + name.len())
}

fn untrusted(detail: &str) -> Refusal {
    Refusal::new(Code::CertificateUntrusted, format!("the client certificate is not believed: {detail}"))
}

fn audience_refused(detail: &str) -> Refusal {
    Refusal::new(Code::TokenAudienceRefused, "the token is made for another audience").with_detail(detail)
}

fn inline(jwks: &str) -> Result<KeySet, InlineKeysError> {
    let keys = KeySet::parse(jwks.as_bytes())?;
    if keys.is_empty() { Err(InlineKeysError::NoUsableKey) } else { Ok(keys) }
}
