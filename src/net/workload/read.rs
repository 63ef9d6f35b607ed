//! What the Workload API sends, bounded, as the rest of Tollgate uses it.
//!
//! What Tollgate cannot take of a message is left out, and holds nothing else back. The crate `spiffe` reads a message as a
//! whole, though, and has no other way: one bundle or SVID in it that the crate cannot parse costs the whole message, as a
//! stream that breaks does.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};
use spiffe::{JwtBundleSet, X509Context, X509Svid};

use super::Svid;
use super::error::StreamError;
use crate::causes;

/// Most trust domains: its own, and those that it is federated with. Beyond, those that come first by name are taken.
const MAX_DOMAINS: usize = 200;
/// Most certificates of an SVID.
const MAX_CHAIN: usize = 8;

/// Authorities of certificates, by trust domain.
pub(super) type Authorities = BTreeMap<String, Vec<CertificateDer<'static>>>;
/// Keys of tokens as JWKs, by trust domain.
pub(super) type Keys = BTreeMap<String, Vec<Map<String, Value>>>;

/// A message, and what of it was left out: at most one line for the SVID and one for the bundles.
#[derive(Debug)]
pub(super) struct Message<T> {
    pub(super) content: T,
    pub(super) left_out: Vec<String>,
}

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
    pub(super) fn read(context: &X509Context, wanted: Option<&str>) -> Message<Self> {
        let own = match wanted {
            Some(id) => context.svids().iter().find(|svid| svid.spiffe_id().to_string() == id),
            None => context.default_svid(),
        };
        let (svid, unusable) = match own.map(|svid| usable(svid)).transpose() {
            Ok(svid) => (svid.map(Arc::new), None),
            Err(why) => (None, Some(format!("its SVID cannot be used: {why}"))),
        };
        let bundles = context.bundle_set();
        let der = |certificate: &spiffe::Certificate| CertificateDer::from(certificate.as_bytes().to_vec());
        let authorities = bundles
            .iter()
            .take(MAX_DOMAINS)
            .map(|(domain, bundle)| (domain.to_string(), bundle.authorities().iter().map(der).collect()));
        Message {
            content: Self { svid, authorities: authorities.collect() },
            left_out: unusable.into_iter().chain(beyond(bundles.len())).collect(),
        }
    }
}

/// The SVID as TLS shows it, or why it cannot.
fn usable(svid: &X509Svid) -> Result<Svid, String> {
    if svid.cert_chain().len() > MAX_CHAIN {
        return Err(format!("its chain has more than {MAX_CHAIN} certificates"));
    }
    Svid::new(svid).map_err(|error| causes::in_full(&error))
}

/// That of `found` trust domains not all are taken.
fn beyond(found: usize) -> Option<String> {
    (found > MAX_DOMAINS)
        .then(|| format!("of {found} trust domains the first {MAX_DOMAINS} by name are taken, and no other"))
}

/// Reads a message of the stream of JWT bundles.
///
/// # Errors
/// A key is no JSON, which the crate has made sure of.
pub(super) fn keys(bundles: &JwtBundleSet) -> Result<Message<Keys>, StreamError> {
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
    let content = bundles.iter().take(MAX_DOMAINS).map(of).collect::<Result<_, StreamError>>()?;
    Ok(Message { content, left_out: beyond(bundles.len()).into_iter().collect() })
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
    /// True if all that `former` vouched by is here still.
    pub fn keeps(&self, former: &Self) -> bool {
        former.authorities.iter().all(|authority| self.authorities.contains(authority))
            && former.keys.iter().all(|key| self.keys.contains(key))
    }

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
    use rcgen::{CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SanType};
    use spiffe::{JwtBundle, TrustDomain, X509Bundle, X509BundleSet};

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
        let read = keys(&bundles).unwrap().content;
        let kids: Vec<_> = read["a.example"].iter().map(|key| key["kid"].as_str().unwrap()).collect();
        assert_eq!(kids, ["jwt-svid", "none", "sig"]);
    }

    #[test]
    fn an_svid_of_no_use_and_too_many_domains_hold_no_bundle_back() {
        let made = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).unwrap();
            params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            let key = KeyPair::generate().unwrap();
            (params.self_signed(&key).unwrap(), key)
        };
        let (certificate, own) = made("spiffe://a.example/tollgate");
        let (_, other) = made("spiffe://a.example/tollgate");
        let mut bundles = X509BundleSet::new();
        for number in 0..MAX_DOMAINS + 3 {
            let domain = TrustDomain::new(format!("d{number:03}.example")).unwrap();
            bundles.add_bundle(X509Bundle::parse_from_der(domain, certificate.der()).unwrap());
        }
        let bundles = Arc::new(bundles);
        let read = |key: &KeyPair| {
            let svid = X509Svid::parse_from_der(certificate.der(), key.serialized_der()).unwrap();
            X509::read(&X509Context::new([Arc::new(svid)], Arc::clone(&bundles)), None)
        };
        let (good, broken) = (read(&own), read(&other));
        assert!(good.content.svid.is_some() && broken.content.svid.is_none());
        assert!(broken.left_out[0].starts_with("its SVID cannot be used"), "{:?}", broken.left_out);
        let beyond = "of 203 trust domains the first 200 by name are taken, and no other";
        assert_eq!((good.left_out, &broken.left_out[1]), (vec![beyond.to_owned()], &beyond.to_owned()));
        assert_eq!(broken.content.authorities.len(), MAX_DOMAINS);
        assert_eq!(broken.content.authorities.last_key_value().unwrap().0, "d199.example");
    }
}
