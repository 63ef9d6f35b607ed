//! What the Workload API sends, bounded, as the rest of Tollgate uses it.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};
use spiffe::{JwtBundleSet, X509Context};

use super::Svid;
use super::error::StreamError;

/// Most SVIDs of one process: one per registration entry.
pub(super) const MAX_SVIDS: usize = 100;
/// Most trust domains: its own, and those that it is federated with.
pub(super) const MAX_DOMAINS: usize = 200;
/// Most certificates of an SVID.
pub(super) const MAX_CHAIN: usize = 8;

/// Authorities of certificates, by trust domain.
pub(super) type Authorities = BTreeMap<String, Vec<CertificateDer<'static>>>;
/// Keys of tokens as JWKs, by trust domain.
pub(super) type Keys = BTreeMap<String, Vec<Map<String, Value>>>;

/// One message of the stream of X.509-SVIDs.
#[derive(Debug, Default)]
pub(super) struct X509 {
    /// Our own, if it is among those that were sent.
    pub(super) svid: Option<Arc<Svid>>,
    /// Of all trust domains.
    pub(super) authorities: Authorities,
}

impl X509 {
    /// Reads a message; of several SVIDs, `wanted` is ours, or the first.
    pub(super) fn read(context: &X509Context, wanted: Option<&str>) -> Result<Self, StreamError> {
        let (svids, bundles) = (context.svids(), context.bundle_set());
        let long = svids.iter().any(|svid| svid.cert_chain().len() > MAX_CHAIN);
        if svids.len() > MAX_SVIDS || bundles.len() > MAX_DOMAINS || long {
            return Err(StreamError::TooLarge);
        }
        let own = match wanted {
            Some(id) => svids.iter().find(|svid| svid.spiffe_id().to_string() == id),
            None => context.default_svid(),
        };
        let svid = own.map(|svid| Svid::new(svid)).transpose().map_err(StreamError::Svid)?;
        let der = |certificate: &spiffe::Certificate| CertificateDer::from(certificate.as_bytes().to_vec());
        let authorities = bundles
            .iter()
            .map(|(domain, bundle)| (domain.to_string(), bundle.authorities().iter().map(der).collect()));
        Ok(Self { svid: svid.map(Arc::new), authorities: authorities.collect() })
    }
}

/// Reads a message of the stream of JWT bundles.
pub(super) fn keys(bundles: &JwtBundleSet) -> Result<Keys, StreamError> {
    if bundles.len() > MAX_DOMAINS {
        return Err(StreamError::TooLarge);
    }
    let unreadable = |error: serde_json::Error| StreamError::Broken(format!("a key cannot be read: {error}"));
    let of = |(domain, bundle): (&spiffe::TrustDomain, &Arc<spiffe::JwtBundle>)| {
        let mut keys: Vec<Map<String, Value>> = bundle
            .jwt_authorities()
            .map(|key| serde_json::from_slice(key.jwk_json()))
            .collect::<Result<_, _>>()
            .map_err(unreadable)?;
        keys.retain(signs_tokens);
        // The crate keeps them without an order: in one, they can be compared.
        keys.sort_by_cached_key(|key| key.get("kid").map(Value::to_string));
        Ok((domain.to_string(), keys))
    };
    bundles.iter().map(of).collect()
}

/// True for a key that is for tokens, or says nothing of its use. Others are of others (SPIFFE Trust Domain and Bundle,
/// section 4.2.2; RFC 7517, section 4.2).
fn signs_tokens(key: &Map<String, Value>) -> bool {
    key.get("use").is_none_or(|of| of == "sig" || of == "jwt-svid")
}

/// What vouches for the identities of one trust domain.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TrustBundle {
    /// Authorities of certificates.
    pub authorities: Vec<CertificateDer<'static>>,
    /// Keys of tokens, as JWKs.
    pub keys: Vec<Map<String, Value>>,
}

impl TrustBundle {
    /// The same as a bundle document (SPIFFE Trust Domain and Bundle, section 4), as far as Tollgate reads one.
    pub fn document(&self) -> Vec<u8> {
        let authority =
            |der: &CertificateDer<'_>| json!({ "use": "x509-svid", "x5c": [STANDARD.encode(der)] });
        let key = |key: &Map<String, Value>| {
            let mut key = key.clone();
            key.insert("use".to_owned(), "jwt-svid".into());
            Value::Object(key)
        };
        let keys: Vec<_> = self.authorities.iter().map(authority).chain(self.keys.iter().map(key)).collect();
        json!({ "keys": keys }).to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use spiffe::{JwtBundle, TrustDomain};

    use super::*;

    #[test]
    fn a_key_of_another_use_does_not_become_one_of_tokens() {
        let key = |kid: &str| json!({ "kid": kid, "kty": "EC" });
        let of = |kid: &str, of: Value| {
            let mut key = key(kid);
            key["use"] = of;
            key
        };
        let jwks = json!({ "keys": [
            key("none"), of("sig", "sig".into()), of("jwt-svid", "jwt-svid".into()), of("enc", "enc".into()),
            of("x509-svid", "x509-svid".into()), of("null", Value::Null), of("list", json!(["sig"])),
        ]});
        let domain = TrustDomain::new("a.example").unwrap();
        let bundle = JwtBundle::from_jwt_authorities(domain, jwks.to_string().as_bytes()).unwrap();
        let mut bundles = JwtBundleSet::new();
        bundles.add_bundle(bundle);
        let read = keys(&bundles).unwrap();
        let kids: Vec<_> = read["a.example"].iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, ["jwt-svid", "none", "sig"]);
    }
}
