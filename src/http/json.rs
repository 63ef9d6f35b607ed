//! A request's body as one JSON object, read strictly and bounded.

use serde_json::{Map, Value};

use super::fields::shown;
use crate::domain::{Code, Refusal};
use crate::json::{self, JsonError, Limits};

/// The documented requests need two levels and a few dozen values.
const LIMITS: Limits = Limits { depth: 8, values: 512 };

/// Alerts are whatever their senders make of them.
const ALERT_LIMITS: Limits = Limits { depth: 16, values: 4096 };

/// Reads `bytes` as one JSON object.
pub(super) fn object(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    within(bytes, LIMITS)
}

/// Reads an alert, which may be larger than a request of ours.
pub(super) fn alert(bytes: &[u8]) -> Result<Map<String, Value>, Refusal> {
    within(bytes, ALERT_LIMITS)
}

fn within(bytes: &[u8], limits: Limits) -> Result<Map<String, Value>, Refusal> {
    json::object(bytes, limits).map_err(|error| match error {
        JsonError::Duplicate(key) => {
            Refusal::new(Code::DuplicateParameter, format!("the key {} appears twice", shown(&key)))
        }
        JsonError::TooDeep(_)
        | JsonError::TooMany(_)
        | JsonError::NotAnObject
        | JsonError::NotJson { .. } => Refusal::new(Code::RequestMalformed, format!("the body: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> Refusal {
        object(text.as_bytes()).unwrap_err()
    }

    #[test]
    fn i_08_request_refuses_a_key_twice_and_names_it() {
        let twice = refused(r#"{"role":"a","r\u006fle":"b"}"#);
        assert_eq!(twice.code, Code::DuplicateParameter);
        assert_eq!(twice.message, "the key `role` appears twice");
        assert_eq!(refused(r#"{"x":[[{"a":1,"a":1}]]}"#).code, Code::DuplicateParameter);
    }

    #[test]
    fn i_09_request_bounds_depth_and_count() {
        let nested = |levels: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
        assert!(object(nested(LIMITS.depth - 1).as_bytes()).is_ok());
        assert_eq!(refused(&nested(100_000)).code, Code::RequestMalformed);
        let list = |items: usize| format!(r#"{{"a":[{}]}}"#, vec!["1"; items].join(","));
        assert!(object(list(LIMITS.values - 1).as_bytes()).is_ok());
        assert_eq!(refused(&list(LIMITS.values)).code, Code::RequestMalformed);
    }

    #[test]
    fn what_is_no_json_object_is_malformed() {
        for bad in ["", "[]", "{", "{} {}"] {
            assert_eq!(refused(bad).code, Code::RequestMalformed, "{bad}");
        }
        assert_eq!(refused("{").message, "the body: not JSON (line 1, column 1)");
    }
}
