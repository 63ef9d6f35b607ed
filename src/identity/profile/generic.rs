//! Any OIDC issuer: one claim identifies, all other attributes, and how far its holders are
//! trusted, come from the issuer entry's own rules.

use serde_json::{Map, Value};

use crate::domain::Scalar;
use crate::identity::claim::{ClaimError, lookup, scalar};

/// The value of `claim`, which the configuration says is never given to anybody else.
pub(super) fn id(claims: &Map<String, Value>, claim: &str) -> Result<String, ClaimError> {
    let value = lookup(claims, claim).ok_or_else(|| ClaimError::new(claim, "is required and missing"))?;
    match scalar(claim, value)? {
        Scalar::Text(text) if !text.is_empty() => Ok(text),
        Scalar::Integer(number) => Ok(number.to_string()),
        Scalar::Text(_) | Scalar::Bool(_) => Err(ClaimError::new(claim, "identifies nobody")),
    }
}
