//! Names that configuration and callers use: lower-case, bounded, safe to print, to log and to put in a path. Their text
//! is shared: a request copies dozens of them.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};

/// Longest name, in bytes. Leaves room for `role:<tenant>:<role>` within the 127 bytes that GCP allows a subject.
const MAX_NAME_BYTES: usize = 60;

/// A name that breaks its grammar; the message states the grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} must match {grammar} and have at most {MAX_NAME_BYTES} bytes")]
pub struct InvalidName {
    what: &'static str,
    grammar: &'static str,
}

/// What may stand between a name's first character and its end.
#[derive(Clone, Copy)]
enum Inner {
    /// `[a-z0-9_-]`, with `/` and `.` between parts.
    Path,
    /// `[a-z0-9_.:-]`.
    Plain,
    /// `[a-z0-9_]`: a Rego identifier.
    Identifier,
    /// Identifiers joined by dots.
    Dotted,
}

fn fits(inner: Inner, name: &str) -> bool {
    let starts = |part: &str| {
        part.bytes().next().is_some_and(|first| match inner {
            Inner::Path | Inner::Plain => first.is_ascii_lowercase() || first.is_ascii_digit(),
            Inner::Identifier | Inner::Dotted => first.is_ascii_lowercase() || first == b'_',
        })
    };
    let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    let inside = |part: &str| {
        part.bytes().all(|byte| {
            word(byte)
                || match inner {
                    Inner::Path => matches!(byte, b'-' | b'.'),
                    Inner::Plain => matches!(byte, b'-' | b'.' | b':'),
                    Inner::Identifier | Inner::Dotted => false,
                }
        })
    };
    let part = |part: &str| starts(part) && inside(part);
    name.len() <= MAX_NAME_BYTES
        && match inner {
            Inner::Path => name.split('/').all(part),
            Inner::Dotted => name.split('.').all(part),
            Inner::Plain | Inner::Identifier => part(name),
        }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $what:literal, $inner:ident, $grammar:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                if fits(Inner::$inner, text) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidName { what: $what, grammar: $grammar })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                text.parse()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )+};
}

names! {
    /// A thing that can be asked for, such as `deploy/production`.
    RoleName: "a role name", Path, "[a-z0-9][a-z0-9_.-]*, parts joined by /";
    /// A named subset of a role.
    ScopeName: "a scope", Plain, "[a-z0-9][a-z0-9_.:-]*";
    /// The boundary of configuration, visibility and delegation.
    TenantName: "a tenant name", Plain, "[a-z0-9][a-z0-9_.:-]*";
    /// A configured target: one Vault, one AWS partition and region, one token audience.
    TargetName: "a target name", Plain, "[a-z0-9][a-z0-9_.:-]*";
    /// A configured issuer entry (the name of its file).
    IssuerName: "an issuer name", Plain, "[a-z0-9][a-z0-9_.:-]*";
    /// A Rego package below `data`, such as `ci.deploy`.
    PackageName: "a package name", Dotted, "[a-z_][a-z0-9_]*, parts joined by a dot";
    /// A key of `input.context`.
    FactKey: "a fact key", Identifier, "[a-z_][a-z0-9_]*";
    /// A key of `input.identity`.
    AttributeName: "an attribute name", Identifier, "[a-z_][a-z0-9_]*";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_grammar_says() {
        assert!("deploy/production".parse::<RoleName>().is_ok());
        assert!("repo:read".parse::<ScopeName>().is_ok());
        assert!("ci.deploy".parse::<PackageName>().is_ok());
        assert!("commit_signed".parse::<FactKey>().is_ok());
    }

    #[test]
    fn refuses_traversal_upper_case_controls_and_length() {
        for bad in ["", "/", "a//b", "../x", "a/..", "A", "a b", "a\n", "a/", "-a", "é"] {
            assert!(bad.parse::<RoleName>().is_err(), "{bad:?}");
        }
        assert!("a".repeat(MAX_NAME_BYTES).parse::<RoleName>().is_ok());
        assert!("a".repeat(MAX_NAME_BYTES + 1).parse::<RoleName>().is_err());
        assert!("ci..deploy".parse::<PackageName>().is_err());
        assert!("a.b".parse::<FactKey>().is_err());
    }

    #[test]
    fn deserialises_through_the_same_grammar() {
        assert!(serde_json::from_str::<ScopeName>(r#""READ""#).is_err());
    }
}
