//! The core check that a verified identity is one of ours, before any policy.
//!
//! Anybody can get a token for our audience from a shared issuer; `branch == "main"` alone admits the planet. This
//! check is outside Rego and cannot be switched off.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::claim::{lookup, scalar};
use crate::config::Requirement;
use crate::domain::{Code, Refusal, Scalar};

/// Why an identity is not ours. For the record alone: to a stranger it would draw a map of the organisation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotAdmitted {
    /// The token has no such claim.
    #[error("required claim `{0}` is missing")]
    Missing(String),
    /// The claim has another value or type.
    #[error(
        "required claim `{claim}` has a value of type {found}, which is none of those listed (of type {listed})"
    )]
    NotListed {
        /// The claim.
        claim: String,
        /// Type of the token's value.
        found: &'static str,
        /// Types of the accepted values.
        listed: String,
    },
}

/// Admits an identity that fulfils every requirement, compared by type and value: `65` is not `"65"`.
pub(super) fn admit(claims: &Map<String, Value>, require: &[Requirement]) -> Result<(), NotAdmitted> {
    require.iter().try_for_each(|requirement| fulfil(claims, requirement))
}

fn fulfil(claims: &Map<String, Value>, requirement: &Requirement) -> Result<(), NotAdmitted> {
    let claim = &requirement.claim;
    let value = lookup(claims, claim).ok_or_else(|| NotAdmitted::Missing(claim.clone()))?;
    let value = scalar(claim, value).ok();
    if value.as_ref().is_some_and(|value| requirement.any_of.contains(value)) {
        return Ok(());
    }
    let kinds: BTreeSet<_> = requirement.any_of.iter().map(Scalar::kind).collect();
    Err(NotAdmitted::NotListed {
        claim: claim.clone(),
        found: value.map_or("structured", |value| value.kind()),
        listed: kinds.into_iter().collect::<Vec<_>>().join(", "),
    })
}

impl From<NotAdmitted> for Refusal {
    fn from(error: NotAdmitted) -> Self {
        Self::new(Code::IdentityNotAdmitted, "the identity is valid, but it is not admitted here")
            .with_detail(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(claims: &Value, any_of: &[Scalar]) -> Result<(), NotAdmitted> {
        let requirement = Requirement { claim: "owner_id".into(), any_of: any_of.to_vec() };
        admit(claims.as_object().unwrap(), &[requirement])
    }

    #[test]
    fn i_19_admits_only_listed_values_of_the_listed_type() {
        let ours = [Scalar::Text("65".into()), Scalar::Text("66".into())];
        assert_eq!(outcome(&json!({"owner_id": "65"}), &ours), Ok(()));
        assert_eq!(outcome(&json!({"owner_id": 66}), &[Scalar::Integer(66)]), Ok(()));
        for stranger in [
            json!({"owner_id": "999"}),
            json!({"owner_id": 65}),
            json!({"owner_id": " 65"}),
            json!({"owner_id": ["65"]}),
            json!({"owner_id": true}),
        ] {
            assert!(matches!(outcome(&stranger, &ours), Err(NotAdmitted::NotListed { .. })), "{stranger}");
        }
        for absent in [json!({}), json!({"owner_id": null}), json!({"OWNER_ID": "65"})] {
            assert!(matches!(outcome(&absent, &ours), Err(NotAdmitted::Missing(_))), "{absent}");
        }
        assert!(outcome(&json!({"owner_id": "65"}), &[]).is_err(), "an empty list admits nobody");
    }

    #[test]
    fn i_19_every_requirement_counts() {
        let both = ["a", "b"]
            .map(|claim| Requirement { claim: claim.into(), any_of: vec![Scalar::Text("x".into())] });
        assert_eq!(admit(json!({"a": "x", "b": "x"}).as_object().unwrap(), &both), Ok(()));
        assert!(admit(json!({"a": "x"}).as_object().unwrap(), &both).is_err());
    }

    #[test]
    fn i_19_tells_the_reason_only_to_the_record() {
        let error = outcome(&json!({"owner_id": 65}), &[Scalar::Text("65".into())]).unwrap_err();
        let refusal = Refusal::from(error);
        assert_eq!(refusal.code, Code::IdentityNotAdmitted);
        assert!(!refusal.message.contains("owner_id"));
        let detail = refusal.detail.unwrap();
        assert!(
            detail.contains("owner_id") && detail.contains("integer") && detail.contains("text"),
            "{detail}"
        );
    }
}
