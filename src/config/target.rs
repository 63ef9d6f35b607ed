//! `targets/*.toml`: where credentials are minted.

use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

use crate::domain::TargetName;

/// A configured target.
#[derive(Debug, Clone)]
pub struct Target {
    /// Its name: the file's stem.
    pub name: TargetName,
    /// What it is.
    pub kind: TargetKind,
    /// Exchanges that may be under way there at once, if it is reached over the network; a quarter of
    /// [`Limits::concurrency`](super::Limits::concurrency) unless written.
    pub concurrency: Option<usize>,
}

/// The kinds of targets.
#[derive(Debug, Clone)]
pub enum TargetKind {
    /// AWS STS in one partition and region.
    Aws(AwsTarget),
    /// A Vault or OpenBao server.
    Vault(VaultTarget),
    /// An audience for tokens that Tollgate signs.
    Jwt(JwtTarget),
}

impl TargetKind {
    /// True if it is reached over the network, and may keep those who ask waiting.
    pub const fn is_remote(&self) -> bool {
        match self {
            Self::Aws(_) | Self::Vault(_) => true,
            Self::Jwt(_) => false,
        }
    }
}

/// An AWS partition and region.
#[derive(Debug, Clone)]
pub struct AwsTarget {
    /// `aws`, `aws-cn`, `aws-us-gov`.
    pub partition: String,
    /// Region of the STS endpoint and of the caller's environment.
    pub region: String,
    /// Endpoint override.
    pub endpoint: Option<Url>,
    /// Endpoint that callers use, when it differs.
    pub client_endpoint: Option<Url>,
    /// How Tollgate proves itself.
    pub access: AwsAccess,
    /// PEM authorities that vouch for it beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Private networks that the endpoint may resolve to, such as those of a VPC endpoint.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

/// How Tollgate proves itself to AWS STS.
#[derive(Debug, Clone)]
pub enum AwsAccess {
    /// `AssumeRoleWithWebIdentity` with a federation token: no AWS credential is held.
    Federation {
        /// The audience of the IAM OIDC provider.
        audience: String,
    },
    /// `AssumeRole`, signed with keys of Tollgate's own.
    Ambient {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: SecretString,
        /// Session token, if the keys are temporary.
        session_token: Option<SecretString>,
    },
}

/// A Vault or OpenBao server.
#[derive(Debug, Clone)]
pub struct VaultTarget {
    /// Base address, such as `https://vault.example:8200`.
    pub address: Url,
    /// Namespace, if any.
    pub namespace: Option<String>,
    /// Mount of the JWT auth method.
    pub mount: String,
    /// Audience of the federation token.
    pub audience: String,
    /// Extra root certificates, PEM.
    pub ca_file: Option<PathBuf>,
    /// Tollgate shows it the SVID that the Workload API gives.
    pub shows_svid: bool,
    /// Its SPIFFE ID, if it shows an SVID: then no host name and no other authority counts.
    pub spiffe_id: Option<String>,
    /// Private networks that the address may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

/// An audience for tokens that Tollgate signs.
#[derive(Debug, Clone)]
pub struct JwtTarget {
    /// The `aud` claim.
    pub audience: String,
}
