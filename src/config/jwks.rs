//! A look at a JWKS that configuration carries: public, asymmetric, bounded. Identity parses the keys themselves.

use serde_json::Value;

use crate::json::{self, Limits};

/// Most keys of one set, whether configured or fetched.
pub const MAX_JWKS_KEYS: usize = 64;

/// Largest bundle of a trust domain, bytes: as large as a key set that is fetched.
pub const MAX_BUNDLE_BYTES: usize = 256 * 1024;

/// What a key set may hold: a key has about ten members, and certificate chains add a few elements.
pub const JWKS_LIMITS: Limits = Limits { depth: 6, values: MAX_JWKS_KEYS * 32 };

/// Members that only private or symmetric keys have (RFC 7518, section 6).
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Why a text is not a usable JWKS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidJwks {
    /// Not JSON, or without `keys`.
    #[error("this is not a JWKS: a JSON object with a list `keys` of 1 to {MAX_JWKS_KEYS} objects")]
    Shape,
    /// A private key.
    #[error("this holds a private or symmetric key; whoever reads the configuration could sign tokens")]
    Private,
}

/// Checks a JWKS document (RFC 7517, section 5).
pub(super) fn check(text: &str) -> Result<(), InvalidJwks> {
    let document = json::object(text.as_bytes(), JWKS_LIMITS).map_err(|_| InvalidJwks::Shape)?;
    let keys = document.get("keys").and_then(Value::as_array).ok_or(InvalidJwks::Shape)?;
    if keys.is_empty() || keys.len() > MAX_JWKS_KEYS || !keys.iter().all(Value::is_object) {
        return Err(InvalidJwks::Shape);
    }
    if keys.iter().any(is_secret) { Err(InvalidJwks::Private) } else { Ok(()) }
}

/// True for a private or symmetric key.
pub(super) fn is_secret(key: &Value) -> bool {
    let symmetric = key.get("kty").and_then(Value::as_str) == Some("oct");
    symmetric || PRIVATE_MEMBERS.iter().any(|member| key.get(member).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_public_keys_only() {
        assert_eq!(check(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#), Ok(()));
        for text in [r#"{"keys":[{"kty":"EC","d":"secret"}]}"#, r#"{"keys":[{"kty":"oct"}]}"#] {
            assert_eq!(check(text), Err(InvalidJwks::Private), "{text}");
        }
        for text in [
            "",
            "{}",
            r#"{"keys":[]}"#,
            r#"{"keys":["x"]}"#,
            r#"{"keys":{}}"#,
            r#"{"keys":[],"keys":[{"kty":"EC"}]}"#,
            "<html>",
        ] {
            assert_eq!(check(text), Err(InvalidJwks::Shape), "{text}");
        }
    }
}
