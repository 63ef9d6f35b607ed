//! Asks a source for what it publishes: an OIDC issuer for its keys, a trust domain for its bundle.

use std::time::Duration;

use super::discovery::{FetchError, Origin};
use super::keys::KeySet;
use super::published::{Fetched, Published};
use super::spiffe::{BundleFetcher, BundlePlace};
use crate::clock::Clock;
use crate::domain::IssuerUrl;
use crate::net::{Client, NetError, WorkloadApi};

/// Everything that decides what is fetched. Entries that agree in it share what they fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// `OpenID` Connect Discovery.
    Discovery(Origin),
    /// A trust domain's bundle.
    Bundle(BundlePlace),
}

impl Place {
    /// Who publishes.
    pub(super) const fn issuer(&self) -> &IssuerUrl {
        match self {
            Self::Discovery(origin) => &origin.issuer,
            Self::Bundle(place) => &place.domain,
        }
    }

    /// True for a file.
    pub(super) const fn is_file(&self) -> bool {
        match self {
            Self::Discovery(_) => false,
            Self::Bundle(place) => place.is_file(),
        }
    }

    /// True for what comes without being asked for.
    pub(super) const fn is_streamed(&self) -> bool {
        match self {
            Self::Discovery(_) => false,
            Self::Bundle(place) => place.is_streamed(),
        }
    }
}

/// Asks one place.
pub(super) enum Fetcher {
    Discovery(Origin, Client),
    Bundle(BundleFetcher),
}

impl Fetcher {
    /// Asks nobody yet. `timeout` is for each request.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub(super) fn new(
        place: &Place,
        timeout: Duration,
        clock: &Clock,
        workload: Option<&WorkloadApi>,
    ) -> Result<Self, NetError> {
        Ok(match place {
            Place::Discovery(origin) => Self::Discovery(origin.clone(), origin.client(timeout)?),
            Place::Bundle(place) => {
                Self::Bundle(BundleFetcher::new(place.clone(), timeout, clock, workload)?)
            }
        })
    }

    /// Asks. `held` is what is known so far.
    pub(super) async fn fetch(&self, held: Option<&Published>) -> Result<Fetched, FetchError> {
        match self {
            Self::Discovery(origin, client) => {
                let (document, keys) = origin.fetch(client).await?;
                Ok(Fetched::whole(document, keys.into()))
            }
            Self::Bundle(fetcher) => fetcher.fetch(held).await,
        }
    }

    /// Notes that what was fetched last is in use, or cannot be used.
    pub(super) fn settle(&self) {
        match self {
            Self::Discovery(..) => {}
            Self::Bundle(fetcher) => fetcher.settle(),
        }
    }

    /// True if the source has said something newer than what was fetched last: that is believed no more. Or if it is there
    /// again, and need not be spared.
    pub(super) fn has_news(&self) -> bool {
        match self {
            Self::Discovery(..) => false,
            Self::Bundle(fetcher) => fetcher.has_news(),
        }
    }

    /// Reads a document of before.
    pub(super) fn read(&self, document: &[u8]) -> Result<Published, FetchError> {
        match self {
            Self::Discovery(..) => Ok(KeySet::parse(document)?.into()),
            Self::Bundle(_) => BundleFetcher::read(document),
        }
    }
}
