//! An issuer's key: what signs the tokens that are exchanged, and the floor that verifying and signing cannot go below.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::Fallible;

/// A private key with its `kid`.
pub(crate) enum Signer {
    /// RS256, 2048 bits: what GitHub, GitLab and Kubernetes sign with.
    Rsa(Box<rsa::KeyPair>),
    /// ES256.
    Ec(Box<EcdsaKeyPair>),
}

impl Signer {
    pub(crate) fn rsa() -> Fallible<Self> {
        Ok(Self::Rsa(Box::new(rsa::KeyPair::generate(KeySize::Rsa2048)?)))
    }

    pub(crate) fn ec() -> Fallible<Self> {
        Ok(Self::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?)))
    }

    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ec(_) => "ES256",
        }
    }

    /// The public key as issuers publish it.
    pub(crate) fn jwk(&self) -> Fallible<Value> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (kid, alg) = ("bench", self.algorithm());
        Ok(match self {
            Self::Rsa(pair) => {
                let key = pair.public_key();
                let (n, e) = (key.modulus(), key.exponent());
                let (n, e) = (n.big_endian_without_leading_zero(), e.big_endian_without_leading_zero());
                json!({ "kty": "RSA", "kid": kid, "alg": alg, "use": "sig", "n": text(n), "e": text(e) })
            }
            Self::Ec(pair) => {
                let (x, y) = pair.public_key().as_ref().get(1..).ok_or("no point")?.split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "alg": alg, "use": "sig", "x": text(x), "y": text(y) })
            }
        })
    }

    /// `claims` as a signed JWT.
    pub(crate) fn sign(&self, claims: &Value) -> Fallible<String> {
        self.sign_with(&json!({ "alg": self.algorithm(), "kid": "bench", "typ": "JWT" }), claims)
    }

    /// The same with another header, whose algorithm is this key's.
    pub(crate) fn sign_with(&self, header: &Value, claims: &Value) -> Fallible<String> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = URL_SAFE_NO_PAD.encode(self.signature(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    /// The raw signature of `message`.
    pub(crate) fn signature(&self, message: &[u8]) -> Fallible<Vec<u8>> {
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)?;
                Ok(signature)
            }
            Self::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message)?.as_ref().to_vec()),
        }
    }

    /// The public key, parsed once, as a verifier keeps it.
    pub(crate) fn verifier(&self) -> Fallible<ParsedPublicKey> {
        Ok(match self {
            Self::Rsa(pair) => {
                ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key().as_der()?.as_ref())?
            }
            Self::Ec(pair) => ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key().as_ref())?,
        })
    }
}
