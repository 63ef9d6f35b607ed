//! How a decision ended, as searches name it.

use std::fmt;
use std::str::FromStr;

use super::Code;

/// Outcomes that are no refusal codes.
const GOOD: [&str; 3] = ["allow", "would_allow", "permit"];

/// An outcome of a decision: `allow`, `would_allow`, `permit` or a refusal code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutcomeName(String);

/// Not the name of an outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected allow, would_allow, permit or a refusal code, such as policy_denied")]
pub struct UnknownOutcome;

impl FromStr for OutcomeName {
    type Err = UnknownOutcome;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = GOOD.contains(&text) || Code::ALL.iter().any(|code| code.as_str() == text);
        if known { Ok(Self(text.to_owned())) } else { Err(UnknownOutcome) }
    }
}

impl fmt::Display for OutcomeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_or_a_good_end_is_an_outcome_and_nothing_else_is() {
        for text in ["allow", "permit", "blocked", "policy_denied"] {
            assert_eq!(text.parse::<OutcomeName>().map(|name| name.to_string()).as_deref(), Ok(text));
        }
        for text in ["", "deny", "ALLOW", "blocked "] {
            assert_eq!(text.parse::<OutcomeName>(), Err(UnknownOutcome), "{text}");
        }
    }
}
