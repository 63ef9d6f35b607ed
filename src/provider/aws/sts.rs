//! The two calls to AWS STS, by the official SDK: `AssumeRoleWithWebIdentity` and `AssumeRole`.
//!
//! Credentials, region and endpoint come from configuration and from nowhere else: no profile, no environment, no
//! instance metadata. The SDK prints whole requests at trace level, the federation token among them, so its calls run
//! without a log subscriber: an operator who turns tracing up does not turn secrets on. Signatures (`SigV4`) carry the
//! machine's time, for AWS compares it with the real one.

use std::time::Duration;

use aws_sdk_sts::Client;
use aws_sdk_sts::config::retry::RetryConfig;
use aws_sdk_sts::config::timeout::TimeoutConfig;
use aws_sdk_sts::config::{BehaviorVersion, Builder, Credentials, Region, StalledStreamProtectionConfig};
use aws_sdk_sts::types::{AssumedRoleUser, Credentials as Keys, PolicyDescriptorType, Tag};
use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tracing::instrument::WithSubscriber;
use tracing::subscriber::NoSubscriber;

use super::SessionRequest;
use super::connector::Connector;
use super::refusal::refusal;
use crate::config::{AwsAccess, AwsTarget};
use crate::domain::Refusal;
use crate::net;
use crate::provider::upstream::unexpected;

/// Longest time for a call, with its second attempt.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts: STS issues another session for a repeated call, and nobody holds the first one's keys.
const ATTEMPTS: u32 = 2;

/// A client of one STS endpoint.
pub(super) struct Sts(Client);

/// A session as STS answered it, not yet compared with what was asked.
pub(super) struct Session {
    /// `AccessKeyId`.
    pub(super) access_key_id: String,
    /// `SecretAccessKey`.
    pub(super) secret_access_key: SecretString,
    /// `SessionToken`.
    pub(super) token: SecretString,
    /// `Expiration`.
    pub(super) expires_at: Timestamp,
    /// `AssumedRoleUser.Arn`.
    pub(super) arn: String,
}

impl Sts {
    /// Sets up a client; contacts nobody.
    pub(super) fn new(target: &AwsTarget, client: net::Client) -> Self {
        let timeouts = TimeoutConfig::builder().operation_timeout(OPERATION_TIMEOUT).build();
        let mut config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(target.region.clone()))
            .http_client(Connector(client))
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS))
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .use_fips(false)
            .use_dual_stack(false);
        if let Some(endpoint) = &target.endpoint {
            config = config.endpoint_url(endpoint.as_str());
        }
        if let AwsAccess::Ambient { access_key_id, secret_access_key, session_token } = &target.access {
            config = config.credentials_provider(Credentials::new(
                access_key_id,
                secret_access_key.expose_secret(),
                session_token.as_ref().map(|token| token.expose_secret().to_owned()),
                None,
                "tollgate-configuration",
            ));
        }
        Self(Client::from_conf(config.build()))
    }

    /// `AssumeRoleWithWebIdentity`, unsigned. Tags and source identity ride in the token.
    ///
    /// # Errors
    /// One of the `provider_*` codes, or `session_policy_too_large`.
    pub(super) async fn with_web_identity(
        &self,
        request: &SessionRequest,
        token: &SecretString,
    ) -> Result<Session, Refusal> {
        let call = self
            .0
            .assume_role_with_web_identity()
            .role_arn(request.role_arn.as_str())
            .role_session_name(&request.session_name)
            .web_identity_token(token.expose_secret())
            .duration_seconds(request.duration)
            .set_policy(request.policy.inline.clone())
            .set_policy_arns(managed(request));
        let answer = call.send().with_subscriber(NoSubscriber::default()).await;
        let answer = answer.map_err(|error| refusal(&error, &[token]))?;
        session(answer.credentials, answer.assumed_role_user)
    }

    /// `AssumeRole`, signed with the configured keys.
    ///
    /// # Errors
    /// One of the `provider_*` codes, or `session_policy_too_large`.
    pub(super) async fn with_own_keys(
        &self,
        request: &SessionRequest,
        external_id: Option<&str>,
    ) -> Result<Session, Refusal> {
        let tags = request.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let tags: Vec<Tag> = tags.collect::<Result<_, _>>().map_err(|error| unexpected(error.to_string()))?;
        let call = self
            .0
            .assume_role()
            .role_arn(request.role_arn.as_str())
            .role_session_name(&request.session_name)
            .source_identity(&request.session_name)
            .duration_seconds(request.duration)
            .set_external_id(external_id.map(str::to_owned))
            .set_policy(request.policy.inline.clone())
            .set_policy_arns(managed(request))
            .set_transitive_tag_keys((!tags.is_empty()).then(|| request.tags.keys().cloned().collect()))
            .set_tags((!tags.is_empty()).then_some(tags));
        let answer = call.send().with_subscriber(NoSubscriber::default()).await;
        let answer = answer.map_err(|error| refusal(&error, &[]))?;
        session(answer.credentials, answer.assumed_role_user)
    }
}

fn managed(request: &SessionRequest) -> Option<Vec<PolicyDescriptorType>> {
    let arns = &request.policy.managed;
    (!arns.is_empty())
        .then(|| arns.iter().map(|arn| PolicyDescriptorType::builder().arn(arn).build()).collect())
}

fn session(keys: Option<Keys>, user: Option<AssumedRoleUser>) -> Result<Session, Refusal> {
    let keys = keys.ok_or_else(|| unexpected("STS answered without Credentials"))?;
    let user = user.ok_or_else(|| unexpected("STS answered without AssumedRoleUser"))?;
    let nanos = i32::try_from(keys.expiration.subsec_nanos()).unwrap_or_default();
    let expires_at = Timestamp::new(keys.expiration.secs(), nanos);
    Ok(Session {
        access_key_id: keys.access_key_id,
        secret_access_key: keys.secret_access_key.into(),
        token: keys.session_token.into(),
        expires_at: expires_at.map_err(|_| unexpected("STS answered with an Expiration out of range"))?,
        arn: user.arn,
    })
}
