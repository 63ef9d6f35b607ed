//! What the Workload API said last. Each of its two streams keeps what it gave when it breaks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::read::{Keys, TrustBundle, X509};

/// How a stream stands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was never open, and nothing went wrong yet.
    #[default]
    Asking,
    /// What it gave is what the agent says now.
    Open,
    /// It is down, and this is why.
    Down(String),
}

/// One stream: what it gave last, and how it stands.
#[derive(Debug, Default)]
pub(super) struct Part<T> {
    pub(super) last: Option<T>,
    pub(super) standing: Standing,
    /// What of the last message was left out.
    pub(super) left_out: Vec<String>,
}

impl<T> Part<T> {
    /// Takes what the stream gives now.
    fn take(&mut self, content: T) {
        self.last = Some(content);
        self.standing = Standing::Open;
    }

    /// Sets why the stream is down; false if that is no news.
    pub(super) fn fail(&mut self, why: String) -> bool {
        let down = Standing::Down(why);
        let news = self.standing != down;
        self.standing = down;
        news
    }

    fn is_settled(&self) -> bool {
        self.standing != Standing::Asking
    }

    fn trouble(&self) -> Option<&str> {
        match &self.standing {
            Standing::Open => None,
            Standing::Asking => Some("it has said nothing yet"),
            Standing::Down(why) => Some(why),
        }
    }
}

/// Both streams, and the bundles that they make together.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) x509: Part<X509>,
    pub(super) keys: Part<Keys>,
    /// With the revision in which each became what it is.
    bundles: BTreeMap<String, (u64, Arc<TrustBundle>)>,
    revisions: u64,
}

impl Told {
    /// Takes a message of X.509-SVIDs. Without ours among them, the former one is kept: it is good until it expires.
    pub(super) fn take_x509(&mut self, mut x509: X509) {
        if x509.svid.is_none() {
            x509.svid = self.x509.last.take().and_then(|former| former.svid);
        }
        self.x509.take(x509);
    }

    /// Takes a message of JWT bundles.
    pub(super) fn take_keys(&mut self, keys: Keys) {
        self.keys.take(keys);
    }

    /// True once each stream has said something, or failed to: until then, half a bundle would look like a whole one.
    pub(super) fn is_settled(&self) -> bool {
        self.x509.is_settled() && self.keys.is_settled()
    }

    /// True if anything was ever told.
    pub(super) const fn is_known(&self) -> bool {
        self.x509.last.is_some() || self.keys.last.is_some()
    }

    /// Why what is known may not be what the agent says now. A stream that never gave anything is not missed: some agents
    /// have no tokens.
    pub(super) fn trouble(&self) -> Option<&str> {
        let (x509, keys) = (self.x509.trouble(), self.keys.trouble());
        match (&self.x509.last, &self.keys.last) {
            (Some(_), Some(_)) | (None, None) => x509.or(keys),
            (Some(_), None) => x509,
            (None, Some(_)) => keys,
        }
    }

    /// The bundle of `domain` and its revision: 0 and nothing for one that the agent does not have. None before anything
    /// is known of any.
    pub(super) fn bundle(&self, domain: &str) -> Option<(u64, Arc<TrustBundle>)> {
        if !(self.is_settled() && self.is_known()) {
            return None;
        }
        Some(self.bundles.get(domain).cloned().unwrap_or_default())
    }

    /// Puts the bundles together. One that did not change keeps its revision.
    pub(super) fn join(&mut self) {
        if !self.is_settled() {
            return;
        }
        let authorities = self.x509.last.as_ref().map(|x509| &x509.authorities);
        let keys = self.keys.last.as_ref();
        let domains: BTreeSet<&String> = authorities
            .into_iter()
            .flat_map(BTreeMap::keys)
            .chain(keys.into_iter().flat_map(BTreeMap::keys))
            .collect();
        let mut bundles = BTreeMap::new();
        for domain in domains {
            let bundle = TrustBundle {
                authorities: authorities.and_then(|all| all.get(domain)).cloned().unwrap_or_default(),
                keys: keys.and_then(|all| all.get(domain)).cloned().unwrap_or_default(),
            };
            let kept = self.bundles.get(domain).filter(|(_, former)| **former == bundle).cloned();
            let joined = kept.unwrap_or_else(|| {
                self.revisions += 1;
                (self.revisions, Arc::new(bundle))
            });
            bundles.insert(domain.clone(), joined);
        }
        self.bundles = bundles;
    }
}

#[cfg(test)]
mod tests {
    use rustls_pki_types::CertificateDer;

    use super::*;

    fn x509(domains: &[(&str, u8)]) -> X509 {
        let der = |byte: u8| vec![CertificateDer::from(vec![byte])];
        let authorities = domains.iter().map(|(domain, byte)| ((*domain).to_owned(), der(*byte)));
        X509 { svid: None, authorities: authorities.collect() }
    }

    #[test]
    fn half_a_bundle_is_none_and_an_agent_without_tokens_is_whole() {
        let mut told = Told::default();
        told.take_x509(x509(&[("a.example", 1)]));
        told.join();
        assert_eq!(told.bundle("a.example"), None, "the keys may be on their way");
        assert!(told.keys.fail("no tokens here".into()) && !told.keys.fail("no tokens here".into()));
        told.join();
        assert_eq!(told.bundle("a.example").unwrap().1.authorities.len(), 1);
        assert_eq!(told.bundle("b.example").unwrap().0, 0);
        assert_eq!(told.trouble(), None);
    }

    #[test]
    fn only_what_changed_has_a_new_revision_and_a_broken_stream_keeps_what_it_gave() {
        let mut told = Told::default();
        told.take_keys(Keys::default());
        let revision = |told: &Told, domain: &str| told.bundle(domain).unwrap().0;
        told.take_x509(x509(&[("a.example", 1), ("b.example", 1)]));
        told.join();
        let (a, b) = (revision(&told, "a.example"), revision(&told, "b.example"));
        told.take_x509(x509(&[("a.example", 1), ("b.example", 2)]));
        told.join();
        assert_eq!(revision(&told, "a.example"), a);
        assert!(revision(&told, "b.example") > b);
        told.x509.fail("gone".into());
        told.join();
        assert_eq!((revision(&told, "a.example"), told.trouble()), (a, Some("gone")));
        told.take_x509(x509(&[("b.example", 2)]));
        told.join();
        assert_eq!((revision(&told, "a.example"), told.trouble()), (0, None));
    }
}
