//! The documents by which others find the public keys. Pure: the same text can be served, or exported as static files.

use serde_json::{Value, json};

use super::SigningAlgorithm;
use crate::domain::IssuerUrl;

/// The grant that `/token` takes (RFC 8693, section 2.1).
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Claims of a federation token.
const FEDERATION_CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// Claims of an access token (RFC 9068, section 2.2; `act`: RFC 8693, section 4.1).
const CREDENTIAL_CLAIMS: [&str; 10] =
    ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "act"];

/// The issuer of tokens that only providers use: `{url}/federation`.
pub fn federation_issuer(url: &IssuerUrl) -> String {
    under(url, "federation")
}

/// `{url}/.well-known/openid-configuration`: the issuer of credentials handed out.
pub fn credentials(url: &IssuerUrl, algorithms: impl IntoIterator<Item = SigningAlgorithm>) -> String {
    openid_configuration(url.as_str(), &under(url, "jwks"), &CREDENTIAL_CLAIMS, algorithms)
}

/// `{url}/federation/.well-known/openid-configuration`: what AWS, Vault and the other targets read.
pub fn federation(url: &IssuerUrl, algorithms: impl IntoIterator<Item = SigningAlgorithm>) -> String {
    let jwks = under(url, "federation/jwks");
    openid_configuration(&federation_issuer(url), &jwks, &FEDERATION_CLAIMS, algorithms)
}

/// `{url}/.well-known/oauth-authorization-server` (RFC 8414, section 2): where and how to exchange a token.
///
/// There is no authorization endpoint, so `response_types_supported` has no element and is left out (section 3.2).
///
/// `proofs` are the algorithms of proofs of possession (RFC 9449, section 5.1).
pub fn authorization_server(url: &IssuerUrl, proofs: &[&str]) -> String {
    json!({
        "issuer": url,
        "token_endpoint": under(url, "token"),
        "jwks_uri": under(url, "jwks"),
        "grant_types_supported": [TOKEN_EXCHANGE],
        "token_endpoint_auth_methods_supported": ["none"],
        "dpop_signing_alg_values_supported": proofs,
    })
    .to_string()
}

/// OpenID Connect Discovery 1.0, section 3. Like other issuers of workload tokens, without an authorization endpoint.
fn openid_configuration(
    issuer: &str,
    jwks_uri: &str,
    claims: &[&str],
    algorithms: impl IntoIterator<Item = SigningAlgorithm>,
) -> String {
    let algorithms: Vec<Value> = algorithms.into_iter().map(|algorithm| algorithm.as_str().into()).collect();
    json!({
        "issuer": issuer,
        "jwks_uri": jwks_uri,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": algorithms,
        "claims_supported": claims,
    })
    .to_string()
}

/// `path` under the public URL; a URL that ends in a slash does not get a second one (Discovery, section 4).
fn under(url: &IssuerUrl, path: &str) -> String {
    format!("{}/{path}", url.as_str().trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn the_two_issuers_have_separate_names_and_keys() {
        let url = "https://tollgate.example/base".parse().unwrap();
        let own = parsed(&credentials(&url, [SigningAlgorithm::Es256, SigningAlgorithm::Rs256]));
        assert_eq!(own["issuer"], "https://tollgate.example/base");
        assert_eq!(own["jwks_uri"], "https://tollgate.example/base/jwks");
        assert_eq!(own["id_token_signing_alg_values_supported"], json!(["ES256", "RS256"]));
        let federation = parsed(&federation(&url, [SigningAlgorithm::Rs256]));
        assert_eq!(federation["issuer"], "https://tollgate.example/base/federation");
        assert_eq!(federation["jwks_uri"], "https://tollgate.example/base/federation/jwks");
        assert_eq!(federation["id_token_signing_alg_values_supported"], json!(["RS256"]));
        for document in [own, federation] {
            assert_eq!(document["response_types_supported"], json!(["id_token"]));
            assert_eq!(document["subject_types_supported"], json!(["public"]));
            assert!(document["claims_supported"].as_array().unwrap().contains(&json!("sub")));
        }
    }

    #[test]
    fn s_13_the_authorization_server_offers_token_exchange_and_names_no_role_or_scope() {
        let document =
            parsed(&authorization_server(&"https://tollgate.example".parse().unwrap(), &["ES256"]));
        assert_eq!(document["issuer"], "https://tollgate.example");
        assert_eq!(document["token_endpoint"], "https://tollgate.example/token");
        assert_eq!(document["jwks_uri"], "https://tollgate.example/jwks");
        assert_eq!(document["grant_types_supported"], json!([TOKEN_EXCHANGE]));
        assert_eq!(document["dpop_signing_alg_values_supported"], json!(["ES256"]));
        assert_eq!(document.as_object().unwrap().len(), 6, "{document}");
    }

    #[test]
    fn the_issuer_is_repeated_as_configured_and_paths_get_one_slash() {
        let url = "https://tollgate.example/".parse().unwrap();
        let document = parsed(&credentials(&url, []));
        assert_eq!(document["issuer"], "https://tollgate.example/");
        assert_eq!(document["jwks_uri"], "https://tollgate.example/jwks");
        assert_eq!(federation_issuer(&url), "https://tollgate.example/federation");
    }
}
