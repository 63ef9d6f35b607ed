//! `[sources.<name>]`: verified facts over HTTP.

use std::collections::BTreeSet;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use secrecy::ExposeSecret;
use url::Url;

use super::{Around, endpoint, known, layout, secret};
use crate::config::reader::{Field, Reader};
use crate::config::{FactSource, SourceAuth, origin, template};
use crate::domain::{FactKey, IssuerName};

/// Headers that the HTTP client sets itself; to set them twice is to smuggle.
pub(super) const OWN_HEADERS: [&str; 5] =
    ["host", "content-length", "transfer-encoding", "connection", "upgrade"];

/// How to write the facts of a source.
const FACTS: &str = "{ commit_signed = \"/verification/verified\" }";

/// Reads one source.
pub(super) fn source(r: &mut Reader<'_>, around: &Around<'_>) -> Option<FactSource> {
    let url = r.required::<String>("url", "a URL, such as \"https://api.example/commits/{commit}\"");
    let insecure_loopback = endpoint::insecure_loopback(r);
    let url = url.filter(|url| check_url(r, url, insecure_loopback));
    // Broken is not absent: a source must not be asked without the header that it was to be asked with.
    let auth = match r.get("auth", "{ header = \"authorization\", value = { env = \"VARIABLE\" } }") {
        Some(field) => field.table(|r| auth(r, around)).flatten().map(Some),
        None => Some(None),
    };
    // As with `auth`: a source must not be asked about identities that it was not to be told of.
    let issuers = match r.get("issuers", "a list of files in issuers/, such as [\"github\"]") {
        Some(field) => issuers(&field, around).map(Some),
        None => Some(None),
    };
    let facts =
        r.need("facts", FACTS).map(|field| field.entries(|key, field| fact(key, &field))).unwrap_or_default();
    if facts.is_empty() && r.has("facts") {
        r.refuse("facts", "no_facts", "the source gives no fact", &format!("write {FACTS}"));
    }
    let timeout = Duration::from_millis(100)..=Duration::from_secs(30);
    let cache = Duration::ZERO..=Duration::from_hours(1);
    let timeout = r.duration("timeout", "\"2s\"", Duration::from_secs(2), &timeout);
    let max_bytes = r.integer("max_bytes", "a whole number", &(64..=1_048_576)).unwrap_or(65_536);
    let cache = r.duration("cache", "\"30s\"", Duration::from_secs(30), &cache);
    let ca_file = endpoint::ca_file(r, around);
    let allow_networks = endpoint::allow_networks(r);
    Some(FactSource {
        url: url?,
        auth: auth?,
        issuers: issuers?,
        facts,
        timeout,
        max_bytes,
        cache,
        ca_file,
        allow_networks,
        insecure_loopback,
    })
}

/// The issuers whose identities the source knows.
fn issuers(field: &Field<'_>, around: &Around<'_>) -> Option<BTreeSet<IssuerName>> {
    let items = field.items()?;
    if items.is_empty() {
        field.refuse(
            "empty_list",
            "the source would never be asked",
            "remove the key to ask it about everybody",
        );
    }
    let configured: BTreeSet<IssuerName> = layout::issuer_names(around.files);
    let mut names = BTreeSet::new();
    for item in &items {
        let name = item.parse::<IssuerName>()?;
        if !configured.contains(&name) {
            let message = format!("there is no issuer `{name}`");
            let fix = known::fix(name.as_str(), configured.iter().map(IssuerName::as_str), "an issuer");
            item.refuse("unknown_issuer", &message, &fix);
        }
        names.insert(name);
    }
    Some(names)
}

/// One fact: where its value stands in the answer.
fn fact(key: &FactKey, field: &Field<'_>) -> Option<String> {
    if let Some(owner) = origin::owner(key.as_str()) {
        let message = format!("`{key}` already comes from {owner}; a fact has exactly one origin");
        field.refuse("fact_origin", &message, "give the fact another name");
    }
    let pointer = field.text()?;
    if !is_pointer(pointer) {
        field.refuse(
            "bad_pointer",
            "this is not a JSON pointer",
            "write one, such as /verification/verified",
        );
    }
    Some(pointer.to_owned())
}

/// True for a JSON pointer (RFC 6901, section 3).
pub(super) fn is_pointer(text: &str) -> bool {
    let escapes = text.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    text.starts_with('/') && text.len() <= 256 && escapes && !text.contains(char::is_control)
}

fn check_url(r: &Reader<'_>, url: &str, insecure: bool) -> bool {
    if let Err(error) = template::parts(url) {
        r.refuse(
            "url",
            "bad_template",
            &error.to_string(),
            "write placeholders such as {commit} or {declared.ticket}",
        );
        return false;
    }
    // The host is fixed: a claim must not choose who vouches for it, or whom Tollgate calls.
    let authority =
        url.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    if authority.is_none_or(|authority| authority.contains('{')) {
        let message = "placeholders may stand in the path and the query only";
        r.refuse(
            "url",
            "url_host",
            message,
            "write scheme and host out, such as https://api.example/commits/{commit}",
        );
        return false;
    }
    match Url::parse(&template::filled(url, "x")) {
        Ok(url) => endpoint::check(r, "url", &url, insecure),
        Err(error) => {
            r.refuse(
                "url",
                "bad_value",
                &error.to_string(),
                "write a URL, such as https://api.example/commits/{commit}",
            );
            false
        }
    }
}

fn auth(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SourceAuth> {
    let header: Option<HeaderName> = r.required("header", "a header, such as \"authorization\"");
    let value = r.need("value", secret::EXPECTED).and_then(|field| secret::secret(&field, around));
    let header = header.filter(|header| {
        let own = OWN_HEADERS.contains(&header.as_str());
        if own {
            let message = "the HTTP client sets this header itself";
            r.refuse("header", "header_refused", message, "name the header that authenticates");
        }
        !own
    });
    let value = value.filter(|value| {
        let fits = HeaderValue::from_str(value.expose_secret()).is_ok();
        if !fits {
            let message = "the secret holds a character that no header can carry, such as a newline";
            r.refuse("value", "header_value", message, "store the secret without line breaks");
        }
        fits
    });
    Some(SourceAuth { header: header?.to_string(), value: value? })
}
