//! `[telemetry]`.

use std::path::PathBuf;

use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::known::fix;
use super::source::OWN_HEADERS;
use super::{Around, endpoint, layout, secret};
use crate::config::reader::{Field, Reader};
use crate::config::{OtlpSettings, TelemetrySettings};
use crate::domain::RoleName;

/// Most roles that are told apart in the metrics: each has a series per bucket.
const MAX_LABEL_ROLES: usize = 100;

/// Reads `[telemetry]`. `proxied` says that some proxy is trusted.
pub(super) fn telemetry(r: &mut Reader<'_>, around: &Around<'_>, proxied: bool) -> Option<TelemetrySettings> {
    let expected = "roles, such as [\"deploy/production\"]";
    let label_roles: Vec<RoleName> = r.list("label_roles", expected).unwrap_or_default();
    check_roles(r, around, &label_roles);
    // Broken is not absent: traces that somebody counts on must not stop in silence.
    let otlp = match r.get("otlp", "{ endpoint = \"https://collector.example:4318/v1/traces\" }") {
        Some(field) => field.table(|r| otlp(r, around, proxied)).flatten().map(Some),
        None => Some(None),
    };
    let (exemplars, otlp) = (r.flag("exemplars"), otlp?);
    if exemplars && otlp.is_none() {
        let message = "there are no traces that exemplars could name";
        r.refuse("exemplars", "no_traces", message, "write where they go, in telemetry.otlp");
    }
    Some(TelemetrySettings { label_roles: label_roles.into_iter().collect(), exemplars, otlp })
}

fn check_roles(r: &Reader<'_>, around: &Around<'_>, label_roles: &[RoleName]) {
    if label_roles.len() > MAX_LABEL_ROLES {
        let message = format!("more than {MAX_LABEL_ROLES} roles would make too many series");
        r.refuse("label_roles", "too_many", &message, "list the roles that matter most");
    }
    if label_roles.is_empty() {
        return;
    }
    let roles = layout::role_names(around.files);
    for role in label_roles.iter().filter(|role| !roles.contains(*role)) {
        let message = format!("there is no role `{role}`");
        let fix = fix(role.as_str(), roles.iter().map(RoleName::as_str), "a role");
        r.refuse("label_roles", "unknown_role", &message, &fix);
    }
}

fn otlp(r: &mut Reader<'_>, around: &Around<'_>, proxied: bool) -> Option<OtlpSettings> {
    let insecure_loopback = endpoint::insecure_loopback(r);
    let expected = "the URL that takes spans, such as \"https://collector.example:4318/v1/traces\"";
    let url: Option<Url> = r.required("endpoint", expected);
    let url = url.filter(|url| endpoint::check(r, "endpoint", url, insecure_loopback));
    let expected = "{ authorization = { env = \"VARIABLE\" } }";
    let headers = r.map("headers", expected, |name: &String, field| header(name, &field, around));
    let sample = match r.get("sample", "the share of exchanges to trace, such as 0.1") {
        Some(field) => field.share(),
        None => Some(1.0),
    };
    let trust_traceparent = r.flag("trust_traceparent");
    if trust_traceparent && !proxied {
        let message = "there is no proxy whose traceparent could be trusted";
        r.refuse("trust_traceparent", "no_proxy", message, "name the proxy in server.trusted_proxies");
    }
    let ca_file = r.optional::<PathBuf>("ca_file", "a path to PEM certificates");
    let allow_networks = endpoint::allow_networks(r);
    Some(OtlpSettings {
        endpoint: url?,
        headers,
        sample: sample?,
        trust_traceparent,
        ca_file: ca_file.map(|file| around.directory.join(file)),
        allow_networks,
        insecure_loopback,
    })
}

/// One header; what is wrong with it is recorded, and stops the load.
fn header(name: &str, field: &Field<'_>, around: &Around<'_>) -> Option<SecretString> {
    let fits = HeaderName::try_from(name)
        .is_ok_and(|name| !OWN_HEADERS.contains(&name.as_str()) && name != http::header::CONTENT_TYPE);
    if !fits {
        let message = "this is no header, or one that the HTTP client sets itself";
        field.refuse("header_refused", message, "name the header that authenticates");
    }
    let value = secret::secret(field, around)?;
    if HeaderValue::from_str(value.expose_secret()).is_err() {
        let message = "the secret holds a character that no header can carry, such as a newline";
        field.refuse("header_value", message, "store the secret without line breaks");
    }
    Some(value)
}
