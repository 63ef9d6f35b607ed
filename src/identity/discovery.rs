//! Fetching one issuer's keys: OpenID Connect Discovery, then the key set.
//!
//! Only a configured issuer is ever asked. The document must name that very issuer, and the key set must lie on its
//! host or on one that the configuration lists; address and redirect rules are the client's.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde_json::Value;
use url::{Host, Position, Url};

use super::keys::{KeySet, KeySetError};
use super::spiffe::BundleError;
use crate::config::Issuer;
use crate::domain::IssuerUrl;
use crate::json::{self, JsonError, Limits};
use crate::net::{Client, NetError, Request, Rules, WorkloadError, read_ca_file};

/// Longest that each of the two requests may take.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest discovery document or key set, bytes. GitHub's key set, with certificates, has 10 KiB.
const MAX_DOCUMENT: usize = 256 * 1024;
/// The discovery documents of large providers have about 60 members with short lists.
const LIMITS: Limits = Limits { depth: 6, values: 1024 };

/// Why an issuer's keys could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// No usable answer.
    #[error("{document} at {host} cannot be fetched")]
    Net {
        /// What was asked for.
        document: &'static str,
        /// Who was asked.
        host: String,
        /// Why.
        #[source]
        source: NetError,
    },
    /// Another status than 200.
    #[error("{document} at {host} answers with status {status}")]
    Status {
        /// What was asked for.
        document: &'static str,
        /// Who was asked.
        host: String,
        /// The status.
        status: u16,
    },
    /// The Workload API is gone.
    #[error(transparent)]
    Workload(#[from] WorkloadError),
    /// Not strict JSON: an HTML page, for example.
    #[error("the discovery document cannot be read")]
    Discovery(#[source] JsonError),
    /// `issuer` is not the configured one (OpenID Connect Discovery, section 4.3).
    #[error("the discovery document is of another issuer")]
    OtherIssuer,
    /// The configured issuer or its `jwks_uri` cannot be asked.
    #[error("{0}")]
    Address(String),
    /// The key set cannot be read.
    #[error(transparent)]
    Keys(#[from] KeySetError),
    /// The bundle cannot be read or used.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// A bundle's file cannot be read.
    #[error("cannot read {}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A bundle endpoint shows an SVID, and the bundle that is known has no authority that could verify it.
    #[error("the bundle that is known has no authority to verify the bundle endpoint by")]
    NoAuthorities,
}

/// Everything that decides where keys come from. Entries that agree in it share their keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    /// The issuer.
    pub issuer: IssuerUrl,
    jwks_hosts: Vec<String>,
    ca_file: Option<PathBuf>,
    allow_networks: Vec<IpNet>,
    insecure_loopback: bool,
}

impl Origin {
    pub(super) fn new(issuer: &Issuer, jwks_hosts: &[String]) -> Self {
        Self {
            issuer: issuer.url.clone(),
            jwks_hosts: jwks_hosts.to_vec(),
            ca_file: issuer.ca_file.clone(),
            allow_networks: issuer.allow_networks.clone(),
            insecure_loopback: issuer.insecure_loopback,
        }
    }

    /// A client under the origin's address rules.
    ///
    /// # Errors
    /// [`NetError::Setup`].
    pub(super) fn client(&self, timeout: Duration) -> Result<Client, NetError> {
        Client::new(Rules {
            allow_networks: self.allow_networks.clone(),
            insecure_loopback: self.insecure_loopback,
            extra_roots: read_ca_file(self.ca_file.as_deref())?,
            timeout,
            max_bytes: MAX_DOCUMENT,
        })
    }

    /// Fetches the key set, as sent and as read.
    pub(super) async fn fetch(&self, client: &Client) -> Result<(Vec<u8>, KeySet), FetchError> {
        let discovery = get(client, "the discovery document", self.discovery_url()?).await?;
        let jwks_uri = self.jwks_uri(&discovery)?;
        let document = get(client, "the key set", jwks_uri).await?;
        let keys = KeySet::parse(&document)?;
        Ok((document, keys))
    }

    /// The well-known path is appended to the issuer's own, less a slash at its end (Discovery, section 4.1).
    fn discovery_url(&self) -> Result<Url, FetchError> {
        let issuer = self.issuer.as_str();
        let base = issuer.strip_suffix('/').unwrap_or(issuer);
        Url::parse(&format!("{base}/.well-known/openid-configuration"))
            .map_err(|error| FetchError::Address(format!("the issuer is no URL: {error}")))
    }

    fn jwks_uri(&self, discovery: &[u8]) -> Result<Url, FetchError> {
        let discovery = json::object(discovery, LIMITS).map_err(FetchError::Discovery)?;
        let text = |name| discovery.get(name).and_then(Value::as_str);
        if text("issuer") != Some(self.issuer.as_str()) {
            return Err(FetchError::OtherIssuer);
        }
        let uri = text("jwks_uri").and_then(|uri| Url::parse(uri).ok());
        let uri = uri.ok_or_else(|| FetchError::Address("`jwks_uri` is missing or no URL".to_owned()))?;
        if self.may_hold_keys(&uri) {
            return Ok(uri);
        }
        Err(FetchError::Address(format!(
            "`jwks_uri` is on {:?}, which is neither the issuer's own host nor in jwks_hosts",
            &uri[..Position::BeforePath],
        )))
    }

    /// Same scheme rule as the issuer's; same host and port, or a configured host on the usual port.
    fn may_hold_keys(&self, uri: &Url) -> bool {
        let loopback = match uri.host() {
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            Some(Host::Domain(_)) | None => false,
        };
        let scheme =
            uri.scheme() == "https" || (uri.scheme() == "http" && loopback && self.insecure_loopback);
        let place = &uri[Position::BeforeHost..Position::AfterPort];
        let own = Url::parse(self.issuer.as_str())
            .is_ok_and(|issuer| &issuer[Position::BeforeHost..Position::AfterPort] == place);
        let no_user = uri.username().is_empty() && uri.password().is_none();
        scheme && no_user && (own || self.jwks_hosts.iter().any(|host| host.eq_ignore_ascii_case(place)))
    }
}

pub(super) async fn get(client: &Client, document: &'static str, url: Url) -> Result<Vec<u8>, FetchError> {
    let host = url.host_str().unwrap_or_default().to_owned();
    match client.send(Request::get(url)).await {
        Ok(answer) if answer.status == http::StatusCode::OK => Ok(answer.body.into()),
        Ok(answer) => Err(FetchError::Status { document, host, status: answer.status.as_u16() }),
        Err(source) => Err(FetchError::Net { document, host, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::tests::harness::entry;
    use serde_json::json;

    fn origin(issuer: &str, jwks_hosts: &[&str]) -> Origin {
        let mut entry = entry("acme");
        entry.url = issuer.parse().unwrap();
        Origin::new(&entry, &jwks_hosts.iter().map(|host| (*host).to_owned()).collect::<Vec<_>>())
    }

    fn jwks_uri(origin: &Origin, document: &Value) -> Result<Url, FetchError> {
        origin.jwks_uri(document.to_string().as_bytes())
    }

    #[test]
    fn appends_the_well_known_path_to_the_issuers_own() {
        for (issuer, url) in [
            ("https://a.example", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/", "https://a.example/.well-known/openid-configuration"),
            ("https://a.example/t/1", "https://a.example/t/1/.well-known/openid-configuration"),
            ("https://a.example/t/1/", "https://a.example/t/1/.well-known/openid-configuration"),
        ] {
            assert_eq!(origin(issuer, &[]).discovery_url().unwrap().as_str(), url);
        }
    }

    #[test]
    fn i_02_refuses_a_document_of_another_issuer() {
        let origin = origin("https://a.example", &[]);
        for issuer in [
            json!("https://a.example/"),
            json!("https://A.example"),
            json!(null),
            json!(["https://a.example"]),
        ] {
            let document = json!({"issuer": issuer, "jwks_uri": "https://a.example/keys"});
            assert!(matches!(jwks_uri(&origin, &document), Err(FetchError::OtherIssuer)), "{document}");
        }
        let twice = br#"{"issuer":"https://a.example","jwks_uri":"https://a.example/k","issuer":"x"}"#;
        assert!(matches!(origin.jwks_uri(twice), Err(FetchError::Discovery(JsonError::Duplicate(_)))));
    }

    #[test]
    fn i_20_keys_lie_on_the_issuers_host_or_a_configured_one() {
        let origin = origin("https://a.example/t", &["keys.example"]);
        let accepted =
            |uri: &str| jwks_uri(&origin, &json!({"issuer": "https://a.example/t", "jwks_uri": uri})).is_ok();
        for good in [
            "https://a.example/keys",
            "https://a.example:443/keys",
            "https://keys.example/k?p=1",
            "https://KEYS.example/",
        ] {
            assert!(accepted(good), "{good}");
        }
        for bad in [
            "http://a.example/keys",
            "https://a.example:8443/keys",
            "https://evil.example/keys",
            "https://a.example.evil.example/keys",
            "https://sub.a.example/keys",
            "https://keys.example:8443/keys",
            "https://a.example@evil.example/keys",
            "https://user@a.example/keys",
            "https://169.254.169.254/keys",
            "http://127.0.0.1/keys",
            "file:///etc/passwd",
            "/keys",
            "",
        ] {
            assert!(!accepted(bad), "{bad}");
        }
    }

    #[test]
    fn i_20_http_only_to_the_same_loopback_address_and_only_if_configured() {
        let mut origin = origin("http://127.0.0.1:9000", &[]);
        let uri = |uri: &str| uri.parse::<Url>().unwrap();
        assert!(!origin.may_hold_keys(&uri("http://127.0.0.1:9000/k")));
        origin.insecure_loopback = true;
        assert!(origin.may_hold_keys(&uri("http://127.0.0.1:9000/k")));
        assert!(!origin.may_hold_keys(&uri("http://127.0.0.1:9001/k")));
        assert!(!origin.may_hold_keys(&uri("http://127.0.0.2:9000/k")));
    }
}
