//! The configured issuer entries, checked once more, and the one that a token is for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::discovery::{Origin, TIMEOUT};
use super::error::{IdentityError, InlineKeysError};
use super::jwks::{KeyCache, KeyError};
use super::keys::{KeySet, VerifyingKey};
use super::token::{TokenError, Unverified};
use super::{Remembered, possession, profile};
use crate::clock::Clock;
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::config::{Issuer, KeySource, Possession, SecurityEvents};
use crate::domain::{Code, IssuerName, IssuerUrl, Refusal, Thumbprint};

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
}

impl Entries {
    pub(super) fn new(own_issuers: [IssuerUrl; 2], remembered: Arc<dyn Remembered>, clock: Clock) -> Self {
        Self { by_issuer: HashMap::new(), own_issuers, remembered, clock }
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
            KeySource::Discovery { jwks_hosts } => Keys::Fetched(self.cache(&issuer, jwks_hosts)?),
        };
        let entries = self.by_issuer.entry(issuer.url.to_string()).or_default();
        entries.push(Entry { issuer, profile, keys });
        Ok(())
    }

    /// The entry whose issuer and audience the token names: exactly one, or a refusal. Nothing else is read before the
    /// signature is verified, and nobody is asked.
    pub(super) fn select(&self, token: &Unverified<'_>) -> Result<&Entry, Refusal> {
        self.select_by(token.issuer_insecure()?, &token.audiences_insecure()?)
    }

    /// The entry of `issuer` for `audiences`: exactly one, or a refusal.
    pub(super) fn select_by(&self, issuer: &str, audiences: &[&str]) -> Result<&Entry, Refusal> {
        if self.own_issuers.iter().any(|own| own.as_str() == issuer) {
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

    /// Replaces each cache by the one that `previous` has for the same source.
    pub(super) fn take_over(&mut self, previous: &Self) {
        for entry in self.by_issuer.values_mut().flatten() {
            if let Keys::Fetched(cache) = &mut entry.keys
                && let Some(known) = previous.cache_of(cache.origin())
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
        let same = |entry: &&Entry| entry.issuer.audience == issuer.audience;
        match self.by_issuer.get(issuer.url.as_str()).and_then(|entries| entries.iter().find(same)) {
            Some(first) => Err(IdentityError::Ambiguous { first: first.issuer.name.clone(), second: name() }),
            None => Ok(()),
        }
    }

    /// The cache of another entry with the same source, or a new one.
    fn cache(&self, issuer: &Issuer, jwks_hosts: &[String]) -> Result<Arc<KeyCache>, IdentityError> {
        let origin = Origin::new(issuer, jwks_hosts);
        if let Some(cache) = self.cache_of(&origin) {
            return Ok(Arc::clone(cache));
        }
        let cache = KeyCache::new(origin, TIMEOUT, Arc::clone(&self.remembered), self.clock.clone());
        cache.map(Arc::new).map_err(|source| IdentityError::Client { issuer: issuer.name.clone(), source })
    }

    fn cache_of(&self, origin: &Origin) -> Option<&Arc<KeyCache>> {
        let entries = self.by_issuer.get(origin.issuer.as_str())?;
        entries.iter().filter_map(Entry::cache).find(|cache| cache.origin() == origin)
    }
}

fn audience_refused(detail: &str) -> Refusal {
    Refusal::new(Code::TokenAudienceRefused, "the token is made for another audience").with_detail(detail)
}

fn inline(jwks: &str) -> Result<KeySet, InlineKeysError> {
    let keys = KeySet::parse(jwks.as_bytes())?;
    if keys.is_empty() { Err(InlineKeysError::NoUsableKey) } else { Ok(keys) }
}
