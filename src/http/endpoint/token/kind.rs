//! Token type identifiers (RFC 8693, section 3).

use crate::config::{ProviderRole, Role};
use crate::domain::Refusal;
use crate::http::fields::malformed;

/// A kind of token that is issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum TokenKind {
    /// A token to send as bearer.
    AccessToken,
    /// The same, asked for by its format.
    Jwt,
    /// AWS session keys as JSON text, in the form that `credential_process` prints.
    AwsCredentials,
    /// A Vault or OpenBao token.
    VaultToken,
}

impl TokenKind {
    const ALL: [Self; 4] = [Self::AccessToken, Self::Jwt, Self::AwsCredentials, Self::VaultToken];

    /// The identifier. Ours are no registered ones: RFC 8693 has none for what is no OAuth token.
    pub(in crate::http) const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
            Self::AwsCredentials => "urn:tollgate:token-type:aws-credentials",
            Self::VaultToken => "urn:tollgate:token-type:vault-token",
        }
    }

    /// Reads an identifier.
    ///
    /// # Errors
    /// `request_malformed`, listing what is issued.
    pub(super) fn parse(text: &str) -> Result<Self, Refusal> {
        let unknown = || {
            let known: Vec<_> = Self::ALL.iter().map(|kind| kind.as_str()).collect();
            malformed(format!("requested_token_type must be one of {}", known.join(", ")))
        };
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(unknown)
    }

    /// What `role` gives by default.
    pub(super) const fn given_by(role: &Role) -> Self {
        match role.provider {
            ProviderRole::Aws(_) => Self::AwsCredentials,
            ProviderRole::Vault(_) => Self::VaultToken,
            ProviderRole::Jwt(_) => Self::AccessToken,
        }
    }

    /// True if `role` can give this: its tokens are JWTs, whatever one calls them.
    pub(super) fn is_given_by(self, role: &Role) -> bool {
        let given = Self::given_by(role);
        self == given || (self == Self::Jwt && given == Self::AccessToken)
    }
}
