//! The URL that names an issuer: of OIDC tokens, or a SPIFFE trust domain.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;
use url::{Host, Url};

/// Longest issuer URL, in bytes.
const MAX_ISSUER_BYTES: usize = 512;

/// Longest trust domain, in bytes (SPIFFE-ID, section 2.1).
const MAX_TRUST_DOMAIN_BYTES: usize = 255;

/// The scheme of trust domains.
const SPIFFE: &str = "spiffe://";

/// An issuer, kept exactly as written: the `iss` claim is compared with it byte by byte (OpenID Connect Core, 3.1.3.7).
/// A SPIFFE trust domain issues as `spiffe://` and its name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct IssuerUrl(String);

/// Why a text cannot name an issuer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidIssuerUrl {
    /// Not an absolute URL with a host, or too long.
    #[error("an issuer is an absolute URL with a host, at most {MAX_ISSUER_BYTES} bytes")]
    Url,
    /// Anything but https, or http to something else than a literal loopback address.
    #[error("an issuer uses https (http only to a literal loopback address, with insecure_loopback = true)")]
    Scheme,
    /// `spiffe://` without the name of a trust domain alone behind it.
    #[error("a trust domain is spiffe:// and 1 to 255 of [a-z0-9._-]")]
    TrustDomain,
    /// User, password, query or fragment.
    #[error("an issuer has no user, password, query or fragment")]
    Extra,
}

impl IssuerUrl {
    /// The issuer as text, as configured.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// True for `http://` to a literal loopback address: legal only where configuration says `insecure_loopback`.
    pub fn is_insecure_loopback(&self) -> bool {
        self.0.starts_with("http://")
    }

    /// The trust domain's name, if this is one: nobody can be asked at such a URL.
    pub fn trust_domain(&self) -> Option<&str> {
        self.0.strip_prefix(SPIFFE)
    }
}

impl FromStr for IssuerUrl {
    type Err = InvalidIssuerUrl;

    fn from_str(text: &str) -> Result<Self, InvalidIssuerUrl> {
        if text.len() > MAX_ISSUER_BYTES || text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(InvalidIssuerUrl::Url);
        }
        if let Some(name) = text.strip_prefix(SPIFFE) {
            return if is_trust_domain(name) {
                Ok(Self(text.to_owned()))
            } else {
                Err(InvalidIssuerUrl::TrustDomain)
            };
        }
        let url = Url::parse(text).map_err(|_| InvalidIssuerUrl::Url)?;
        let loopback = match url.host().ok_or(InvalidIssuerUrl::Url)? {
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
            Host::Domain(_) => false,
        };
        if !(url.scheme() == "https" || (url.scheme() == "http" && loopback)) {
            return Err(InvalidIssuerUrl::Scheme);
        }
        let extra = !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some();
        if extra {
            return Err(InvalidIssuerUrl::Extra);
        }
        Ok(Self(text.to_owned()))
    }
}

/// In one spelling: the small letters of SPIFFE-ID, section 2.1.
fn is_trust_domain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    (1..=MAX_TRUST_DOMAIN_BYTES).contains(&name.len()) && name.bytes().all(fits)
}

impl From<IssuerUrl> for String {
    fn from(issuer: IssuerUrl) -> Self {
        issuer.0
    }
}

impl fmt::Display for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for IssuerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_https_and_literal_loopback_only() {
        let parse = |text: &str| text.parse::<IssuerUrl>().map(|_| ());
        assert_eq!(parse("https://token.actions.githubusercontent.com"), Ok(()));
        assert_eq!(parse("http://127.0.0.1:9000/x"), Ok(()));
        assert_eq!(parse("http://[::1]:9000"), Ok(()));
        assert_eq!(parse("http://localhost:9000"), Err(InvalidIssuerUrl::Scheme));
        assert_eq!(parse("http://10.0.0.1"), Err(InvalidIssuerUrl::Scheme));
        assert_eq!(parse("ftp://a.example"), Err(InvalidIssuerUrl::Scheme));
        assert_eq!(parse("https://u@a.example"), Err(InvalidIssuerUrl::Extra));
        assert_eq!(parse("https://a.example?x=1"), Err(InvalidIssuerUrl::Extra));
        assert_eq!(parse("https://a.example#f"), Err(InvalidIssuerUrl::Extra));
        assert_eq!(parse("a.example"), Err(InvalidIssuerUrl::Url));
        assert_eq!(parse("https://a.example/\n"), Err(InvalidIssuerUrl::Url));
    }

    #[test]
    fn i_16_a_trust_domain_has_one_spelling_and_no_path() {
        let longest = format!("spiffe://{}", "a".repeat(255));
        for good in ["spiffe://acme.example", "spiffe://a_b-1", &longest] {
            let issuer: IssuerUrl = good.parse().unwrap();
            assert_eq!(issuer.trust_domain(), good.strip_prefix("spiffe://"));
        }
        let too_long = format!("{longest}a");
        for bad in ["spiffe://", "spiffe://Acme", "spiffe://a/b", "spiffe://a:1", "spiffe://u@a", &too_long] {
            assert_eq!(bad.parse::<IssuerUrl>(), Err(InvalidIssuerUrl::TrustDomain), "{bad}");
        }
        assert_eq!("https://acme.example".parse::<IssuerUrl>().unwrap().trust_domain(), None);
    }
}
