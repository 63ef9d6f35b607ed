//! What is given to an identity is bound to: the key that its token names, or its X.509-SVID.

use serde_json::{Value, json};
use spiffe::SpiffeId;

use super::thumbprint_of_certificate;
use crate::domain::Thumbprint;
use crate::secret::Fingerprint;

/// The claim that names a key (RFC 7800, section 3.1).
const CNF: &str = "cnf";
/// A key by its JWK's thumbprint (RFC 9449, section 6.1).
const JKT: &str = "jkt";
/// A certificate by its hash (RFC 8705, section 3.1).
const X5T: &str = "x5t#S256";

/// Keeps what [`SvidKey::holder`] hashes apart from the JWKs whose thumbprints stand in the same place.
const HOLDER: &str = "tollgate/bound/svid/1";

/// What a lease and a signed token are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A key that the identity's token names.
    Key(Thumbprint),
    /// An X.509-SVID that is the identity.
    Svid(SvidKey),
}

impl Binding {
    /// What a lease is bound to: the key, which whoever shows the lease's secret has to prove; or the SPIFFE ID, of which he has
    /// to show an SVID that its trust domain vouches for then. An SVID lives for an hour, and a lease may outlive it.
    pub const fn of_lease(self) -> Thumbprint {
        match self {
            Self::Key(key) => key,
            Self::Svid(svid) => svid.holder,
        }
    }

    /// How a signed token names it: a certificate as RFC 8705 does, so that a service that takes mutual TLS can compare it. The
    /// token is of no use once the SVID has been replaced.
    pub fn confirmation(self) -> Value {
        match self {
            Self::Key(key) => json!({ JKT: key }),
            Self::Svid(svid) => json!({ X5T: svid.certificate }),
        }
    }
}

/// An X.509-SVID by its key, by its bytes, and by whom it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvidKey {
    key: Thumbprint,
    certificate: Thumbprint,
    holder: Thumbprint,
}

impl SvidKey {
    /// Of a leaf, DER, that names `id`; none if its key is of a type that has no thumbprint.
    pub(in crate::identity) fn of(leaf: &[u8], id: &SpiffeId) -> Option<Self> {
        let certificate = Thumbprint::from_bytes(*Fingerprint::of(leaf).as_bytes());
        let holder = Self::holder(id);
        thumbprint_of_certificate(leaf).map(|key| Self { key, certificate, holder })
    }

    /// What stands for every SVID of `id`, with its trust domain.
    pub(in crate::identity) fn holder(id: &SpiffeId) -> Thumbprint {
        Thumbprint::from_bytes(*Fingerprint::of(format!("{HOLDER}\n{id}").as_bytes()).as_bytes())
    }

    /// The claim that records it.
    pub(in crate::identity) fn claim(self) -> (String, Value) {
        (CNF.to_owned(), json!({ JKT: self.key, X5T: self.certificate }))
    }
}
