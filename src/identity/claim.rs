//! Finding a claim and reading it as one of few flat types.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::domain::Scalar;

/// Longest text that becomes an attribute, bytes. Names, refs and URLs fit; commit messages are not attributes.
pub(super) const MAX_TEXT: usize = 1024;

/// A claim is missing where it must be, or is not what it must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("claim `{path}` {problem}")]
pub(super) struct ClaimError {
    /// Name or JSON pointer.
    pub path: String,
    /// What is wrong with it, as a predicate.
    pub problem: &'static str,
}

impl ClaimError {
    pub(super) fn new(path: &str, problem: &'static str) -> Self {
        Self { path: path.to_owned(), problem }
    }
}

/// The claim at `path`: with a leading slash a JSON pointer (RFC 6901), such as `/kubernetes.io/namespace`; else the
/// member of that very name, such as `https://acme.example/team`. Null counts as absent.
pub(super) fn lookup<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let value = match path.strip_prefix('/') {
        None => claims.get(path),
        Some(pointer) => match pointer.split_once('/') {
            None => claims.get(&*unescape(pointer)),
            // The rest begins with its slash, as a pointer must.
            Some((first, _)) => claims.get(&*unescape(first))?.pointer(pointer.get(first.len()..)?),
        },
    };
    value.filter(|value| !value.is_null())
}

fn unescape(token: &str) -> Cow<'_, str> {
    if token.contains('~') { token.replace("~1", "/").replace("~0", "~").into() } else { token.into() }
}

/// A claim as a flat value: text, whole number or boolean. Objects, lists and fractions have no place in a comparison.
pub(super) fn scalar(path: &str, value: &Value) -> Result<Scalar, ClaimError> {
    match value {
        Value::String(text) if text.len() <= MAX_TEXT => Ok(Scalar::Text(text.clone())),
        Value::String(_) => Err(ClaimError::new(path, "is longer than 1024 bytes")),
        Value::Bool(flag) => Ok(Scalar::Bool(*flag)),
        Value::Number(number) => {
            number.as_i64().map(Scalar::Integer).ok_or_else(|| ClaimError::new(path, "is no whole number"))
        }
        Value::Null | Value::Array(_) | Value::Object(_) => {
            Err(ClaimError::new(path, "is neither text nor number nor boolean"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn finds_names_and_pointers() {
        let claims = json!({
            "sub": "s", "kubernetes.io": {"namespace": "n", "a/b": "slash"},
            "https://acme.example/team": "t", "list": ["x"], "null": null,
        });
        let find = |path: &str| lookup(claims.as_object().unwrap(), path).cloned();
        assert_eq!(find("sub"), Some(json!("s")));
        assert_eq!(find("/sub"), Some(json!("s")));
        assert_eq!(find("/kubernetes.io/namespace"), Some(json!("n")));
        assert_eq!(find("/kubernetes.io/a~1b"), Some(json!("slash")));
        assert_eq!(find("https://acme.example/team"), Some(json!("t")));
        assert_eq!(find("/list/0"), Some(json!("x")));
        for absent in [
            "Sub",
            "",
            "/",
            "null",
            "/null",
            "kubernetes.io/namespace",
            "/sub/x",
            "/list/1",
            "/list/-",
            "/list/",
        ] {
            assert_eq!(find(absent), None, "{absent}");
        }
    }

    #[test]
    fn i_07_only_flat_bounded_values_are_values() {
        assert_eq!(scalar("c", &json!(7)), Ok(Scalar::Integer(7)));
        for bad in
            [json!(1.5), json!(u64::MAX), json!([]), json!({}), json!(null), json!("x".repeat(MAX_TEXT + 1))]
        {
            assert!(scalar("c", &bad).is_err(), "{bad}");
        }
    }
}
