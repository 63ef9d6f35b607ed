//! A client certificate as an X.509-SVID (X509-SVID, sections 2 to 5): what its leaf must say. Its chain is verified by
//! the bundle of the trust domain that it names.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use spiffe::SpiffeId;
use x509_parser::certificate::{Validity, X509Certificate};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use super::path;
use crate::domain::{Code, Refusal};
use crate::identity::SvidKey;
use crate::identity::times::SANE;
use crate::net::PeerCertificate;

/// Most certificates of a chain: a root, a handful of intermediates, a leaf.
const MAX_CHAIN: usize = 8;
/// Largest certificate, bytes.
const MAX_LEAF: usize = 16 * 1024;

/// Why a certificate is no X.509-SVID.
#[derive(Debug, thiserror::Error)]
pub(in crate::identity) enum SvidError {
    /// Over a limit.
    #[error("the chain has more than {MAX_CHAIN} certificates, or its leaf more than {MAX_LEAF} bytes")]
    TooLarge,
    /// Not DER, or an extension that cannot be read or comes twice.
    #[error("the leaf cannot be read")]
    Unreadable,
    /// No name, or several.
    #[error("the leaf has {0} URI names, and an SVID has exactly one")]
    Uris(usize),
    /// The name is no SPIFFE ID of a workload.
    #[error("the leaf's URI name is refused: {0}")]
    Id(&'static str),
    /// The crate that knows SVIDs refuses it.
    #[error("the leaf is no SVID")]
    Svid(#[from] spiffe::cert::error::CertificateError),
    /// It could sign others.
    #[error("the leaf is an authority")]
    Authority,
    /// What its key may be used for.
    #[error("the leaf's key usage needs digitalSignature, and neither keyCertSign nor cRLSign")]
    KeyUsage,
    /// A time that is none, or of another century: an SVID is short-lived.
    #[error("the leaf's validity is not of this century")]
    Validity,
}

/// What the leaf of a chain says; believed by nobody yet.
#[derive(Debug)]
pub(in crate::identity) struct X509Svid {
    /// Whom it names.
    pub id: SpiffeId,
    /// Its key, which whoever shows it has proved.
    pub key: Option<SvidKey>,
    serial: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl X509Svid {
    /// Reads the leaf of `peer`.
    ///
    /// # Errors
    /// [`SvidError`].
    pub(in crate::identity) fn read(peer: &PeerCertificate) -> Result<Self, SvidError> {
        if peer.intermediates().len() >= MAX_CHAIN || peer.leaf().len() > MAX_LEAF {
            return Err(SvidError::TooLarge);
        }
        let (_, leaf) = X509Certificate::from_der(peer.leaf()).map_err(|_| SvidError::Unreadable)?;
        check_use(&leaf)?;
        let id = path::id(only_uri(&leaf)?).map_err(SvidError::Id)?;
        if spiffe::cert::spiffe_id_from_der(peer.leaf())? != id {
            return Err(SvidError::Id("it can be read in two ways"));
        }
        let (not_before, not_after) = times(leaf.validity()).ok_or(SvidError::Validity)?;
        let key = SvidKey::of(peer.leaf(), &id);
        Ok(Self { id, key, serial: leaf.raw_serial_as_string(), not_before, not_after })
    }

    /// What stands in for the claims of a token: no `aud` and no `iss`, which tell one from the other in a record.
    pub(in crate::identity) fn claims(&self) -> Map<String, Value> {
        let own = [
            ("sub".to_owned(), self.id.to_string().into()),
            ("serial".to_owned(), self.serial.as_str().into()),
            ("nbf".to_owned(), json!(self.not_before.as_second())),
            ("exp".to_owned(), json!(self.not_after.as_second())),
        ];
        own.into_iter().chain(self.key.map(SvidKey::claim)).collect()
    }

    /// Until when what verified the chain of `peer` at `now` goes on doing so: each certificate that was valid then could
    /// have been part of it.
    pub(super) fn holds_until(&self, peer: &PeerCertificate, now: Timestamp) -> Timestamp {
        let ends = peer.intermediates().iter().map(|der| {
            let (_, certificate) = X509Certificate::from_der(der).ok()?;
            times(certificate.validity()).map(|(_, end)| end)
        });
        // What cannot be read is looked at again each time.
        let ends = ends.map(|end| end.unwrap_or(now)).filter(|end| *end >= now);
        ends.fold(self.not_after, Timestamp::min)
    }
}

/// True if the leaf of `peer` can be read and names no URI, so that it names no workload: a key and nothing else.
pub(in crate::identity) fn is_bare_key(peer: &PeerCertificate) -> bool {
    let Ok((_, leaf)) = X509Certificate::from_der(peer.leaf()) else { return false };
    matches!(only_uri(&leaf), Err(SvidError::Uris(0)))
}

/// X509-SVID, sections 4.1 and 4.3.
fn check_use(leaf: &X509Certificate<'_>) -> Result<(), SvidError> {
    let constraints = leaf.basic_constraints().map_err(|_| SvidError::Unreadable)?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(SvidError::Authority);
    }
    let usage = leaf.key_usage().map_err(|_| SvidError::Unreadable)?.ok_or(SvidError::KeyUsage)?.value;
    let fits = usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign();
    if fits { Ok(()) } else { Err(SvidError::KeyUsage) }
}

/// X509-SVID, section 2: exactly one URI; names of other kinds do not count.
fn only_uri<'a>(leaf: &X509Certificate<'a>) -> Result<&'a str, SvidError> {
    let names = leaf.subject_alternative_name().map_err(|_| SvidError::Unreadable)?;
    let names = names.map(|names| names.value.general_names.as_slice()).unwrap_or_default();
    let uris: Vec<&'a str> = names
        .iter()
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    match *uris.as_slice() {
        [only] => Ok(only),
        _ => Err(SvidError::Uris(uris.len())),
    }
}

fn times(validity: &Validity) -> Option<(Timestamp, Timestamp)> {
    let at = |time: x509_parser::time::ASN1Time| {
        Timestamp::from_second(time.timestamp()).ok().filter(|time| SANE.contains(&time.as_second()))
    };
    Some((at(validity.not_before)?, at(validity.not_after)?))
}

/// The caller may know what is wrong: it is its own certificate.
impl From<SvidError> for Refusal {
    fn from(error: SvidError) -> Self {
        let detail = crate::causes::in_full(&error);
        Self::new(Code::CertificateInvalid, error.to_string()).with_detail(detail)
    }
}
