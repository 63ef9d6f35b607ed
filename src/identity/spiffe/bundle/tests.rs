use super::*;
use crate::config::Algorithm;
use crate::identity::tests::signer::Signer;
use crate::identity::tests::svid::{authority, bundle};
use serde_json::json;

fn read(document: &Value) -> Result<Published, BundleError> {
    parse(document.to_string().as_bytes())
}

#[test]
fn a_document_is_taken_apart_by_use() {
    let (ca, ec) = (authority(), Signer::ec("k"));
    let published = read(&bundle(&[&ca], &[&ec])).unwrap();
    assert!(published.keys.find(Some("k"), Algorithm::Es256).is_some());
    assert!(published.authorities.is_some());
    assert_eq!((published.sequence, published.refresh), (Some(1), Some(Duration::from_mins(5))));
    assert_eq!(published.skipped, 0);

    let tokens_only = read(&bundle(&[], &[&ec])).unwrap();
    assert!(tokens_only.authorities.is_none() && !tokens_only.is_empty());
    assert!(read(&json!({"keys": []})).unwrap().is_empty());
    let pem = parse(ca.pem().as_bytes()).unwrap();
    assert!(pem.authorities.is_some() && pem.keys.is_empty());
}

#[test]
fn i_16_an_entry_of_another_use_or_form_verifies_nothing() {
    let (ca, ec) = (authority(), Signer::ec("k"));
    let whole = bundle(&[&ca], &[&ec]);
    let (certificate, key) = (&whole["keys"][0], &whole["keys"][1]);
    let with = |entry: &Value, name: &str, value: Value| {
        let mut entry = entry.clone();
        entry[name] = value;
        entry
    };
    let x5c = &certificate["x5c"][0];
    for bad in [
        with(certificate, "use", "sig".into()),
        with(certificate, "use", Value::Null),
        with(certificate, "x5c", json!([])),
        with(certificate, "x5c", json!([x5c, x5c])),
        with(certificate, "x5c", json!(["not base64!"])),
        with(certificate, "x5c", json!(["AAAA"])),
        with(key, "use", "sig".into()),
        with(key, "kid", Value::Null),
        with(key, "kid", "".into()),
        with(key, "d", "AQAB".into()),
        with(key, "key_ops", json!(["sign"])),
    ] {
        let published = read(&json!({"keys": [bad]})).unwrap();
        assert!(published.is_empty(), "{bad}");
        assert_eq!(published.skipped, 1, "{bad}");
    }
}

#[test]
fn refuses_what_is_no_bounded_bundle() {
    let refused = |text: &str| parse(text.as_bytes()).map(|_| ()).unwrap_err();
    for text in ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n"] {
        assert!(matches!(refused(text), BundleError::Pem), "{text}");
    }
    assert!(matches!(refused("{"), BundleError::Json(_)));
    assert!(matches!(refused(r#"{"keys":[],"keys":[]}"#), BundleError::Json(JsonError::Duplicate(_))));
    assert!(matches!(refused(r#"{"keys":{}}"#), BundleError::NoKeys));
    assert!(matches!(refused(r#"{"keys":["x"]}"#), BundleError::NoKeys));
    for name in ["spiffe_sequence", "spiffe_refresh_hint"] {
        for value in ["-1", "1.5", "\"1\""] {
            let text = format!(r#"{{"keys":[],"{name}":{value}}}"#);
            assert!(matches!(refused(&text), BundleError::Number(_)), "{text}");
        }
    }
    let many = json!({"keys": vec![json!({}); MAX_JWKS_KEYS + 1]});
    assert!(matches!(read(&many), Err(BundleError::TooMany)));
}
