//! What a provider plans and mints.

use jiff::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

/// What finds a credential again at its target, known before it is minted and recorded with the authorisation.
///
/// Sealed in the store: a Vault accessor is a right to revoke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Handle {
    /// An AWS role session, as CloudTrail names it.
    Aws {
        /// ARN of the role that is assumed.
        role_arn: String,
        /// `RoleSessionName`; holds the decision id.
        session_name: String,
    },
    /// The Vault login whose child the credential is: revoking it ends both.
    Vault {
        /// Accessor of the login.
        accessor: String,
    },
    /// A token that Tollgate signs itself.
    Jwt {
        /// The token's `jti`.
        jti: String,
    },
}

/// How a credential can end before it expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Revocability {
    /// The target revokes it at once.
    Now,
    /// Nothing ends it before `dies_at`.
    DiesAtExpiry,
}

/// An AWS window that closes before the session ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// When the session policy's Deny starts to refuse every call.
    pub window_ends: Timestamp,
    /// When AWS itself ends the session.
    pub session_ends: Timestamp,
}

/// A minted credential that is not recorded yet: it can be leased or discarded, not handed out.
#[derive(Debug)]
pub struct Minted {
    /// The secret part.
    pub credential: Credential,
    /// When it stops to work, by the target's own word.
    pub dies_at: Timestamp,
    /// Whether it can be ended earlier.
    pub revocability: Revocability,
    /// For AWS windows under 15 minutes.
    pub window: Option<Window>,
}

/// How a renewal prolongs what a lease's holder may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Renewal {
    /// The credential that its holder has lives longer.
    Extends,
    /// Its holder gets another credential; the one before dies at its own time.
    Replaces,
}

/// What a renewal gave.
#[derive(Debug)]
pub enum Prolonged {
    /// The credential lives longer.
    Extended {
        /// When it dies now, by the target's own word.
        dies_at: Timestamp,
    },
    /// Another credential.
    Replaced(Minted),
}

impl Prolonged {
    /// When the lease's last credential dies.
    pub const fn dies_at(&self) -> Timestamp {
        match self {
            Self::Extended { dies_at } => *dies_at,
            Self::Replaced(minted) => minted.dies_at,
        }
    }
}

/// The secret part of a credential. `Debug` shows its kind and nothing else.
pub enum Credential {
    /// AWS session keys.
    Aws(AwsKeys),
    /// A Vault token and where to use it.
    Vault {
        /// Address of the Vault server.
        address: String,
        /// Vault namespace, if the target has one.
        namespace: Option<String>,
        /// The child token.
        token: SecretString,
    },
    /// A bearer token signed by Tollgate.
    Jwt {
        /// The token in compact form.
        token: SecretString,
    },
}

/// AWS session keys (`Credentials` of the STS API).
pub struct AwsKeys {
    /// `AccessKeyId`; not secret.
    pub access_key_id: String,
    /// `SecretAccessKey`.
    pub secret_access_key: SecretString,
    /// `SessionToken`.
    pub session_token: SecretString,
    /// Region to put into the client's environment.
    pub region: String,
    /// Endpoint override for AWS-shaped targets.
    pub endpoint: Option<String>,
}

impl std::fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AwsKeys(..)")
    }
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Aws(_) => "Credential::Aws(..)",
            Self::Vault { .. } => "Credential::Vault(..)",
            Self::Jwt { .. } => "Credential::Jwt(..)",
        })
    }
}
