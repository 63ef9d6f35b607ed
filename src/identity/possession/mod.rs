//! Tokens and leases that are of no use without a key: the key is named by the token's audience, and shown by a DPoP proof
//! (RFC 9449) with every request, or by the certificate of the connection (RFC 8705).
//!
//! The private key never leaves its holder, and a proof is good for one request of one minute: whoever reads a token in a
//! log has nothing. A proof beside a token that names no key is refused, so that nobody believes to be protected who is not.
//! Of a certificate only its key counts here: whatever else it says has no part in this.

mod binding;
mod key;
mod proof;
mod target;
#[cfg(test)]
mod tests;

use jiff::Timestamp;

pub use binding::{Binding, SvidKey};
pub use key::{thumbprint, thumbprint_of_certificate};
pub use proof::{Proof, UsedProof};

use crate::domain::{Code, Refusal, Thumbprint};
use crate::identity::Identity;
use crate::net::PeerCertificate;
use crate::secret::LeaseSecret;

/// Between an audience and the thumbprint (RFC 7638) of the key that the token is bound to.
pub const BINDING: &str = "#jkt=";

/// Signature algorithms of proofs, as challenges and metadata list them (RFC 9449, sections 5.1 and 7.1).
pub const ALGORITHMS: [&str; 7] = ["ES256", "EdDSA", "ES384", "PS256", "RS256", "RS384", "RS512"];

/// The thumbprint that `audience` names after `ours`, as it is written; none if it is another audience, or names no key.
pub(super) fn key_named<'a>(audience: &'a str, ours: &str) -> Option<&'a str> {
    audience.strip_prefix(ours)?.strip_prefix(BINDING)
}

/// What a request shows of a key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shown<'a> {
    /// A DPoP proof.
    pub proof: Option<&'a Proof>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PeerCertificate>,
}

/// True if `certificate` has the key `bound`.
pub(super) fn has_key(certificate: &PeerCertificate, bound: Thumbprint) -> bool {
    thumbprint_of_certificate(certificate.leaf()) == Some(bound)
}

/// The key that something is bound to with the proof of it, which is yet to be checked; none if no proof came, so that the
/// connection has to show what it is bound to, if anything.
///
/// # Errors
/// `proof_invalid`.
pub(super) fn pair(
    bound: Option<Thumbprint>,
    proof: Option<&Proof>,
) -> Result<Option<(Thumbprint, &Proof)>, Refusal> {
    match (bound, proof) {
        (_, None) => Ok(None),
        (Some(key), Some(proof)) => Ok(Some((key, proof))),
        (None, Some(_)) => {
            let message =
                "a DPoP proof came, but what it came with is bound to no key: anybody who has it can use it";
            Err(Refusal::new(Code::ProofInvalid, message))
        }
    }
}

/// The refusal of what is bound to something that nothing proves; `more` ends the sentence.
pub(super) fn missing(more: &str) -> Refusal {
    let message = format!("it is bound to a key: send a proof of that key in the header DPoP, {more}");
    Refusal::new(Code::ProofMissing, message)
}

/// What a request shows to look after a lease.
#[derive(Debug)]
pub struct Held {
    /// The lease's secret.
    pub secret: LeaseSecret,
    /// The proof of the key that the lease is bound to, if one came.
    pub proof: Option<Proof>,
    /// The certificate of the connection, which may have the key.
    pub certificate: Option<PeerCertificate>,
}

/// The same, borrowed: a secret alone, or with what proves its key.
#[derive(Clone, Copy)]
pub struct Holder<'a> {
    /// The secret.
    pub secret: &'a LeaseSecret,
    /// The proof, if one came.
    pub proof: Option<&'a Proof>,
    /// The certificate of the connection.
    pub certificate: Option<&'a PeerCertificate>,
    /// Who tells what the certificate proves; without it, it proves nothing.
    pub identity: Option<&'a Identity>,
}

impl<'a> Holder<'a> {
    /// The same, whose certificate counts as far as `identity` believes it.
    #[must_use]
    pub fn believed_by(self, identity: &'a Identity) -> Self {
        Self { identity: Some(identity), ..self }
    }

    /// That whoever shows the secret has what its lease is bound to.
    ///
    /// # Errors
    /// `proof_missing`, `proof_invalid`; `certificate_*` or `issuer_*`, of an SVID that is not believed.
    pub async fn prove(&self, bound: Option<Thumbprint>, now: Timestamp) -> Result<Proved, Refusal> {
        match (pair(bound, self.proof)?, bound) {
            (Some((key, proof)), _) => {
                let proof = proof.check(key, self.secret.expose(), now)?;
                Ok(Proved { proof: Some(proof), svid: None })
            }
            (None, Some(bound)) => {
                let identity = self.identity.ok_or_else(|| missing("for nothing else proves it here"))?;
                let svid = identity.check_holder(self.certificate, bound).await?;
                Ok(Proved { proof: None, svid })
            }
            (None, None) => Ok(Proved::default()),
        }
    }
}

/// What proved that the holder of a lease has what it is bound to; nothing of a lease that is bound to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Proved {
    /// The proof of its key.
    pub proof: Option<UsedProof>,
    /// The SVID of the connection, of the SPIFFE ID that the lease is bound to.
    pub svid: Option<SvidKey>,
}

impl<'a> From<&'a LeaseSecret> for Holder<'a> {
    fn from(secret: &'a LeaseSecret) -> Self {
        Self { secret, proof: None, certificate: None, identity: None }
    }
}

impl<'a> From<&'a Held> for Holder<'a> {
    fn from(held: &'a Held) -> Self {
        let (proof, certificate) = (held.proof.as_ref(), held.certificate.as_ref());
        Self { secret: &held.secret, proof, certificate, identity: None }
    }
}
