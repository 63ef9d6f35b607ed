//! Keys that sign test tokens, and their public halves as JWKs.

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// Making an RSA key is slow; one serves all tests.
static RSA: LazyLock<Arc<RsaKeyPair>> =
    LazyLock::new(|| Arc::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap()));

pub(in crate::identity) struct Signer {
    pub(in crate::identity) kid: &'static str,
    key: Key,
}

enum Key {
    Rsa(Arc<RsaKeyPair>),
    Ec(EcdsaKeyPair),
    Ed(Ed25519KeyPair),
}

impl Signer {
    /// The one RSA key.
    pub(in crate::identity) fn rsa(kid: &'static str) -> Self {
        Self { kid, key: Key::Rsa(Arc::clone(&RSA)) }
    }

    /// A fresh P-256 key.
    pub(in crate::identity) fn ec(kid: &'static str) -> Self {
        Self { kid, key: Key::Ec(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()) }
    }

    /// A fresh Ed25519 key.
    pub(in crate::identity) fn ed(kid: &'static str) -> Self {
        Self { kid, key: Key::Ed(Ed25519KeyPair::generate().unwrap()) }
    }

    pub(in crate::identity) fn jwk(&self) -> Value {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match &self.key {
            Key::Rsa(key) => {
                let PublicKeyComponents { n, e } = PublicKeyComponents::<Vec<u8>>::from(key.public_key());
                json!({"kty": "RSA", "use": "sig", "kid": self.kid, "n": b64(&n), "e": b64(&e)})
            }
            Key::Ec(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "kid": self.kid, "x": b64(x), "y": b64(y)})
            }
            Key::Ed(key) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": self.kid, "x": b64(key.public_key().as_ref())})
            }
        }
    }

    pub(in crate::identity) fn header(&self) -> Value {
        let alg = match &self.key {
            Key::Rsa(_) => "RS256",
            Key::Ec(_) => "ES256",
            Key::Ed(_) => "EdDSA",
        };
        json!({"alg": alg, "typ": "JWT", "kid": self.kid})
    }

    /// A token over `claims` with the usual header.
    pub(in crate::identity) fn token(&self, claims: &Value) -> String {
        self.token_of(&self.header(), &claims.to_string())
    }

    /// A token over any header and payload text; the key signs with the header's algorithm if it can.
    pub(in crate::identity) fn token_of(&self, header: &Value, payload: &str) -> String {
        let signed =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload));
        let signature = self.sign(signed.as_bytes(), header["alg"].as_str().unwrap_or_default());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8], algorithm: &str) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
                    "PS256" => &RSA_PSS_SHA256,
                    "RS384" => &RSA_PKCS1_SHA384,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(padding, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }
}
