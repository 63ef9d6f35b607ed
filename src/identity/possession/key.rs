//! The public key in a proof's header.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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
}
