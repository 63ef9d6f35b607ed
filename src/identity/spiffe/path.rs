//! SPIFFE IDs in their one spelling, and what their paths say.

use serde_json::{Map, Value};
use spiffe::SpiffeId;

use crate::config::PathTemplate;
use crate::domain::{Code, Refusal};
use crate::identity::claim::ClaimError;

/// Longest SPIFFE ID, bytes (SPIFFE-ID, section 2.3).
const MAX_ID: usize = 2048;

/// The claim that an id is read from, which is no attribute.
pub(in crate::identity) const TEXT_OF_ID: &str = "sub";

/// The SPIFFE ID of a workload that `text` is.
///
/// # Errors
/// What is wrong with it, as a predicate. Upper case in scheme or trust domain is refused though the specification would
/// lower it: one workload has one spelling, in policies, blocks and records.
pub(in crate::identity) fn id(text: &str) -> Result<SpiffeId, &'static str> {
    if text.len() > MAX_ID {
        return Err("is longer than 2048 bytes");
    }
    let id = SpiffeId::new(text).map_err(|_| "is no SPIFFE ID")?;
    if id.to_string() != text {
        return Err("is a SPIFFE ID in another spelling than its one");
    }
    if id.path().is_empty() { Err("names a trust domain and no workload of it") } else { Ok(id) }
}

/// What the verified `claims` of an identity of `trust_domain` say about it, whether of a token or of a certificate: its id,
/// its trust domain, and what the first of `paths` that fits makes of its path. Other claims say nothing: a certificate
/// has none.
///
/// # Errors
/// `token_claim_invalid`; `identity_not_admitted` if there are forms of paths and none fits.
pub(in crate::identity) fn facts(
    claims: &Map<String, Value>,
    trust_domain: &str,
    paths: &[PathTemplate],
) -> Result<Map<String, Value>, Refusal> {
    let wrong = |problem| ClaimError::new(TEXT_OF_ID, problem);
    let text = claims.get(TEXT_OF_ID).and_then(Value::as_str).ok_or_else(|| wrong("must be text"))?;
    let id = id(text).map_err(wrong)?;
    if id.trust_domain_name() != trust_domain {
        return Err(wrong("is of another trust domain").into());
    }
    let mut facts = Map::from_iter([
        (TEXT_OF_ID.to_owned(), text.into()),
        ("spiffe_id".to_owned(), text.into()),
        ("trust_domain".to_owned(), trust_domain.into()),
    ]);
    if paths.is_empty() {
        return Ok(facts);
    }
    let found = paths.iter().find_map(|template| template.read(id.path()));
    let found = found.ok_or_else(|| {
        Refusal::new(Code::IdentityNotAdmitted, "the identity is valid, but it is not admitted here")
            .with_detail(format!("the path {} has none of the forms in `paths`", id.path()))
    })?;
    facts.extend(found.into_iter().map(|(name, value)| (name.to_string(), value.into())));
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn i_16_an_id_has_one_spelling() {
        let longest = format!("spiffe://acme.example/{}", "a".repeat(2048 - 22));
        for good in
            ["spiffe://acme.example/ns/shop/sa/deployer", "spiffe://a/A.b-c_1", "spiffe://a/...", &longest]
        {
            assert_eq!(id(good).unwrap().to_string(), good);
        }
        let too_long = format!("{longest}a");
        for bad in [
            "",
            "spiffe://",
            "spiffe://acme.example",
            "spiffe://acme.example/",
            "SPIFFE://acme.example/a",
            "spiffe://Acme.example/a",
            "https://acme.example/a",
            "spiffe:///a",
            "spiffe://acme.example/a/../b",
            "spiffe://acme.example/./a",
            "spiffe://acme.example/a//b",
            "spiffe://acme.example/a/",
            "spiffe://acme.example/a%2fb",
            "spiffe://acme.example/a b",
            "spiffe://acme.example/\u{e4}",
            "spiffe://acme.example/a?x=1",
            "spiffe://acme.example/a#x",
            "spiffe://acme.example:443/a",
            "spiffe://u@acme.example/a",
            " spiffe://acme.example/a",
            &too_long,
        ] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn i_16_the_first_form_that_fits_gives_attributes_and_none_admits_nobody() {
        let forms = ["/ns/{namespace}/sa/{service_account}", "/ns/{first}/{second}/{third}"];
        let forms: Vec<PathTemplate> = forms.iter().map(|text| text.parse().unwrap()).collect();
        let read = |sub: Value, forms: &[PathTemplate]| {
            let claims = json!({"sub": sub, "namespace": "forged"});
            facts(claims.as_object().unwrap(), "acme.example", forms).map_err(|refusal| refusal.code)
        };
        let shop = read(json!("spiffe://acme.example/ns/shop/sa/d"), &forms).unwrap();
        assert_eq!((&shop["namespace"], &shop["service_account"]), (&json!("shop"), &json!("d")));
        assert!(!shop.contains_key("first"));
        let bare = read(json!("spiffe://acme.example/ns/shop/sa/d"), &[]).unwrap();
        assert!(!bare.contains_key("namespace"), "a claim of this name says nothing");
        assert_eq!(read(json!("spiffe://acme.example/vm/7"), &forms), Err(Code::IdentityNotAdmitted));
        for bad in
            [json!("spiffe://acme.example.evil/ns/shop/sa/d"), json!(7), json!("spiffe://acme.example")]
        {
            assert_eq!(read(bad.clone(), &forms), Err(Code::TokenClaimInvalid), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_an_id_that_is_written_in_another_way(text in "(spiffe|SPIFFE)://[a-zA-Z0-9.%/_-]{0,40}") {
            if let Ok(id) = id(&text) {
                prop_assert_eq!(id.to_string(), text);
                prop_assert!(!id.path().split('/').any(|segment| segment == ".." || segment == "."));
            }
        }
    }
}
