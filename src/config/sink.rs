//! `[audit.sinks.<name>]`: where copies of the audit chain go, each record at least once.

use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::secret::Fingerprint;

/// One sink.
#[derive(Debug)]
pub struct Sink {
    /// Where it sends.
    pub kind: SinkKind,
    /// What it sends; Tollgate's own form unless written.
    pub format: SinkFormat,
}

/// Where a sink sends.
#[derive(Debug)]
pub enum SinkKind {
    /// A file, one JSON line per record.
    File(PathBuf),
    /// A syslog receiver.
    Syslog(SyslogSink),
    /// Splunk's HTTP Event Collector.
    SplunkHec(SplunkSink),
    /// The bulk interface of Elasticsearch or OpenSearch.
    Elasticsearch(ElasticSink),
}

/// What a sink sends per record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SinkFormat {
    /// The JSON of `audit.file`.
    Tollgate,
    /// Open Cybersecurity Schema Framework.
    Ocsf,
}

/// How a sink's receiver may be reached.
#[derive(Debug, Clone)]
pub struct Reach {
    /// Root certificates, PEM. A syslog receiver is then trusted by these alone; HTTP trusts the platform's too.
    pub ca: Option<Vec<u8>>,
    /// Private networks that the name may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Loopback, and there without TLS; for tests.
    pub insecure_loopback: bool,
    /// Longest that sending one batch may take; 10 s unless written.
    pub timeout: Duration,
}

/// A syslog receiver: RFC 5424 messages over TLS (RFC 5425), with octet counting.
#[derive(Debug)]
pub struct SyslogSink {
    /// `https` stands for TLS, `http` for none.
    pub address: Url,
    /// How it may be reached.
    pub reach: Reach,
    /// What Tollgate shows to a receiver that wants to know its senders.
    pub client: Option<ClientCertificate>,
    /// Facility, 0 to 23 (RFC 5424, section 6.2.1); 10, `authpriv`, unless written.
    pub facility: u8,
    /// APP-NAME; `tollgate` unless written.
    pub app_name: String,
    /// The operator's own private enterprise number, for a structured data element of its own.
    pub enterprise: Option<u32>,
}

/// A client certificate.
#[derive(Debug)]
pub struct ClientCertificate {
    /// PEM chain, leaf first.
    pub chain: Vec<u8>,
    /// PEM private key.
    pub key: SecretString,
}

/// Splunk's HTTP Event Collector.
#[derive(Debug)]
pub struct SplunkSink {
    /// Where `/services/collector/event` is.
    pub url: Url,
    /// How it may be reached.
    pub reach: Reach,
    /// The collector's token.
    pub token: SecretString,
    /// Index; the token's default unless written.
    pub index: Option<String>,
}

/// The bulk interface of Elasticsearch or OpenSearch.
#[derive(Debug)]
pub struct ElasticSink {
    /// Where `/_bulk` is.
    pub url: Url,
    /// How it may be reached.
    pub reach: Reach,
    /// Index or data stream.
    pub index: String,
    /// The API key in its encoded form.
    pub api_key: SecretString,
}

impl Sink {
    /// A digest over all that is configured, secrets too: equal if and only if nothing changed.
    pub fn revision(&self) -> Fingerprint {
        let secret = match &self.kind {
            SinkKind::File(_) => None,
            SinkKind::Syslog(syslog) => syslog.client.as_ref().map(|client| &client.key),
            SinkKind::SplunkHec(splunk) => Some(&splunk.token),
            SinkKind::Elasticsearch(elastic) => Some(&elastic.api_key),
        };
        // Debug shows all but the secrets.
        let secret = secret.map(ExposeSecret::expose_secret).unwrap_or_default();
        Fingerprint::of(format!("{self:?}\0{secret}").as_bytes())
    }
}
