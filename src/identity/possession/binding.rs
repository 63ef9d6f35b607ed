//! What is given to an identity is bound to: the key that its token names, or the key of its certificate.

use serde_json::{Map, Value, json};

use super::thumbprint_of_certificate;
use crate::domain::Thumbprint;
use crate::secret::Fingerprint;

/// The claim that names a key (RFC 7800, section 3.1).
const CNF: &str = "cnf";
/// A key by its JWK's thumbprint (RFC 9449, section 6.1).
const JKT: &str = "jkt";
/// A certificate by its hash (RFC 8705, section 3.1).
const X5T: &str = "x5t#S256";

/// What a lease and a signed token are bound to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// A key that the identity's token names.
    Key(Thumbprint),
    /// An X.509-SVID that is the identity.
    Svid(SvidKey),
}

impl Binding {
    /// The key, which whoever shows the lease's secret has to prove.
    pub const fn key(self) -> Thumbprint {
        match self {
            Self::Key(key) => key,
            Self::Svid(svid) => svid.key,
        }
    }

    /// How a signed token names it: a certificate as RFC 8705 does, so that a service that takes mutual TLS can compare it.
    pub fn confirmation(self) -> Value {
        match self {
            Self::Key(key) => json!({ JKT: key }),
            Self::Svid(svid) => json!({ X5T: svid.certificate }),
        }
    }
}

/// An X.509-SVID by its key and by its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SvidKey {
    key: Thumbprint,
    certificate: Thumbprint,
}

impl SvidKey {
    /// Of a leaf, DER; none if its key is of a type that has no thumbprint.
    pub(in crate::identity) fn of(leaf: &[u8]) -> Option<Self> {
        let certificate = Thumbprint::from_bytes(*Fingerprint::of(leaf).as_bytes());
        thumbprint_of_certificate(leaf).map(|key| Self { key, certificate })
    }

    /// As it was recorded.
    pub(in crate::identity) fn recorded(claims: &Map<String, Value>) -> Option<Self> {
        let cnf = claims.get(CNF)?;
        let named = |name: &str| cnf.get(name)?.as_str()?.parse().ok();
        Some(Self { key: named(JKT)?, certificate: named(X5T)? })
    }

    /// The claim that records it.
    pub(in crate::identity) fn claim(self) -> (String, Value) {
        (CNF.to_owned(), json!({ JKT: self.key, X5T: self.certificate }))
    }
}
