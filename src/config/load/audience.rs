//! Audiences: exact, and nobody else's.
//!
//! A token made for AWS, npm or a Vault must not open Tollgate as well: whoever receives it there could replay it
//! here. So the audiences that other relying parties, or platforms by default, ask for are refused.

use std::str::FromStr;

/// Longest audience, in bytes.
const MAX_AUDIENCE_BYTES: usize = 512;

/// Audiences of well-known relying parties, lower-case. Sources: their pages on OIDC federation.
const FOREIGN: &[&str] = &[
    "sts.amazonaws.com",
    "sts.amazonaws.com.cn",
    "api://azureadtokenexchange",
    "api://azureadtokenexchangechina",
    "api://azureadtokenexchangeusgov",
    "vault",
    "openbao",
    "sigstore",
    "pypi",
    "testpypi",
    "rubygems.org",
    "https://www.nuget.org",
    "kubernetes",
    "kubernetes.default.svc",
    "https://kubernetes.default.svc",
    "https://kubernetes.default.svc.cluster.local",
    "https://gitlab.com",
    "https://github.com",
];

/// Beginnings of such audiences. GitHub's default is `https://github.com/OWNER`; Google's names a pool.
const FOREIGN_STARTS: &[&str] =
    &["https://iam.googleapis.com/", "//iam.googleapis.com/", "https://github.com/", "https://gitlab.com/"];

/// An audience: 1 to 512 printable ASCII characters without spaces, `*` or `#`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Audience(pub(super) String);

/// A text that cannot be an audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an audience is 1 to {MAX_AUDIENCE_BYTES} printable ASCII characters, without spaces, `*` or `#`")]
pub(super) struct InvalidAudience;

impl FromStr for Audience {
    type Err = InvalidAudience;
    /// `#` is left to what follows an audience: the key that a token is bound to.
    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        let fits = (1..=MAX_AUDIENCE_BYTES).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'*' | b'#'));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidAudience) }
    }
}

impl Audience {
    /// True if the audience is that of a well-known relying party, or a platform's default.
    pub(super) fn is_foreign(&self) -> bool {
        let text = self.0.to_ascii_lowercase();
        let text = text.trim_end_matches('/');
        FOREIGN.contains(&text) || FOREIGN_STARTS.iter().any(|start| text.starts_with(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn i_06_audiences_of_others_are_known() {
        for text in [
            "sts.amazonaws.com",
            "api://AzureADTokenExchange",
            "https://iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
            "//iam.googleapis.com/projects/1",
            "vault",
            "sigstore",
            "https://github.com/acme",
            "https://gitlab.com/",
        ] {
            assert!(text.parse::<Audience>().unwrap().is_foreign(), "{text}");
        }
        assert!(!"https://tollgate.example".parse::<Audience>().unwrap().is_foreign());
        assert!(!"vault.acme.example".parse::<Audience>().unwrap().is_foreign());
    }

    #[test]
    fn i_06_audiences_are_exact_and_bounded() {
        for text in ["", "a b", "*", "https://*.example", "a\n", "é", "a#jkt=b"] {
            assert_eq!(text.parse::<Audience>(), Err(InvalidAudience), "{text:?}");
        }
        assert!("a".repeat(513).parse::<Audience>().is_err());
    }
}
