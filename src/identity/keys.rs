//! A JSON Web Key Set (RFC 7517) as verifying keys, each bound to one algorithm.
//!
//! The algorithm comes from the key, never from the token: `alg` of the JWK where it is given, else what its type and
//! curve allow. Symmetric keys are never keys here, so that a public key cannot be used as an HMAC secret.

use std::sync::Arc;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, EcdsaVerificationAlgorithm, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RsaParameters,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::config::{Algorithm, JWKS_LIMITS, MAX_JWKS_KEYS};
use crate::json::{self, JsonError};

/// Smallest and largest RSA modulus, bits (NIST SP 800-131A; what the library verifies).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// Why a document is not a key set. An unusable key is skipped and is no error.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeySetError {
    /// Not strict JSON.
    #[error("the key set cannot be read")]
    Json(#[from] JsonError),
    /// No array `keys` of objects.
    #[error("the key set has no array `keys` of objects")]
    NoKeys,
    /// Too many keys.
    #[error("the key set has more than {MAX_JWKS_KEYS} keys")]
    TooMany,
}

/// The algorithm that RFC 7518, section 3.1, or RFC 8037 calls `name`.
pub(super) fn algorithm_named(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::Rs256,
        "RS384" => Algorithm::Rs384,
        "RS512" => Algorithm::Rs512,
        "PS256" => Algorithm::Ps256,
        "ES256" => Algorithm::Es256,
        "ES384" => Algorithm::Es384,
        "EdDSA" => Algorithm::EdDsa,
        _ => return None,
    })
}

/// A public key with the one algorithm it verifies.
pub(super) struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// The algorithm the key is bound to.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// True if `signature` over `message` is by this key.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }
}

struct Named {
    kid: Option<String>,
    key: Arc<VerifyingKey>,
}

/// The usable keys of one issuer.
#[derive(Default)]
pub(super) struct KeySet {
    keys: Vec<Named>,
    skipped: usize,
}

impl KeySet {
    /// Reads a key set and keeps what can verify an identity token.
    pub(super) fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document = json::object(document, JWKS_LIMITS)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeys)?;
        if keys.len() > MAX_JWKS_KEYS {
            return Err(KeySetError::TooMany);
        }
        let jwks: Option<Vec<_>> = keys.iter().map(Value::as_object).collect();
        Ok(Self::of(jwks.ok_or(KeySetError::NoKeys)?))
    }

    /// What of `jwks` can verify an identity token.
    pub(super) fn of<'a>(jwks: impl IntoIterator<Item = &'a Map<String, Value>>) -> Self {
        let mut set = Self::default();
        jwks.into_iter().for_each(|jwk| set.add(jwk));
        set.drop_ambiguous();
        set
    }

    /// The one key with this id and algorithm. Without an id, the only key of that algorithm: with several, the
    /// choice would be a guess (OpenID Connect Core, section 10.1).
    pub(super) fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Option<&Arc<VerifyingKey>> {
        let fits = |named: &&Named| {
            named.key.algorithm == algorithm && (kid.is_none() || named.kid.as_deref() == kid)
        };
        let mut fitting = self.keys.iter().filter(fits);
        let first = fitting.next()?;
        fitting.next().is_none().then_some(&first.key)
    }

    /// True if no key can verify anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that were left out: encryption keys, unknown types, weak or broken ones.
    pub(super) const fn skipped(&self) -> usize {
        self.skipped
    }

    fn add(&mut self, jwk: &Map<String, Value>) {
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) => Some(kid.clone()),
            Some(_) => return self.skipped += 1,
        };
        let keys = if signs(jwk) { verifying_keys(jwk) } else { Vec::new() };
        if keys.is_empty() {
            self.skipped += 1;
        }
        self.keys.extend(keys.into_iter().map(|key| Named { kid: kid.clone(), key: Arc::new(key) }));
    }

    /// Two different keys under one id and algorithm verify nothing: which of them is meant, nobody can say. The same
    /// key twice counts once.
    fn drop_ambiguous(&mut self) {
        let same_name = |a: &Named, b: &Named| a.kid == b.kid && a.key.algorithm == b.key.algorithm;
        let all = std::mem::take(&mut self.keys);
        let ambiguous: Vec<bool> = all
            .iter()
            .map(|one| {
                one.kid.is_some()
                    && all
                        .iter()
                        .any(|other| same_name(one, other) && one.key.key.as_ref() != other.key.key.as_ref())
            })
            .collect();
        for (named, ambiguous) in all.into_iter().zip(ambiguous) {
            let repeated = named.kid.is_some() && self.keys.iter().any(|kept| same_name(kept, &named));
            if ambiguous {
                self.skipped += 1;
            } else if !repeated {
                self.keys.push(named);
            }
        }
    }
}

/// True for a public key meant for signatures (RFC 7517, sections 4.2 and 4.3).
fn signs(jwk: &Map<String, Value>) -> bool {
    let usage = jwk.get("use").is_none_or(|usage| usage == "sig");
    let operations = jwk.get("key_ops").is_none_or(|ops| {
        ops.as_array().is_some_and(|ops| ops.iter().any(|operation| operation == "verify"))
    });
    // A published private part: everybody can sign with this key.
    usage && operations && !jwk.contains_key("d")
}

/// The key in a proof's header, for the one `algorithm` that the header names; never a key of an issuer.
pub(super) fn embedded(jwk: &Map<String, Value>, algorithm: Algorithm) -> Option<VerifyingKey> {
    if !signs(jwk) {
        return None;
    }
    verifying_keys(jwk).into_iter().find(|key| key.algorithm == algorithm)
}

/// One key per algorithm that the JWK may verify; none if it is of no use.
fn verifying_keys(jwk: &Map<String, Value>) -> Vec<VerifyingKey> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    let allowed: &[Algorithm] = match (text("kty"), text("crv")) {
        (Some("RSA"), None) => &[Algorithm::Rs256, Algorithm::Rs384, Algorithm::Rs512, Algorithm::Ps256],
        (Some("EC"), Some("P-256")) => &[Algorithm::Es256],
        (Some("EC"), Some("P-384")) => &[Algorithm::Es384],
        (Some("OKP"), Some("Ed25519")) => &[Algorithm::EdDsa],
        _ => &[],
    };
    let fits = |algorithm: &Algorithm| match jwk.get("alg") {
        None => true,
        Some(named) => named.as_str().and_then(algorithm_named) == Some(*algorithm),
    };
    let build = |algorithm: Algorithm| Some(VerifyingKey { algorithm, key: public_key(algorithm, jwk)? });
    allowed.iter().copied().filter(|algorithm| fits(algorithm)).filter_map(build).collect()
}

fn public_key(algorithm: Algorithm, jwk: &Map<String, Value>) -> Option<ParsedPublicKey> {
    match algorithm {
        Algorithm::Rs256 => rsa(&RSA_PKCS1_2048_8192_SHA256, jwk),
        Algorithm::Rs384 => rsa(&RSA_PKCS1_2048_8192_SHA384, jwk),
        Algorithm::Rs512 => rsa(&RSA_PKCS1_2048_8192_SHA512, jwk),
        Algorithm::Ps256 => rsa(&RSA_PSS_2048_8192_SHA256, jwk),
        Algorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED, 32, jwk),
        Algorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED, 48, jwk),
        Algorithm::EdDsa => {
            let point = bytes(jwk, "x").filter(|point| point.len() == 32)?;
            ParsedPublicKey::new(&ED25519, point).ok()
        }
    }
}

/// RFC 7518, section 6.3.1. Leading zero bytes, which some issuers publish, do not count.
fn rsa(parameters: &'static RsaParameters, jwk: &Map<String, Value>) -> Option<ParsedPublicKey> {
    let number = |name| {
        let bytes = bytes(jwk, name)?;
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        bytes.get(zeros..).map(<[u8]>::to_vec)
    };
    let (n, e) = (number("n")?, number("e")?);
    let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
    // With an exponent of 1 every text is its own signature; an even one is no RSA key.
    let odd = e.last().is_some_and(|last| last % 2 == 1) && e != [1];
    if !RSA_BITS.contains(&bits) || !odd || e.len() > 4 {
        return None;
    }
    PublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()
}

/// RFC 7518, section 6.2.1: both coordinates in full length. The library checks that the point is on the curve.
fn ec(
    parameters: &'static EcdsaVerificationAlgorithm,
    length: usize,
    jwk: &Map<String, Value>,
) -> Option<ParsedPublicKey> {
    let coordinate = |name| bytes(jwk, name).filter(|coordinate| coordinate.len() == length);
    let uncompressed = [&[4], coordinate("x")?.as_slice(), coordinate("y")?.as_slice()].concat();
    ParsedPublicKey::new(parameters, uncompressed).ok()
}

fn bytes(jwk: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::signer::Signer;
    use serde_json::json;

    fn with(mut jwk: Value, changes: Value) -> Value {
        let Value::Object(changes) = changes else { panic!("an object") };
        jwk.as_object_mut().unwrap().extend(changes);
        jwk
    }

    fn set(keys: Value) -> KeySet {
        let document = Value::from_iter([("keys".to_owned(), keys)]);
        KeySet::parse(document.to_string().as_bytes()).unwrap()
    }

    fn found(set: &KeySet, kid: &str, algorithm: Algorithm) -> bool {
        set.find(Some(kid), algorithm).is_some()
    }

    #[test]
    fn i_03_binds_a_key_to_its_algorithm() {
        let rsa = Signer::rsa("r").jwk();
        let bare = set(json!([rsa]));
        assert!(found(&bare, "r", Algorithm::Rs256) && found(&bare, "r", Algorithm::Ps256));
        assert!(!found(&bare, "r", Algorithm::Es256) && !found(&bare, "r", Algorithm::EdDsa));

        let bound = set(json!([with(rsa, json!({"alg": "RS256"}))]));
        assert!(found(&bound, "r", Algorithm::Rs256) && !found(&bound, "r", Algorithm::Rs512));

        let ec = Signer::ec("e").jwk();
        assert!(found(&set(json!([ec])), "e", Algorithm::Es256));
        for wrong in
            [json!({"alg": "ES384"}), json!({"alg": "HS256"}), json!({"alg": 1}), json!({"crv": "P-384"})]
        {
            assert!(set(json!([with(ec.clone(), wrong.clone())])).is_empty(), "{wrong}");
        }
    }

    #[test]
    fn i_03_skips_symmetric_encryption_weak_and_broken_keys() {
        let (rsa, ec, ed) = (Signer::rsa("k").jwk(), Signer::ec("k").jwk(), Signer::ed("k").jwk());
        let short = URL_SAFE_NO_PAD.encode([0xff; 128]);
        let unusable = json!([
            {"kty": "oct", "kid": "k", "k": "AAAA", "alg": "HS256"},
            {"kty": "future", "kid": "k"},
            {"kid": "k"},
            with(rsa.clone(), json!({"use": "enc"})),
            with(rsa.clone(), json!({"key_ops": ["encrypt"]})),
            with(rsa.clone(), json!({"d": "AQAB"})),
            with(rsa.clone(), json!({"kid": 7})),
            with(rsa.clone(), json!({"n": short})),
            with(rsa.clone(), json!({"e": "AQ"})),
            with(rsa.clone(), json!({"e": "Ag"})),
            with(rsa.clone(), json!({"n": "not base64!"})),
            with(rsa, json!({"alg": "RSA-OAEP"})),
            with(ec.clone(), json!({"x": "AAAA"})),
            with(ec.clone(), json!({"y": ec["x"]})),
            with(ed.clone(), json!({"crv": "X25519"})),
            with(ed, json!({"x": "AAAA"})),
        ]);
        let count = unusable.as_array().unwrap().len();
        let set = set(unusable);
        assert!(set.is_empty());
        assert_eq!(set.skipped(), count);
    }

    #[test]
    fn a_broken_key_does_not_hide_a_good_one() {
        let set = set(json!([{"kty": "future", "kid": "a"}, Signer::ed("b").jwk()]));
        assert!(found(&set, "b", Algorithm::EdDsa));
        assert!(set.find(Some("a"), Algorithm::EdDsa).is_none());
    }

    #[test]
    fn two_keys_of_one_name_verify_nothing_and_the_same_key_twice_counts_once() {
        let (one, other) = (Signer::ec("k").jwk(), Signer::ec("k").jwk());
        assert!(!found(&set(json!([one, other])), "k", Algorithm::Es256));
        assert!(found(&set(json!([one, one])), "k", Algorithm::Es256));
        let two_types = set(json!([one, Signer::ed("k").jwk()]));
        assert!(found(&two_types, "k", Algorithm::Es256) && found(&two_types, "k", Algorithm::EdDsa));
    }

    #[test]
    fn a_token_without_key_id_needs_exactly_one_key_of_its_algorithm() {
        let (one, other) = (Signer::ec("a").jwk(), Signer::ec("b").jwk());
        assert!(set(json!([one])).find(None, Algorithm::Es256).is_some());
        assert!(set(json!([one, other])).find(None, Algorithm::Es256).is_none());
    }

    #[test]
    fn i_09_refuses_documents_that_are_no_bounded_key_set() {
        let parse = |text: &str| KeySet::parse(text.as_bytes());
        assert!(matches!(parse("<html>"), Err(KeySetError::Json(JsonError::NotJson { .. }))));
        assert!(matches!(parse(r#"{"keys":[],"keys":[]}"#), Err(KeySetError::Json(JsonError::Duplicate(_)))));
        assert!(matches!(parse(r#"{"keys":{}}"#), Err(KeySetError::NoKeys)));
        assert!(matches!(parse(r#"{"keys":["x"]}"#), Err(KeySetError::NoKeys)));
        let many = json!({"keys": vec![json!({}); MAX_JWKS_KEYS + 1]}).to_string();
        assert!(matches!(parse(&many), Err(KeySetError::TooMany)));
        assert!(parse(r#"{"keys":[]}"#).unwrap().is_empty());
    }
}
