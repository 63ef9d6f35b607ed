//! A successful exchange (RFC 8693, section 2.2.1) with our members.

use jiff::Timestamp;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::TokenKind;
use crate::domain::{AwsKeys, Credential, ScopeName};
use crate::http::answer::{GrantAnswer, LeaseAnswer, ends_at};
use crate::ledger::Leased;

/// The answer. Holds secrets: no `Debug`.
#[derive(Serialize)]
pub(super) struct TokenAnswer<'a> {
    access_token: String,
    issued_token_type: &'static str,
    token_type: &'static str,
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<TargetAnswer<'a>>,
    #[serde(flatten)]
    grant: GrantAnswer<'a>,
    lease: LeaseAnswer<'a>,
}

impl<'a> TokenAnswer<'a> {
    /// The answer for `leased`, of which the caller wanted the form `wanted`, `now`.
    pub(super) fn of(leased: &'a Leased, wanted: Option<TokenKind>, now: Timestamp) -> Self {
        let (ends, grant) = (ends_at(leased.minted()), leased.grant());
        let scopes: Vec<_> = grant.scopes().iter().map(ScopeName::as_str).collect();
        let (kind, token_type, access_token) = match leased.credential() {
            Credential::Aws(keys) => (TokenKind::AwsCredentials, "N_A", process_output(keys, ends)),
            Credential::Vault { token, .. } => {
                (TokenKind::VaultToken, "N_A", token.expose_secret().to_owned())
            }
            Credential::Jwt { token } => {
                let kind = wanted.unwrap_or(TokenKind::AccessToken);
                (kind, "Bearer", token.expose_secret().to_owned())
            }
        };
        Self {
            access_token,
            issued_token_type: kind.as_str(),
            token_type,
            expires_in: u64::try_from(ends.duration_since(now).as_secs()).unwrap_or(0),
            scope: scopes.join(" "),
            target: TargetAnswer::of(leased.credential()),
            grant: GrantAnswer::of(grant, leased.minted().window),
            lease: LeaseAnswer::of(leased),
        }
    }
}

/// Where a credential is used, if it does not say so itself.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum TargetAnswer<'a> {
    Aws {
        region: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        endpoint: Option<&'a str>,
    },
    Vault {
        address: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        namespace: Option<&'a str>,
    },
}

impl<'a> TargetAnswer<'a> {
    fn of(credential: &'a Credential) -> Option<Self> {
        match credential {
            Credential::Aws(keys) => {
                Some(Self::Aws { region: &keys.region, endpoint: keys.endpoint.as_deref() })
            }
            Credential::Vault { address, namespace, .. } => {
                Some(Self::Vault { address, namespace: namespace.as_deref() })
            }
            Credential::Jwt { .. } => None,
        }
    }
}

/// Session keys as an AWS SDK reads them from a process: version 1 of the `credential_process` format
/// (AWS SDKs and Tools Reference Guide, "Process credential provider").
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ProcessOutput<'a> {
    version: u8,
    access_key_id: &'a str,
    secret_access_key: &'a str,
    session_token: &'a str,
    expiration: Timestamp,
}

fn process_output(keys: &AwsKeys, expiration: Timestamp) -> String {
    let output = ProcessOutput {
        version: 1,
        access_key_id: &keys.access_key_id,
        secret_access_key: keys.secret_access_key.expose_secret(),
        session_token: keys.session_token.expose_secret(),
        expiration,
    };
    // Texts, a number and a time always serialise.
    serde_json::to_string(&output).unwrap_or_default()
}
