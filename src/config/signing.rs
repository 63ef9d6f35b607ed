//! `[signing.<purpose>]`: which keys a KMS holds.

use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use url::Url;

/// `[signing]`: a purpose without an entry has its keys in the store.
#[derive(Debug, Clone, Default)]
pub struct SigningSettings {
    /// `[signing.federation]`: tokens that only providers use.
    pub federation: Option<KmsSettings>,
    /// `[signing.credentials]`: credentials handed out.
    pub credentials: Option<KmsSettings>,
    /// `[signing.checkpoints]`: checkpoints of the audit chain.
    pub checkpoints: Option<KmsSettings>,
}

/// `kms`, by its `kind`.
#[derive(Debug, Clone)]
pub enum KmsSettings {
    /// `vault-transit`: the transit engine of `OpenBao` or Vault.
    Transit(TransitSettings),
}

/// One key of a transit engine.
#[derive(Clone)]
pub struct TransitSettings {
    /// The server.
    pub address: Url,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Where the engine is mounted; `transit` unless written.
    pub mount: String,
    /// The key's name.
    pub key: String,
    /// What authenticates Tollgate. Not a token of its own making: that would need the signature first.
    pub token: SecretString,
    /// PEM certificates that are trusted beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Private networks that the address may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

impl SigningSettings {
    /// Whether all but the tokens is the same.
    pub fn is_like(&self, other: &Self) -> bool {
        let same = |one: &Option<KmsSettings>, other: &Option<KmsSettings>| match (one, other) {
            (Some(KmsSettings::Transit(one)), Some(KmsSettings::Transit(other))) => {
                one.but_the_token() == other.but_the_token()
            }
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        same(&self.federation, &other.federation)
            && same(&self.credentials, &other.credentials)
            && same(&self.checkpoints, &other.checkpoints)
    }
}

impl TransitSettings {
    fn but_the_token(&self) -> impl PartialEq {
        let Self { address, namespace, mount, key, token: _, ca_file, allow_networks, insecure_loopback } =
            self;
        (address, namespace, mount, key, ca_file, allow_networks, insecure_loopback)
    }
}

impl fmt::Debug for TransitSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransitSettings")
            .field("address", &self.address.as_str())
            .field("namespace", &self.namespace)
            .field("mount", &self.mount)
            .field("key", &self.key)
            .field("ca_file", &self.ca_file)
            .field("allow_networks", &self.allow_networks)
            .field("insecure_loopback", &self.insecure_loopback)
            .finish_non_exhaustive()
    }
}
