//! What is sent to the transit engine and what it answers (OpenBao API reference, "Transit secrets engine").

use std::collections::BTreeMap;

use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};

use super::{KmsError, Version};
use crate::signing::SigningAlgorithm;

/// The frame of every answer. Unknown members are ignored: each version adds some.
#[derive(Deserialize)]
pub(super) struct Envelope<D> {
    pub(super) data: D,
}

/// `GET {mount}/keys/{key}`.
#[derive(Deserialize)]
pub(super) struct Described {
    #[serde(rename = "type")]
    kind: String,
    latest_version: u32,
    #[serde(default)]
    exportable: bool,
    #[serde(default)]
    allow_plaintext_backup: bool,
    keys: BTreeMap<String, Public>,
}

#[derive(Deserialize)]
struct Public {
    public_key: String,
}

impl Described {
    /// The newest version of a key that nobody can take out.
    pub(super) fn latest(&self, mount: &str, key: &str) -> Result<Version, KmsError> {
        let algorithm = match self.kind.as_str() {
            "ecdsa-p256" => SigningAlgorithm::Es256,
            "rsa-2048" | "rsa-3072" | "rsa-4096" => SigningAlgorithm::Rs256,
            _ => return Err(KmsError::Key("its type is not ecdsa-p256, rsa-2048, rsa-3072 or rsa-4096")),
        };
        if self.exportable || self.allow_plaintext_backup {
            return Err(KmsError::Key("it is exportable: whoever may export it can sign elsewhere"));
        }
        let newest = self.keys.get(&self.latest_version.to_string());
        let newest = newest.ok_or(KmsError::Answer("it does not show its latest version"))?;
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(newest.public_key.as_bytes())
            .map_err(|_| KmsError::Answer("the public key is not PEM"))?;
        Version::new(mount, key, self.latest_version, algorithm, spki.as_ref().to_vec())
            .ok_or(KmsError::Answer("the public key is not of the key's type"))
    }
}

/// `POST {mount}/sign/{key}`.
#[derive(Serialize)]
pub(super) struct Sign {
    /// Base64.
    pub(super) input: String,
    /// Never 0, which is the latest: that one may not be published yet.
    pub(super) key_version: u32,
    pub(super) hash_algorithm: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signature_algorithm: Option<&'static str>,
    pub(super) marshaling_algorithm: &'static str,
}

/// Its answer.
#[derive(Deserialize)]
pub(super) struct Signed {
    /// `vault:v<version>:<signature>`.
    pub(super) signature: String,
}

/// An empty body.
#[derive(Serialize)]
pub(super) struct Nothing {}

/// `{"errors": […]}`.
#[derive(Default, Deserialize)]
pub(super) struct Errors {
    #[serde(default)]
    pub(super) errors: Vec<String>,
}
