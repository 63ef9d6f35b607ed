//! What an issuer entry adds to its profile: the tenant, and attributes by constant, claim or exact-value table.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::claim::{ClaimError, lookup, scalar};
use crate::config::AttributeRule;
use crate::domain::{AttributeName, Scalar, TenantName};

/// The tenant that `rule` gives. It always gives one or refuses: an identity without a tenant would have no boundary.
pub(super) fn tenant(claims: &Map<String, Value>, rule: &AttributeRule) -> Result<TenantName, ClaimError> {
    let path = match rule {
        AttributeRule::Constant(_) => "tenant",
        AttributeRule::Claim(path) | AttributeRule::Table { claim: path, .. } => path,
    };
    match value(claims, rule)? {
        Some(Scalar::Text(name)) => {
            name.parse().map_err(|_| ClaimError::new(path, "gives no valid tenant name"))
        }
        Some(Scalar::Bool(_) | Scalar::Integer(_)) => {
            Err(ClaimError::new(path, "gives a tenant that is no text"))
        }
        None => Err(ClaimError::new(path, "gives no tenant: it is missing or not in the table")),
    }
}

/// Adds what `rules` give. A rule without a value adds nothing, and an attribute of the profile is never overwritten.
pub(super) fn add(
    attributes: &mut BTreeMap<AttributeName, Value>,
    claims: &Map<String, Value>,
    rules: &BTreeMap<AttributeName, AttributeRule>,
) -> Result<(), ClaimError> {
    for (name, rule) in rules {
        if let Some(value) = value(claims, rule)? {
            attributes.entry(name.clone()).or_insert_with(|| json(value));
        }
    }
    Ok(())
}

fn value(claims: &Map<String, Value>, rule: &AttributeRule) -> Result<Option<Scalar>, ClaimError> {
    let claim = |path: &str| lookup(claims, path).map(|value| scalar(path, value)).transpose();
    match rule {
        AttributeRule::Constant(value) => Ok(Some(value.clone())),
        AttributeRule::Claim(path) => claim(path),
        AttributeRule::Table { claim: path, values } => {
            let key = claim(path)?.map(|value| match value {
                Scalar::Text(text) => text,
                Scalar::Integer(number) => number.to_string(),
                Scalar::Bool(flag) => flag.to_string(),
            });
            Ok(key.and_then(|key| values.get(&key).cloned()))
        }
    }
}

fn json(value: Scalar) -> Value {
    match value {
        Scalar::Text(text) => text.into(),
        Scalar::Integer(number) => number.into(),
        Scalar::Bool(flag) => flag.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn text(value: &str) -> Scalar {
        Scalar::Text(value.into())
    }

    fn table(claim: &str, rows: &[(&str, Scalar)]) -> AttributeRule {
        let values = rows.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        AttributeRule::Table { claim: claim.into(), values }
    }

    fn tenant_of(claims: Value, rule: &AttributeRule) -> Result<String, ClaimError> {
        let Value::Object(claims) = claims else { panic!("an object") };
        tenant(&claims, rule).map(|tenant| tenant.to_string())
    }

    #[test]
    fn tenant_comes_from_constant_claim_or_table() {
        assert_eq!(tenant_of(json!({}), &AttributeRule::Constant(text("acme"))), Ok("acme".into()));
        assert_eq!(
            tenant_of(json!({"org": {"id": "a"}}), &AttributeRule::Claim("/org/id".into())),
            Ok("a".into())
        );
        let rule = table("owner_id", &[("65", text("acme"))]);
        assert_eq!(tenant_of(json!({"owner_id": "65"}), &rule), Ok("acme".into()));
        assert_eq!(tenant_of(json!({"owner_id": 65}), &rule), Ok("acme".into()));
    }

    #[test]
    fn refuses_an_identity_without_a_valid_tenant() {
        let claim = AttributeRule::Claim("org".into());
        for bad in [
            json!({}),
            json!({"org": 7}),
            json!({"org": "Not Valid"}),
            json!({"org": ["a"]}),
            json!({"org": ""}),
        ] {
            assert!(tenant_of(bad.clone(), &claim).is_err(), "{bad}");
        }
        assert!(tenant_of(json!({"org": "b"}), &table("org", &[("a", text("a"))])).is_err());
    }

    #[test]
    fn adds_typed_attributes_and_overwrites_none() {
        let rules = BTreeMap::from([
            ("on_call".parse().unwrap(), table("sub", &[("alice", Scalar::Bool(true))])),
            ("level".parse().unwrap(), AttributeRule::Claim("level".into())),
            ("role".parse().unwrap(), AttributeRule::Claim("absent".into())),
            ("repository".parse().unwrap(), AttributeRule::Constant(text("acme/other"))),
        ]);
        let mut attributes = BTreeMap::from([("repository".parse().unwrap(), json!("acme/shop"))]);
        let claims = json!({"sub": "alice", "level": 3});
        add(&mut attributes, claims.as_object().unwrap(), &rules).unwrap();
        let got: BTreeMap<_, _> =
            attributes.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
        let expected = [("level", json!(3)), ("on_call", json!(true)), ("repository", json!("acme/shop"))];
        assert_eq!(got, BTreeMap::from(expected));

        let structured = json!({"level": {"a": 1}});
        assert!(add(&mut attributes, structured.as_object().unwrap(), &rules).is_err());
    }
}
