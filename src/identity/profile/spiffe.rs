//! SPIFFE trust domains: a workload is its SPIFFE ID, which the domain gives to nobody else. What its path says is read
//! before; how far its holders are trusted, the issuer entry says.

use serde_json::{Map, Value};

use crate::identity::caller::Attributes;
use crate::identity::claim::{ClaimError, MAX_TEXT};
use crate::identity::spiffe::{TEXT_OF_ID, id as parse};

/// The path without its first slash: behind the trust domain it is the whole SPIFFE ID.
pub(super) fn id(facts: &Map<String, Value>) -> Result<String, ClaimError> {
    let wrong = |problem| ClaimError::new(TEXT_OF_ID, problem);
    let text = facts.get(TEXT_OF_ID).and_then(Value::as_str).ok_or_else(|| wrong("must be text"))?;
    let id = parse(text).map_err(wrong)?;
    Ok(id.path().trim_start_matches('/').to_owned())
}

/// All that the id says, but for its text as a claim.
pub(super) fn attributes(facts: &Map<String, Value>) -> Result<Attributes, ClaimError> {
    let said = facts.iter().filter(|(name, _)| *name != TEXT_OF_ID);
    let one = |(name, value): (&String, &Value)| {
        if value.as_str().is_none_or(|text| text.len() > MAX_TEXT) {
            return Err(ClaimError::new(name, "is longer than 1024 bytes"));
        }
        let name = name.parse().map_err(|_| ClaimError::new(name, "is no attribute's name"))?;
        Ok((name, value.clone()))
    };
    said.map(one).collect()
}
