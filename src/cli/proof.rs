//! What proves who asks, or where: a token, or the certificate that the connection shows.

use std::str::FromStr;

use spiffe::SpiffeIdError;

use super::agent::Choice;
use super::token::TokenSource;

/// The word for a certificate.
const X509_SVID: &str = "x509-svid";

/// Where a proof comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ProofSource {
    /// A token.
    Token(TokenSource),
    /// An X.509-SVID of the Workload API, shown on the connection.
    Certificate(Choice),
}

impl ProofSource {
    /// Whose certificate it is.
    pub(super) const fn certificate(&self) -> Option<&Choice> {
        match self {
            Self::Certificate(choice) => Some(choice),
            Self::Token(_) => None,
        }
    }
}

impl FromStr for ProofSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == X509_SVID => Ok(Self::Certificate(Choice::First)),
            Some((X509_SVID, id)) => {
                let id = id.parse().map_err(|error: SpiffeIdError| format!("the SPIFFE ID: {error}"))?;
                Ok(Self::Certificate(Choice::Named(id)))
            }
            _ => text.parse().map(Self::Token),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_of_the_first_identity_or_of_one_that_is_named() {
        assert_eq!("x509-svid".parse(), Ok(ProofSource::Certificate(Choice::First)));
        let id = "spiffe://acme.example/ns/shop".parse().unwrap();
        assert_eq!(
            "x509-svid:spiffe://acme.example/ns/shop".parse(),
            Ok(ProofSource::Certificate(Choice::Named(id)))
        );
        assert!("x509-svid:shop".parse::<ProofSource>().unwrap_err().contains("SPIFFE ID"));
        assert_eq!("github".parse(), Ok(ProofSource::Token(TokenSource::GitHub)));
    }
}
