//! Why identity cannot be set up.

use crate::causes;
use crate::domain::{InvalidName, IssuerName, IssuerUrl};
use crate::net::NetError;

use super::keys::KeySetError;

/// An issuer entry that cannot be used. The configuration refuses most of these with file and line; the check here is
/// the one that nothing goes around.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The inline key set of an entry cannot be read.
    #[error("issuer {issuer}: the inline key set cannot be used")]
    InlineKeys {
        /// The entry.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: InlineKeysError,
    },
    /// No HTTP client could be built.
    #[error("issuer {issuer}: no HTTP client")]
    Client {
        /// The entry.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: NetError,
    },
    /// Two entries have the same issuer and audience, so that neither is selected by a token.
    #[error("issuers {first} and {second} have the same url and audience; the pair must be unique")]
    Ambiguous {
        /// One entry.
        first: IssuerName,
        /// The other.
        second: IssuerName,
    },
    /// An entry names an issuer of Tollgate's own.
    #[error("issuer {issuer}: {url} is Tollgate's own; its tokens are never identities")]
    OwnIssuer {
        /// The entry.
        issuer: IssuerName,
        /// The issuer.
        url: IssuerUrl,
    },
    /// Anybody can get a token from this issuer, and the entry does not say who belongs to us.
    #[error("issuer {issuer}: anybody can get a token there; `require` must name an immutable claim")]
    Unrestricted {
        /// The entry.
        issuer: IssuerName,
    },
    /// An extra attribute has a name that the profile or Tollgate uses.
    #[error("issuer {issuer}: attribute `{attribute}` is already taken")]
    AttributeTaken {
        /// The entry.
        issuer: IssuerName,
        /// The attribute.
        attribute: String,
    },
    /// A profile's own attribute breaks the grammar.
    #[error("issuer {issuer}: its profile is broken")]
    Profile {
        /// The entry.
        issuer: IssuerName,
        /// Why.
        #[source]
        source: InvalidName,
    },
}

/// Why an inline key set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InlineKeysError {
    /// Not a key set.
    #[error("{0}")]
    Unreadable(String),
    /// No key in it can verify a token.
    #[error("it has no key that can verify a token")]
    NoUsableKey,
}

impl From<KeySetError> for InlineKeysError {
    fn from(error: KeySetError) -> Self {
        Self::Unreadable(causes::in_full(&error))
    }
}
