//! Public keys and their thumbprints: in a proof's header, and in a certificate.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::domain::Thumbprint;
use crate::secret::Fingerprint;

/// Members that only a private or a shared key has (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// True if the key holds what nobody but its owner may know.
pub(super) fn is_private(jwk: &Map<String, Value>) -> bool {
    PRIVATE.iter().any(|member| jwk.contains_key(*member))
}

/// The key's SHA-256 thumbprint: the hash of its required members, in the order of their names, without spaces (RFC 7638,
/// section 3; RFC 8037, section 2). None if one is missing, or if it is of another type.
pub fn thumbprint(jwk: &Map<String, Value>) -> Option<Thumbprint> {
    let required: &[&str] = match jwk.get("kty")?.as_str()? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members = required.iter().map(|name| Some((*name, jwk.get(*name)?.as_str()?)));
    let members: BTreeMap<&str, &str> = members.collect::<Option<_>>()?;
    let text = serde_json::to_string(&members).ok()?;
    Some(Thumbprint::from_bytes(*Fingerprint::of(text.as_bytes()).as_bytes()))
}

/// The thumbprint of the public key in a certificate, DER. None of what cannot be read, or of a key of another type.
pub fn thumbprint_of_certificate(der: &[u8]) -> Option<Thumbprint> {
    let (_, certificate) = X509Certificate::from_der(der).ok()?;
    thumbprint(jwk_of(certificate.public_key())?.as_object()?)
}

/// The required members of the JWK (RFC 7518, section 6; RFC 8037, section 2) of a certificate's key.
fn jwk_of(key: &SubjectPublicKeyInfo<'_>) -> Option<Value> {
    /// RFC 8410, section 3.
    const ED25519: &str = "1.3.101.112";

    let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    if key.algorithm.algorithm.to_id_string() == ED25519 {
        return Some(json!({"kty": "OKP", "crv": "Ed25519", "x": text(&key.subject_public_key.data)}));
    }
    match key.parsed().ok()? {
        PublicKey::RSA(rsa) => {
            let (n, e) = (unsigned(rsa.modulus), unsigned(rsa.exponent));
            Some(json!({"kty": "RSA", "n": text(n), "e": text(e)}))
        }
        PublicKey::EC(point) => {
            let (curve, size) = curve(key)?;
            // SEC 1, section 2.3.3: 4 begins a point that is not compressed.
            let (x, y) = point.data().strip_prefix(&[4])?.split_at_checked(size)?;
            let fits = y.len() == size;
            fits.then(|| json!({"kty": "EC", "crv": curve, "x": text(x), "y": text(y)}))
        }
        _ => None,
    }
}

/// The JWK name of a key's curve (RFC 5480, section 2.1.1.1), and how many bytes a coordinate has.
fn curve(key: &SubjectPublicKeyInfo<'_>) -> Option<(&'static str, usize)> {
    let named = key.algorithm.parameters.as_ref()?.as_oid().ok()?;
    match named.to_id_string().as_str() {
        "1.2.840.10045.3.1.7" => Some(("P-256", 32)),
        "1.3.132.0.34" => Some(("P-384", 48)),
        "1.3.132.0.35" => Some(("P-521", 66)),
        _ => None,
    }
}

/// A number without the zeros that DER begins a large one with (RFC 7518, section 2, `Base64urlUInt`).
fn unsigned(mut number: &[u8]) -> &[u8] {
    while let [0, rest @ ..] = number {
        number = rest;
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(jwk: &Value) -> Option<String> {
        thumbprint(jwk.as_object().unwrap()).map(|thumbprint| thumbprint.to_string())
    }

    /// The values are those of the RFCs' own examples: RFC 8037, appendix A.3; RFC 9449, section 4.1 and 6.1.
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let ed = json!({"kty": "OKP", "crv": "Ed25519", "kid": "ignored",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(of(&ed).unwrap(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let ec = json!({"kty": "EC", "crv": "P-256", "use": "sig",
            "x": "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs",
            "y": "9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA"});
        assert_eq!(of(&ec).unwrap(), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(of(&json!({"kty": "EC", "crv": "P-256", "x": "AA"})), None);
        assert_eq!(of(&json!({"kty": "oct", "k": "AA"})), None);
        assert_eq!(of(&json!({"kty": "RSA", "n": 1, "e": "AQAB"})), None);
    }

    /// The members of each key come from the crate that made it, and not from what reads the certificate.
    #[test]
    fn a_certificates_key_has_the_thumbprint_of_its_jwk() {
        for (algorithm, curve, size) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, "P-256", 32),
            (&rcgen::PKCS_ECDSA_P384_SHA384, "P-384", 48),
            (&rcgen::PKCS_ED25519, "Ed25519", 0),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let certificate = rcgen::CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
            let raw = key.public_key_raw();
            let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
            let jwk = match size {
                0 => json!({"kty": "OKP", "crv": curve, "x": text(raw)}),
                _ => {
                    json!({"kty": "EC", "crv": curve, "x": text(&raw[1..=size]), "y": text(&raw[1 + size..])})
                }
            };
            assert_eq!(thumbprint_of_certificate(certificate.der()).map(|key| key.to_string()), of(&jwk));
        }
        assert_eq!(thumbprint_of_certificate(b"no certificate"), None);
    }
}
