//! What the caller merely claims: only keys that the role admits, of the type that it admits.
//!
//! A declared value is never taken for a verified one; here it is only made safe to show, to record and to compare.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{DeclaredKey, DeclaredType, Role};
use crate::domain::{Code, FactKey, Refusal, Scalar};

/// Checks `declared` against what `role` admits.
///
/// # Errors
/// `declared_key_refused`, naming the key and what is admitted; never the value, which may be hostile.
pub(super) fn check(role: &Role, declared: &BTreeMap<FactKey, Scalar>) -> Result<(), Refusal> {
    for (key, value) in declared {
        let Some(admitted) = role.declared.get(key) else {
            return Err(refused(role, key, &format!("is not admitted; {}", admitted_keys(role))));
        };
        if let Some(wanted) = unmet(admitted, value) {
            return Err(refused(role, key, &wanted));
        }
    }
    let missing = role.declared.iter().find(|(key, spec)| spec.required && !declared.contains_key(*key));
    match missing {
        Some((key, _)) => Err(refused(role, key, "is required: declare it with the request")),
        None => Ok(()),
    }
}

fn refused(role: &Role, key: &FactKey, what: &str) -> Refusal {
    Refusal::new(Code::DeclaredKeyRefused, format!("declared key `{key}` of role {}: {what}", role.name))
}

fn admitted_keys(role: &Role) -> String {
    if role.declared.is_empty() {
        return "the role admits no declared key".to_owned();
    }
    let keys: Vec<_> = role.declared.keys().map(FactKey::as_str).collect();
    format!("the role admits {}", keys.join(", "))
}

/// What is wanted of a value that is not it.
fn unmet(admitted: &DeclaredKey, value: &Scalar) -> Option<String> {
    let fits = match (admitted.kind, value) {
        (DeclaredType::Text { max_bytes }, Scalar::Text(text)) => {
            text.len() <= max_bytes && !text.chars().any(deceives)
        }
        (DeclaredType::Integer, Scalar::Integer(_)) | (DeclaredType::Boolean, Scalar::Bool(_)) => true,
        (DeclaredType::Text { .. }, Scalar::Bool(_) | Scalar::Integer(_))
        | (DeclaredType::Integer, Scalar::Bool(_) | Scalar::Text(_))
        | (DeclaredType::Boolean, Scalar::Integer(_) | Scalar::Text(_)) => false,
    };
    if !fits {
        return Some(match admitted.kind {
            DeclaredType::Text { max_bytes } => {
                format!("must be text of at most {max_bytes} bytes without control characters")
            }
            DeclaredType::Integer => "must be a whole number".to_owned(),
            DeclaredType::Boolean => "must be true or false".to_owned(),
        });
    }
    let one_of = admitted.one_of.as_ref()?;
    (!one_of.contains(value)).then(|| format!("must be one of {}", list(one_of)))
}

/// True for characters that change how the text around them reads: controls, line separators, and the
/// bidirectional overrides and isolates (Unicode Annex 9), which can make an annotation show other words than it has.
fn deceives(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn list(values: &BTreeSet<Scalar>) -> String {
    let texts: Vec<_> = values
        .iter()
        .map(|value| match value {
            Scalar::Bool(value) => value.to_string(),
            Scalar::Integer(value) => value.to_string(),
            Scalar::Text(value) => format!("`{value}`"),
        })
        .collect();
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::testing::role;

    fn key(kind: DeclaredType, required: bool, one_of: Option<&[Scalar]>) -> DeclaredKey {
        DeclaredKey { kind, required, one_of: one_of.map(|values| values.iter().cloned().collect()) }
    }

    fn text(value: &str) -> Scalar {
        Scalar::Text(value.into())
    }

    fn message(declared: &[(&str, Scalar)]) -> String {
        let mut role = role();
        role.declared = [
            (
                "action",
                key(DeclaredType::Text { max_bytes: 16 }, false, Some(&[text("read"), text("write")])),
            ),
            ("purpose", key(DeclaredType::Text { max_bytes: 8 }, true, None)),
            ("count", key(DeclaredType::Integer, false, None)),
            ("urgent", key(DeclaredType::Boolean, false, None)),
        ]
        .into_iter()
        .map(|(name, spec)| (name.parse().unwrap(), spec))
        .collect();
        let declared = declared.iter().map(|(key, value)| (key.parse().unwrap(), value.clone())).collect();
        match check(&role, &declared) {
            Ok(()) => "fits".into(),
            Err(refusal) => {
                assert_eq!(refusal.code, Code::DeclaredKeyRefused);
                refusal.message
            }
        }
    }

    #[test]
    fn admits_what_the_role_admits() {
        let full = [
            ("action", text("write")),
            ("purpose", text("12345678")),
            ("count", Scalar::Integer(-1)),
            ("urgent", Scalar::Bool(false)),
        ];
        assert_eq!(message(&full), "fits");
        assert_eq!(message(&[("purpose", text("é€"))]), "fits");
    }

    #[test]
    fn p_06_refuses_keys_that_the_role_does_not_admit() {
        assert_eq!(
            message(&[("purpose", text("x")), ("commit_signed", Scalar::Bool(true))]),
            "declared key `commit_signed` of role deploy: is not admitted; the role admits action, count, purpose, urgent"
        );
        let refusal = check(&role(), &[("x".parse().unwrap(), text("y"))].into()).unwrap_err();
        assert!(refusal.message.ends_with("the role admits no declared key"), "{}", refusal.message);
    }

    #[test]
    fn refuses_a_missing_required_key() {
        assert!(message(&[]).contains("`purpose` of role deploy: is required"));
    }

    #[test]
    fn p_13_refuses_values_of_another_type() {
        let purpose = ("purpose", text("x"));
        assert!(message(&[("purpose", Scalar::Integer(1))]).contains("must be text of at most 8 bytes"));
        assert!(message(&[("purpose", Scalar::Bool(true))]).contains("must be text of at most 8 bytes"));
        assert!(message(&[purpose.clone(), ("count", text("1"))]).contains("must be a whole number"));
        assert!(
            message(&[purpose.clone(), ("count", Scalar::Bool(true))]).contains("must be a whole number")
        );
        assert!(message(&[purpose.clone(), ("urgent", text("true"))]).contains("must be true or false"));
        assert!(message(&[purpose, ("urgent", Scalar::Integer(1))]).contains("must be true or false"));
    }

    #[test]
    fn refuses_values_outside_the_list_and_names_the_list() {
        let message = message(&[("purpose", text("x")), ("action", text("erase"))]);
        assert!(message.ends_with("must be one of `read`, `write`"), "{message}");
    }

    #[test]
    fn refuses_long_text_and_text_that_deceives() {
        for bad in
            ["123456789", "a\nb", "a\0", "a\u{7f}", "a\u{85}", "a\u{202e}b", "a\u{2066}b", "a\u{2028}b"]
        {
            let message = message(&[("purpose", text(bad))]);
            assert!(message.contains("without control characters"), "{bad:?}");
            assert!(!message.contains(bad), "the value is not echoed");
        }
    }
}
