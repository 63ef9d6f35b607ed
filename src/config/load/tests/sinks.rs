//! `[audit.sinks.<name>]`.

use super::{Tree, tree};
use crate::config::{Sink, SinkFormat, SinkKind};

const MAIN: &str = "tollgate.toml";

/// The base with one sink, of `lines`.
fn sink(lines: &str) -> Tree {
    let (base, add) = (tree(), format!("[audit.sinks.siem]\n{lines}\n[store]"));
    base.edit(MAIN, "[store]", &add).variable("TOKEN", "secret-token")
}

fn loaded(lines: &str) -> Sink {
    sink(lines).clean().settings.audit.sinks.remove("siem").unwrap()
}

/// A certificate authority in a file, whose folder is removed with the first part.
fn ca() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(vec![]).unwrap().self_signed(&key).unwrap();
    std::fs::write(&path, certificate.pem()).unwrap();
    std::fs::write(folder.path().join("key.pem"), key.serialize_pem()).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

#[test]
fn each_kind_loads_with_its_defaults() {
    let file = loaded("kind = \"file\"\npath = \"../audit.jsonl\"\nformat = \"ocsf\"");
    assert_eq!(file.format, SinkFormat::Ocsf);
    assert!(matches!(file.kind, SinkKind::File(path) if path.ends_with("audit.jsonl")));

    let syslog = loaded("kind = \"syslog\"\naddress = \"tls://siem.example:6514\"");
    assert_eq!(syslog.format, SinkFormat::Tollgate);
    let SinkKind::Syslog(syslog) = syslog.kind else { panic!("{syslog:?}") };
    assert_eq!((syslog.address.as_str(), syslog.facility), ("https://siem.example:6514/", 10));
    assert_eq!((syslog.app_name.as_str(), syslog.enterprise), ("tollgate", None));

    let token = "token = { env = \"TOKEN\" }\nindex = \"security\"";
    let splunk = loaded(&format!("kind = \"splunk_hec\"\nurl = \"https://splunk.example:8088\"\n{token}"));
    assert!(
        matches!(splunk.kind, SinkKind::SplunkHec(splunk) if splunk.index.as_deref() == Some("security"))
    );

    let key = "api_key = { env = \"TOKEN\" }\nindex = \"logs-tollgate\"";
    let elastic = loaded(&format!("kind = \"elasticsearch\"\nurl = \"https://elastic.example:9200\"\n{key}"));
    assert!(matches!(elastic.kind, SinkKind::Elasticsearch(elastic) if elastic.index == "logs-tollgate"));
}

#[test]
fn a_syslog_address_is_encrypted_and_has_a_port() {
    let address =
        |address: &str, more: &str| sink(&format!("kind = \"syslog\"\naddress = \"{address}\"\n{more}"));
    for bad in ["siem.example:6514", "tls://siem.example", "udp://siem.example:514", "tls://siem.example:1/x"]
    {
        address(bad, "").stops("bad_value", "tollgate.toml:6 audit.sinks.siem.address");
    }
    for open in ["tcp://siem.example:514", "tcp://10.0.0.1:514", "tcp://127.0.0.1:514"] {
        address(open, "").stops("url_insecure", "tollgate.toml:6 audit.sinks.siem.address");
    }
    address("tcp://127.0.0.1:514", "insecure_loopback = true")
        .warns("insecure_loopback", "tollgate.toml:7 audit.sinks.siem.insecure_loopback");
}

#[test]
fn the_number_of_examples_is_nobodys() {
    let number = |number: u32| {
        let text =
            format!("kind = \"syslog\"\naddress = \"tls://a.example:1\"\nenterprise_number = {number}");
        sink(&text)
    };
    number(32_473).stops("bad_value", "tollgate.toml:7 audit.sinks.siem.enterprise_number");
    number(64_512).clean();
}

#[test]
fn certificates_are_read_when_the_configuration_is() {
    let (folder, path) = ca();
    let with = |more: &str| sink(&format!("kind = \"syslog\"\naddress = \"tls://a.example:1\"\n{more}"));
    with("ca_file = \"nowhere.pem\"").stops("file_unreadable", "tollgate.toml:7 audit.sinks.siem.ca_file");
    let key = folder.path().join("key.pem");
    let key = key.to_str().unwrap();
    with(&format!("ca_file = \"{key}\"")).stops("bad_pem", "tollgate.toml:7 audit.sinks.siem.ca_file");
    with(&format!("client_certificate = \"{path}\""))
        .stops("missing_key", "tollgate.toml:4 audit.sinks.siem");
    let both = format!("client_certificate = \"{path}\"\nclient_key = {{ file = \"{key}\" }}");
    with(&format!("ca_file = \"{path}\"\n{both}")).clean();
    let swapped = format!("client_certificate = \"{path}\"\nclient_key = {{ file = \"{path}\" }}");
    with(&swapped).stops("bad_pem", "tollgate.toml:8 audit.sinks.siem.client_key");
}

#[test]
fn receivers_over_http_are_reached_by_https_with_a_secret() {
    let http = |url: &str, more: &str| sink(&format!("kind = \"splunk_hec\"\nurl = \"{url}\"\n{more}"));
    let token = "token = { env = \"TOKEN\" }";
    http("http://splunk.example", token).stops("url_insecure", "tollgate.toml:6 audit.sinks.siem.url");
    http("https://u:p@splunk.example", token).stops("url_parts", "tollgate.toml:6 audit.sinks.siem.url");
    http("https://splunk.example/?x=1", token).stops("url_parts", "tollgate.toml:6 audit.sinks.siem.url");
    http("https://splunk.example", "").stops("missing_key", "tollgate.toml:4 audit.sinks.siem.token");
    http("https://splunk.example", token)
        .variable("TOKEN", "two\nlines")
        .stops("header_value", "tollgate.toml:7 audit.sinks.siem.token");
}

#[test]
fn an_index_cannot_leave_its_path() {
    for bad in ["../_cluster", "a/b", "_all", "Upper", "a,b", "-a", ""] {
        let lines = format!(
            "kind = \"elasticsearch\"\nurl = \"https://e.example\"\napi_key = {{ env = \"TOKEN\" }}\nindex = \"{bad}\""
        );
        sink(&lines).stops("bad_value", "tollgate.toml:8 audit.sinks.siem.index");
    }
}

#[test]
fn a_kind_that_is_unknown_and_too_many_sinks_stop_the_load() {
    sink("kind = \"kafka\"").stops("unknown_word", "tollgate.toml:5 audit.sinks.siem.kind");
    let many: Vec<_> =
        (0..9).map(|n| format!("[audit.sinks.s{n}]\nkind = \"file\"\npath = \"a\"\n")).collect();
    tree()
        .edit(MAIN, "[store]", &format!("{}[store]", many.concat()))
        .stops("too_many", "tollgate.toml:4 audit.sinks");
}

#[test]
fn s_01_a_sink_shows_no_secret_and_its_revision_follows_it() {
    let lines = "kind = \"splunk_hec\"\nurl = \"https://splunk.example\"\ntoken = { env = \"TOKEN\" }";
    let first = loaded(lines);
    assert!(!format!("{first:?}").contains("secret-token"));
    let other = sink(lines).variable("TOKEN", "another-token").clean();
    let other = &other.settings.audit.sinks["siem"];
    assert_ne!(first.revision(), other.revision());
    assert_eq!(first.revision(), loaded(lines).revision());
}
