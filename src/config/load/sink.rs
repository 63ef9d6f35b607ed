//! `[audit.sinks.<name>]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::HeaderValue;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::{Around, endpoint, secret};
use crate::config::files::read_capped;
use crate::config::reader::Reader;
use crate::config::{
    ClientCertificate, ElasticSink, Reach, Sink, SinkFormat, SinkKind, SplunkSink, SyslogSink,
};

/// Largest certificate file, in bytes.
const MAX_PEM_BYTES: usize = 256 << 10;

/// The enterprise number that stands in examples and must not be sent (RFC 5612).
const DOCUMENTATION_NUMBER: u32 = 32473;

/// Facilities for messages of this kind (RFC 5424, table 1); 13 is "log audit".
const FACILITIES: [(&str, u8); 12] = [
    ("daemon", 3),
    ("auth", 4),
    ("authpriv", 10),
    ("audit", 13),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// Reads one sink.
pub(super) fn sink(r: &mut Reader<'_>, around: &Around<'_>) -> Option<Sink> {
    type Read = fn(&mut Reader<'_>, &Around<'_>) -> Option<SinkKind>;
    let words: [(&str, Read); 4] =
        [("file", file), ("syslog", syslog), ("splunk_hec", splunk), ("elasticsearch", elastic)];
    let expected = "\"file\", \"syslog\", \"splunk_hec\" or \"elasticsearch\"";
    let Some(read) = r.need("kind", expected).and_then(|field| field.choice(&words)) else {
        r.ignore_the_rest();
        return None;
    };
    let formats = [("tollgate", SinkFormat::Tollgate), ("ocsf", SinkFormat::Ocsf)];
    let format = match r.get("format", "\"tollgate\" or \"ocsf\"") {
        Some(field) => field.choice(&formats),
        None => Some(SinkFormat::Tollgate),
    };
    Some(Sink { kind: read(r, around)?, format: format? })
}

fn file(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SinkKind> {
    let path: PathBuf = r.required("path", "a path, such as \"/var/log/tollgate/audit.jsonl\"")?;
    Some(SinkKind::File(around.directory.join(path)))
}

fn syslog(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SinkKind> {
    let reach = reach(r, around);
    let written: Option<String> = r.required("address", "an address, such as \"tls://siem.example:6514\"");
    let address = written.and_then(|text| address(r, &text, reach.as_ref()?.insecure_loopback));
    let client = client(r, around);
    let facility = match r.get("facility", "\"authpriv\"") {
        Some(field) => field.choice(&FACILITIES),
        None => Some(10),
    };
    let app_name = r.optional::<String>("app_name", "a name, such as \"tollgate\"");
    let app_name = app_name.unwrap_or_else(|| "tollgate".to_owned());
    // RFC 5424, section 6: APP-NAME has 1 to 48 of PRINTUSASCII.
    if !(1..=48).contains(&app_name.len()) || !app_name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let message = "the name must have 1 to 48 visible ASCII characters";
        r.refuse("app_name", "bad_value", message, "write a name, such as \"tollgate\"");
    }
    let enterprise = r.integer("enterprise_number", "your number at IANA", &(1..=i64::from(u32::MAX)));
    if enterprise == Some(DOCUMENTATION_NUMBER) {
        let message = "32473 is the number of examples in documents; no sender may use it";
        r.refuse(
            "enterprise_number",
            "bad_value",
            message,
            "write your own number at IANA, or remove the key",
        );
    }
    Some(SinkKind::Syslog(SyslogSink {
        address: address?,
        reach: reach?,
        client: client.ok()?,
        facility: facility?,
        app_name,
        enterprise,
    }))
}

/// The address of a syslog receiver: `tls://host:port`, or `tcp://` to a literal loopback address.
fn address(r: &Reader<'_>, text: &str, insecure: bool) -> Option<Url> {
    let known = [("tls://", "https://"), ("tcp://", "http://")];
    let as_web = known.iter().find_map(|(ours, web)| Some(format!("{web}{}", text.strip_prefix(ours)?)));
    // The port is not optional: those of the web, which the form for comparison would assume, are never meant.
    let url = as_web.and_then(|text| Url::parse(&text).ok()).filter(|url| url.port().is_some());
    let Some(url) = url.filter(|url| url.path() == "/" && url.query().is_none()) else {
        let message = "this is not the address of a syslog receiver";
        r.refuse(
            "address",
            "bad_value",
            message,
            "write scheme, host and port, such as tls://siem.example:6514",
        );
        return None;
    };
    if url.scheme() == "http" && !(insecure && is_loopback(&url)) {
        let message = "the records would cross the network unencrypted";
        let fix = "use tls://; tcp:// is for a literal loopback address with insecure_loopback = true";
        r.refuse("address", "url_insecure", message, fix);
        return None;
    }
    endpoint::check(r, "address", &url, insecure).then_some(url)
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(_)) | None => false,
    }
}

/// Something is written and cannot be used, which the reader was told.
struct Broken;

/// The client certificate: none, or both of its parts.
fn client(r: &mut Reader<'_>, around: &Around<'_>) -> Result<Option<ClientCertificate>, Broken> {
    let path = r.optional::<PathBuf>("client_certificate", "a path to a PEM chain, leaf first");
    let key = r.get("client_key", secret::EXPECTED).and_then(|field| secret::secret(&field, around));
    match (r.has("client_certificate"), r.has("client_key")) {
        (false, false) => return Ok(None),
        (true, true) => {}
        (true, false) | (false, true) => {
            let message = "a certificate is of no use without its key, nor a key without its certificate";
            r.refuse("", "missing_key", message, "write both client_certificate and client_key, or neither");
            return Err(Broken);
        }
    }
    let key = key.filter(|key| {
        let fits = PrivateKeyDer::from_pem_slice(key.expose_secret().as_bytes()).is_ok();
        if !fits {
            r.refuse(
                "client_key",
                "bad_pem",
                "this is no private key in PEM",
                "provide the key of the certificate",
            );
        }
        fits
    });
    let chain = path.and_then(|path| certificates(r, "client_certificate", &path, around));
    Ok(Some(ClientCertificate { chain: chain.ok_or(Broken)?, key: key.ok_or(Broken)? }))
}

fn splunk(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SinkKind> {
    let reach = reach(r, around);
    let url = base(r, "the collector's URL, such as \"https://splunk.example:8088\"", reach.as_ref());
    let token = header_secret(r, "token", around);
    let index = r.optional::<String>("index", "an index, such as \"security\"");
    Some(SinkKind::SplunkHec(SplunkSink { url: url?, reach: reach?, token: token?, index }))
}

fn elastic(r: &mut Reader<'_>, around: &Around<'_>) -> Option<SinkKind> {
    let reach = reach(r, around);
    let url = base(r, "a URL, such as \"https://elastic.example:9200\"", reach.as_ref());
    let api_key = header_secret(r, "api_key", around);
    let index = r.required::<String>("index", "an index or data stream, such as \"logs-tollgate-default\"");
    let index = index.filter(|index| {
        let fits = is_index(index);
        if !fits {
            let message = "an index has 1 to 255 of [a-z0-9._-] and starts with a letter or a digit";
            r.refuse("index", "bad_value", message, "write a name, such as \"logs-tollgate-default\"");
        }
        fits
    });
    Some(SinkKind::Elasticsearch(ElasticSink { url: url?, reach: reach?, index: index?, api_key: api_key? }))
}

/// A subset of what Elasticsearch takes (Create index API, "index"): no name of it can leave its place in a path.
fn is_index(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"._-".contains(&byte);
    name.len() <= 255
        && name.bytes().all(fits)
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
}

/// The URL that an interface's path is appended to.
fn base(r: &mut Reader<'_>, expected: &'static str, reach: Option<&Reach>) -> Option<Url> {
    let insecure = reach.is_some_and(|reach| reach.insecure_loopback);
    let url: Url = r.required("url", expected)?;
    if url.query().is_some() {
        let message = "a path is appended to this URL, which a query would swallow";
        r.refuse("url", "url_parts", message, "remove the query");
    }
    endpoint::check(r, "url", &url, insecure).then_some(url)
}

fn reach(r: &mut Reader<'_>, around: &Around<'_>) -> Option<Reach> {
    let insecure_loopback = endpoint::insecure_loopback(r);
    let allow_networks = endpoint::allow_networks(r);
    let range = Duration::from_secs(1)..=Duration::from_mins(1);
    let timeout = r.duration("timeout", "\"10s\"", Duration::from_secs(10), &range);
    let ca = match r.optional::<PathBuf>("ca_file", "a path to PEM certificates") {
        Some(path) => Some(certificates(r, "ca_file", &path, around)?),
        None => None,
    };
    Some(Reach { ca, allow_networks, insecure_loopback, timeout })
}

/// The PEM certificates in a file, of which there is at least one.
fn certificates(r: &Reader<'_>, key: &str, path: &Path, around: &Around<'_>) -> Option<Vec<u8>> {
    let path = around.directory.join(path);
    let content = match read_capped(&path, MAX_PEM_BYTES) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            r.refuse(key, "file_unreadable", &message, "create it, readable for Tollgate");
            return None;
        }
    };
    let all = CertificateDer::pem_slice_iter(&content).collect::<Result<Vec<_>, _>>();
    if content.len() <= MAX_PEM_BYTES && all.is_ok_and(|all| !all.is_empty()) {
        return Some(content);
    }
    let message = format!("{} holds no PEM certificates", path.display());
    r.refuse(key, "bad_pem", &message, "write certificates into it, and nothing else");
    None
}

/// A secret that goes into a header.
fn header_secret(r: &mut Reader<'_>, key: &'static str, around: &Around<'_>) -> Option<SecretString> {
    let found = r.need(key, secret::EXPECTED).and_then(|field| secret::secret(&field, around))?;
    if HeaderValue::from_str(found.expose_secret()).is_ok() {
        return Some(found);
    }
    let message = "the secret holds a character that no header can carry, such as a newline";
    r.refuse(key, "header_value", message, "store the secret without line breaks");
    None
}
