//! `[telemetry]`: what is told about requests beyond the log.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use crate::domain::RoleName;
use crate::secret::Fingerprint;

/// `[telemetry]`.
#[derive(Debug, Default)]
pub struct TelemetrySettings {
    /// Roles whose time in policy is told apart in the metrics. Each is a label's value, so there are few of them.
    pub label_roles: BTreeSet<RoleName>,
    /// True if latencies in the metrics name sampled traces.
    pub exemplars: bool,
    /// Where traces go; none are made without it.
    pub otlp: Option<OtlpSettings>,
}

/// `[telemetry] otlp`: traces by OTLP over HTTP, in protobuf.
#[derive(Debug)]
pub struct OtlpSettings {
    /// Where spans are posted; used as it is written.
    pub endpoint: Url,
    /// Headers that authenticate Tollgate to the collector.
    pub headers: BTreeMap<String, SecretString>,
    /// Share of exchanges that are traced, 0 to 1; 1 unless written.
    pub sample: f64,
    /// A `traceparent` that a trusted proxy sends is the parent of our spans. Anybody else's is ignored.
    pub trust_traceparent: bool,
    /// Roots that the collector's certificate may chain to, beside the platform's.
    pub ca_file: Option<PathBuf>,
    /// Private networks that the endpoint may resolve to.
    pub allow_networks: Vec<IpNet>,
    /// Http to a literal loopback address is accepted; for tests.
    pub insecure_loopback: bool,
}

impl OtlpSettings {
    /// What tells two settings apart, secrets included, and shows none.
    pub fn fingerprint(&self) -> Fingerprint {
        let headers = self
            .headers
            .iter()
            .map(|(name, value)| (name, Fingerprint::of(value.expose_secret().as_bytes()).to_string()));
        let headers: Vec<_> = headers.collect();
        let rest = (self.sample, self.trust_traceparent, &self.ca_file, &self.allow_networks);
        let all = format!("{} {headers:?} {rest:?} {}", self.endpoint, self.insecure_loopback);
        Fingerprint::of(all.as_bytes())
    }
}
