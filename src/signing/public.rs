//! A public key: as a JWK, its id, and what it verifies.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::SigningAlgorithm;

/// What stands before the point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480, section 2).
const P256_SPKI: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// Bytes of an uncompressed point on P-256.
const P256_POINT: usize = 65;

/// The members of a public JWK that identify the key, in the order that RFC 7638, section 3.2 hashes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    /// P-256 (RFC 7518, section 6.2.1).
    Ec { crv: &'static str, kty: &'static str, x: String, y: String },
    /// RSA (RFC 7518, section 6.3.1).
    Rsa { e: String, kty: &'static str, n: String },
}

impl PublicKey {
    /// From an uncompressed point: `04 || x || y`, 32 bytes each (SEC 1, section 2.3.3).
    pub(super) fn p256(point: &[u8]) -> Self {
        let (x, y) = point.get(1..).unwrap_or_default().split_at_checked(32).unwrap_or_default();
        Self::Ec { crv: "P-256", kty: "EC", x: URL_SAFE_NO_PAD.encode(x), y: URL_SAFE_NO_PAD.encode(y) }
    }

    pub(super) fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { e: URL_SAFE_NO_PAD.encode(exponent), kty: "RSA", n: URL_SAFE_NO_PAD.encode(modulus) }
    }

    /// From the DER of a `SubjectPublicKeyInfo`, as a KMS shows it (RFC 5280, section 4.1).
    pub(super) fn from_spki(algorithm: SigningAlgorithm, der: &[u8]) -> Option<Self> {
        match algorithm {
            SigningAlgorithm::Es256 => {
                let point = der.strip_prefix(P256_SPKI)?;
                (point.len() == P256_POINT && point.first() == Some(&4)).then(|| Self::p256(point))
            }
            SigningAlgorithm::Rs256 => {
                let key = rsa::PublicKey::from_der(der).ok()?;
                Some(Self::rsa(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                ))
            }
        }
    }

    /// True if `signature`, in the form of a JWS, is this key's of `message`.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        match self {
            Self::Ec { x, y, .. } => {
                let point = [&[4], part(x).as_slice(), &part(y)].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Rsa { e, n, .. } => RsaPublicKeyComponents { n: part(n), e: part(e) }
                .verify(&RSA_PKCS1_2048_8192_SHA256, message, signature)
                .is_ok(),
        }
    }

    /// The RFC 7638 thumbprint. Base64url and constants need no escaping, so the JSON is written as it is hashed.
    pub(super) fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Ec { crv, kty, x, y } => format!(r#"{{"crv":"{crv}","kty":"{kty}","x":"{x}","y":"{y}"}}"#),
            Self::Rsa { e, kty, n } => format!(r#"{{"e":"{e}","kty":"{kty}","n":"{n}"}}"#),
        };
        URL_SAFE_NO_PAD.encode(digest(&SHA256, canonical.as_bytes()))
    }

    /// The whole JWK (RFC 7517, section 4).
    pub(super) fn jwk(&self, kid: &str, algorithm: SigningAlgorithm) -> serde_json::Value {
        match self {
            Self::Ec { crv, kty, x, y } => serde_json::json!({
                "kty": kty, "crv": crv, "x": x, "y": y, "use": "sig", "alg": algorithm, "kid": kid,
            }),
            Self::Rsa { e, kty, n } => serde_json::json!({
                "kty": kty, "n": n, "e": e, "use": "sig", "alg": algorithm, "kid": kid,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RsaKeyPair};

    use super::*;
    use crate::signing::signer::LocalKey;

    #[test]
    fn thumbprint_is_that_of_rfc_7638_section_3_1() {
        let modulus = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECP\
                       ebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY3\
                       68QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4\
                       lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = PublicKey::Rsa { e: "AQAB".to_owned(), kty: "RSA", n: modulus.to_owned() };
        assert_eq!(key.thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn a_key_is_the_same_from_its_subject_public_key_info_and_verifies_its_own_signatures_only() {
        for algorithm in [SigningAlgorithm::Es256, SigningAlgorithm::Rs256] {
            let sign = |pkcs8: &[u8]| {
                let key = LocalKey::parse(algorithm, pkcs8).unwrap();
                (key.public_key(), key.sign(b"message").unwrap())
            };
            let pkcs8 = LocalKey::generate(algorithm).unwrap();
            let (public, signature) = sign(&pkcs8);
            let der = spki(algorithm, &pkcs8);
            assert_eq!(PublicKey::from_spki(algorithm, &der).as_ref(), Some(&public));
            assert_eq!(PublicKey::from_spki(algorithm, &der[..der.len() - 1]), None);
            assert!(public.verifies(b"message", &signature) && !public.verifies(b"massage", &signature));
            let (_, foreign) = sign(&LocalKey::generate(algorithm).unwrap());
            assert!(!public.verifies(b"message", &foreign));
        }
    }

    fn spki(algorithm: SigningAlgorithm, pkcs8: &[u8]) -> Vec<u8> {
        match algorithm {
            SigningAlgorithm::Es256 => {
                let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8).unwrap();
                let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
                der.as_ref().to_vec()
            }
            SigningAlgorithm::Rs256 => {
                let key = RsaKeyPair::from_pkcs8(pkcs8).unwrap();
                let der: PublicKeyX509Der<'_> = key.public_key().as_der().unwrap();
                der.as_ref().to_vec()
            }
        }
    }
}
