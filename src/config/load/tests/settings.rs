//! `tollgate.toml` and the environment.

use std::time::Duration;

use secrecy::ExposeSecret;

use super::{KEY, tree};
use crate::config::{DenialDetail, TlsSettings};
use crate::domain::Operation;

const MAIN: &str = "tollgate.toml";

#[test]
fn all_that_can_have_a_default_has_one() {
    let settings = tree().clean().settings;
    assert_eq!(settings.server.listen.to_string(), "127.0.0.1:8420");
    assert_eq!(settings.server.tenant.as_str(), "default");
    assert_eq!(settings.limits.request_timeout, Duration::from_secs(30));
    assert_eq!(settings.denials, DenialDetail::Reasons);
    assert_eq!(settings.zone, jiff::tz::TimeZone::UTC);
    assert_eq!(settings.policies.to_str(), Some("/etc/tollgate/../policies"));
    assert!(!settings.audit.stdout && settings.audit.file.is_none());
    assert_eq!(settings.sources["commits"].timeout, Duration::from_secs(2));
}

#[test]
fn a_missing_file_or_section_names_what_it_needs() {
    tree().without(MAIN).stops("missing_file", "tollgate.toml");
    let problems = tree().file(MAIN, "").load().unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(keys, ["server.url", "store.sqlite", "store.key_encryption_key"]);
}

#[test]
fn refuses_unknown_keys_with_a_suggestion() {
    let tree = tree().edit(MAIN, "[store]", "lisen = \"127.0.0.1:1\"\n[store]");
    tree.stops("unknown_key", "tollgate.toml:4 server.lisen");
    assert_eq!(tree.one().fix, "did you mean `listen`?");
}

#[test]
fn syntax_errors_and_duplicate_keys_have_their_line() {
    tree().file(MAIN, "[server]\nurl = \n").stops("syntax", "tollgate.toml:2");
    let tree = tree().edit(MAIN, "[store]", "url = \"https://other.example\"\n[store]");
    tree.stops("syntax", "tollgate.toml:4");
    assert_eq!(tree.one().message, "duplicate key");
}

#[test]
fn refuses_what_is_not_text() {
    let mut tree = tree();
    tree.files.insert(MAIN.into(), b"[server]\nurl = \"\xff\"".to_vec());
    tree.stops("not_utf8", "tollgate.toml:2");
}

#[test]
fn the_public_url_is_https_or_literal_loopback() {
    let url =
        |url: &str| tree().edit(MAIN, "url = \"https://tollgate.example\"", &format!("url = \"{url}\""));
    for bad in ["http://tollgate.example", "http://localhost:8420", "http://10.0.0.1", "ftp://a.example"] {
        url(bad).stops("bad_value", "tollgate.toml:3 server.url");
    }
    url("http://127.0.0.1:8420").warns("insecure_loopback", "tollgate.toml:3 server.url");
    url("https://tollgate.example/").stops("trailing_slash", "tollgate.toml:3 server.url");
}

#[test]
fn plain_http_on_the_network_needs_a_proxy_that_is_named() {
    let listen =
        |more: &str| tree().edit(MAIN, "[store]", &format!("listen = \"0.0.0.0:80\"\n{more}\n[store]"));
    listen("").stops("listen_unencrypted", "tollgate.toml:4 server.listen");
    listen("trusted_proxies = [\"10.0.0.5/32\"]\noperations_listen = \"127.0.0.1:1\"").clean();
    listen("trusted_proxies = [\"0.0.0.0/0\"]\noperations_listen = \"127.0.0.1:1\"")
        .stops("proxies_too_wide", "tollgate.toml:5 server.trusted_proxies");
    let tls = "tls = { certificate = \"c.pem\", key = \"k.pem\" }\noperations_listen = \"0.0.0.0:1\"";
    let tls = listen(tls).clean().settings.server.tls.unwrap();
    let TlsSettings::Files(files) = tls else { panic!("{tls:?}") };
    assert_eq!(files.certificate.to_str(), Some("/etc/tollgate/c.pem"));
    listen("tls = { certificate = \"c.pem\" }\noperations_listen = \"127.0.0.1:1\"")
        .stops("missing_key", "tollgate.toml:5 server.tls.key");
}

#[test]
fn metrics_on_the_network_are_warned_of_and_operators_have_an_address_of_their_own() {
    let listen = |text: &str| tree().edit(MAIN, "[store]", &format!("{text}\n[store]"));
    let exposed = "trusted_proxies = [\"10.0.0.5/32\"]\nlisten = \"0.0.0.0:80\"";
    listen(exposed).warns("metrics_public", "tollgate.toml:5 server.listen");
    let settings = listen("operations_listen = \"127.0.0.1:9420\"").clean().settings;
    assert_eq!(settings.server.operations_listen, Some("127.0.0.1:9420".parse().unwrap()));
    let place = "tollgate.toml:4 server.operations_listen";
    listen("operations_listen = \"0.0.0.0:9420\"").stops("listen_unencrypted", place);
    listen("operations_listen = \"127.0.0.1:8420\"").stops("listen_twice", place);
}

#[test]
fn the_environment_sets_the_server_section_only() {
    let server = tree()
        .variable("TOLLGATE_SERVER__LISTEN", "127.0.0.1:9")
        .variable("TOLLGATE_SERVER__OPERATIONS_LISTEN", "127.0.0.1:10")
        .variable("TOLLGATE_SERVER__URL", "https://other.example")
        .variable("TOLLGATE_SERVER__TENANT", "acme")
        .variable("TOLLGATE_SERVER__TRUSTED_PROXIES", "10.0.0.1/32, 10.0.0.2/32")
        .variable("TOLLGATE_SERVER__TLS__CERTIFICATE", "c.pem")
        .variable("TOLLGATE_SERVER__TLS__KEY", "/k.pem")
        .variable("TOLLGATE_URL", "for the command line")
        .variable("TOLLGATE_CONFIG", "for the command line")
        .clean()
        .settings
        .server;
    assert_eq!(server.listen.to_string(), "127.0.0.1:9");
    assert_eq!(server.operations_listen.unwrap().port(), 10);
    assert_eq!(server.url.as_str(), "https://other.example");
    assert_eq!(server.tenant.as_str(), "acme");
    assert_eq!(server.trusted_proxies.len(), 2);
    let Some(TlsSettings::Files(files)) = server.tls else { panic!("{:?}", server.tls) };
    assert_eq!(files.key.to_str(), Some("/k.pem"));
}

#[test]
fn problems_of_a_variable_name_it() {
    let listen = |value: &str| tree().variable("TOLLGATE_SERVER__LISTEN", value);
    listen("nonsense").stops("bad_value", "TOLLGATE_SERVER__LISTEN server.listen");
    listen("0.0.0.0:80").stops("listen_unencrypted", "TOLLGATE_SERVER__LISTEN server.listen");
    let typo = tree().variable("TOLLGATE_SERVER__LISTN", "127.0.0.1:9");
    typo.stops("unknown_variable", "TOLLGATE_SERVER__LISTN");
    assert_eq!(typo.one().fix, "did you mean TOLLGATE_SERVER__LISTEN?");
}

#[test]
fn the_environment_never_changes_an_issuer_a_role_or_a_policy() {
    for name in
        ["TOLLGATE_ISSUERS__CI__AUDIENCE", "TOLLGATE_ROLES__API__TARGET", "TOLLGATE_LIMITS__CONCURRENCY"]
    {
        tree().variable(name, "x").stops("variable_refused", name);
    }
}

#[test]
fn secrets_come_from_exactly_one_place() {
    let secret = |secret: &str| tree().edit(MAIN, "{ env = \"KEK\" }", secret);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    std::fs::write(&path, format!("{KEY}\n")).unwrap();
    let key = "tollgate.toml:6 store.key_encryption_key";

    let file = secret(&format!("{{ file = \"{}\" }}", path.display())).clean();
    assert_eq!(file.settings.store.key_encryption_key.expose_secret(), KEY);
    secret(&format!("{{ value = \"{KEY}\" }}")).warns("secret_in_file", &format!("{key}.value"));
    secret("{ env = \"KEK\", file = \"x\" }").stops("secret_places", key);
    secret("{}").stops("secret_places", key);
    secret("{ env = \"UNSET\" }").stops("secret_unset", &format!("{key}.env"));
    secret("{ file = \"/nowhere/key\" }").stops("secret_unreadable", &format!("{key}.file"));
    secret("{ env = \"EMPTY\" }").variable("EMPTY", "").stops("secret_empty", key);
    secret(&format!("\"{KEY}\"")).stops("wrong_type", key);
    tree().variable("KEK", "c2hvcnQ=").stops("bad_key", key);
}

#[test]
fn a_source_names_issuers_that_there_are() {
    let source = |issuers: &str| {
        tree().edit(MAIN, "facts = { commit", &format!("issuers = {issuers}\nfacts = {{ commit"))
    };
    let config = source("[\"ci\"]").clean();
    let issuers = config.settings.sources["commits"].issuers.as_ref().unwrap();
    assert_eq!(issuers.iter().map(ToString::to_string).collect::<Vec<_>>(), ["ci"]);
    source("[\"c1\"]").stops("unknown_issuer", "tollgate.toml:9 sources.commits.issuers[0]");
    source("[]").stops("empty_list", "tollgate.toml:9 sources.commits.issuers");
}

#[test]
fn a_file_of_authorities_must_be_there_and_hold_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    let certified = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap();
    std::fs::write(&path, certified.cert.pem()).unwrap();
    let line = format!("ca_file = \"{}\"", path.display());
    for file in ["targets/vault.toml", "targets/aws.toml", "issuers/ci.toml"] {
        tree().add(file, &line).clean();
        let place = format!("{file}:1 ca_file");
        tree().add(file, "ca_file = \"/nowhere/ca.pem\"").stops("bad_ca_file", &place);
    }
    let source = tree().edit(MAIN, "facts = { commit", &format!("{line}\nfacts = {{ commit"));
    assert_eq!(source.clean().settings.sources["commits"].ca_file.as_deref(), Some(path.as_path()));
    std::fs::write(&path, "no certificate").unwrap();
    source.stops("bad_ca_file", "tollgate.toml:9 sources.commits.ca_file");
}

#[test]
fn no_problem_shows_a_secret() {
    let sentinel = "s3ntinel-S3CRET+/=";
    for text in [
        format!("\"{sentinel}\""),
        format!("{{ value = \"{sentinel}\" }}"),
        format!("{{ valu = \"{sentinel}\" }}"),
        format!("{{ env = \"{sentinel}\" }}"),
        format!("[\"{sentinel}\"]"),
        format!("{{ value = \"{sentinel}\" "),
    ] {
        let problems = tree().edit(MAIN, "{ env = \"KEK\" }", &text).load().unwrap_err();
        assert!(!problems.to_string().contains("S3CRET"), "{problems}");
        assert!(!format!("{problems:?}").contains("S3CRET"));
    }
    let debug = format!("{:?}", tree().clean().settings);
    assert!(!debug.contains(KEY));
}

#[test]
fn time_zones_are_known_on_a_machine_without_any() {
    let bundled = jiff::tz::TimeZoneDatabase::bundled();
    assert!(bundled.get("Europe/Berlin").is_ok(), "the feature tzdb-bundle-always compiles them in");
}

#[test]
fn limits_times_and_words_are_checked() {
    let add = |text: &str| {
        let main = super::BASE[0].1;
        tree().file(MAIN, &format!("{main}{text}"))
    };
    add("[limits]\nconcurrency = 0\n").stops("out_of_range", "tollgate.toml:11 limits.concurrency");
    add("[limits]\nconcurrency = \"5\"\n").stops("wrong_type", "tollgate.toml:11 limits.concurrency");
    add("[limits]\npolicy_timeout = \"1h\"\n")
        .stops("out_of_range", "tollgate.toml:11 limits.policy_timeout");
    add("[limits]\npolicy_timeout = \"1.5s\"\n").stops("bad_value", "tollgate.toml:11 limits.policy_timeout");
    add("[time]\nzone = \"Mars/Olympus\"\n").stops("bad_value", "tollgate.toml:11 time.zone");
    assert_eq!(
        add("[time]\nzone = \"Europe/Berlin\"\n").clean().settings.zone.iana_name(),
        Some("Europe/Berlin")
    );
    let denials = add("[denials]\ndetail = \"ful\"\n");
    denials.stops("unknown_word", "tollgate.toml:11 denials.detail");
    assert_eq!(denials.one().fix, "did you mean `full`?");
}

#[test]
fn sources_fix_their_host_and_their_origin() {
    let url = |url: &str| tree().edit(MAIN, "https://git.example/{commit}", url);
    let place = "tollgate.toml:8 sources.commits.url";
    url("https://{owner}.example/x").stops("url_host", place);
    url("https://{owner}").stops("url_host", place);
    url("{repository}").stops("url_host", place);
    url("https://git.example/{commit").stops("bad_template", place);
    url("http://git.example/{commit}").stops("url_insecure", place);
    url("http://127.0.0.1:1/{commit}").stops("url_insecure", place);
    url("https://user:pw@git.example/{commit}").stops("url_parts", place);
    url("https://git.example/{repository:path}?q={commit}").clean();

    let fact = |fact: &str| tree().edit(MAIN, "commit_signed", fact);
    for key in ["time", "requested_ttl", "branch", "environment", "repository"] {
        fact(key).stops("fact_origin", &format!("tollgate.toml:9 sources.commits.facts.{key}"));
    }
    tree()
        .edit(MAIN, "\"/signed\"", "\"signed\"")
        .stops("bad_pointer", "tollgate.toml:9 sources.commits.facts.commit_signed");
    tree()
        .edit(MAIN, "commit_signed = \"/signed\"", "")
        .stops("no_facts", "tollgate.toml:9 sources.commits.facts");
}

#[test]
fn sources_authenticate_by_a_header_that_is_theirs() {
    let add = |text: &str| tree().edit(MAIN, "facts =", &format!("{text}\nfacts ="));
    let auth =
        |header: &str| add(&format!("auth = {{ header = \"{header}\", value = {{ env = \"KEK\" }} }}"));
    let source = auth("authorization").clean().settings.sources.remove("commits").unwrap();
    assert_eq!(source.auth.unwrap().header, "authorization");
    auth("Host").stops("header_refused", "tollgate.toml:9 sources.commits.auth.header");
    auth("a b").stops("bad_value", "tollgate.toml:9 sources.commits.auth.header");
    auth("authorization")
        .edit(MAIN, "value = { env = \"KEK\" }", "value = { env = \"BAD\" }")
        .variable("BAD", "a\nb")
        .stops("header_value", "tollgate.toml:9 sources.commits.auth.value");
    add("insecure_loopback = true")
        .warns("insecure_loopback", "tollgate.toml:9 sources.commits.insecure_loopback");
    add("allow_networks = [\"0.0.0.0/0\"]")
        .stops("network_too_wide", "tollgate.toml:9 sources.commits.allow_networks");
    add("allow_networks = [\"10.0.0.0/8\"]").clean();
}

#[test]
fn operations_name_the_packages_that_decide_them() {
    let operations = |text: &str| {
        tree().edit(MAIN, "[sources.commits]", &format!("[operations]\n{text}\n[sources.commits]"))
    };
    assert!(tree().clean().settings.operations.packages.is_empty());
    let read = operations("\"lease.list\" = [\"ops.security\"]\nall_tenants = [\"lease.list\"]").clean();
    let read = read.settings.operations;
    assert_eq!(read.packages[&Operation::LeaseList], ["ops.security".parse().unwrap()]);
    assert!(read.all_tenants.contains(&Operation::LeaseList));

    let typo = operations("\"lease.lst\" = [\"ops.security\"]");
    typo.stops("unknown_key", "tollgate.toml:8 operations.\"lease.lst\"");
    assert_eq!(typo.one().fix, "did you mean `lease.list`?");
    operations("\"block\" = []").stops("empty_list", "tollgate.toml:8 operations.block");
    operations("all_tenants = [\"nothing\"]").stops("bad_value", "tollgate.toml:8 operations.all_tenants[0]");
    let place = "tollgate.toml:8 operations.all_tenants";
    operations("all_tenants = [\"block\"]").stops("operation_without_packages", place);
}

#[test]
fn p_15_minting_is_decided_by_roles_alone() {
    let text = "[operations]\nmint = [\"ops.security\"]\n[sources.commits]";
    tree().edit(MAIN, "[sources.commits]", text).stops("unknown_key", "tollgate.toml:8 operations.mint");
}

const DATABASE: &str = "postgres = { url = \"postgres://tollgate@db.example/ledger\" }";

/// The base with its ledger in a database.
fn in_a_database(store: &str) -> super::Tree {
    let tree = tree().edit(MAIN, "[store]", "admin_socket = \"/run/admin.sock\"\n[store]");
    tree.edit(MAIN, "sqlite = \"/state/tollgate.sqlite\"", store)
}

#[test]
fn a_ledger_in_a_database_needs_a_place_for_the_administration_socket() {
    let settings = in_a_database(DATABASE).clean().settings;
    let crate::config::StorePlace::Postgres(place) = &settings.store.place else { panic!("a file") };
    assert_eq!((place.to_string().as_str(), place.pool), ("postgres://tollgate@db.example:5432/ledger", 8));
    assert!(place.is_encrypted());
    assert_eq!(settings.server.admin_socket.unwrap().to_str(), Some("/run/admin.sock"));
    tree()
        .edit(MAIN, "sqlite = \"/state/tollgate.sqlite\"", DATABASE)
        .stops("missing_key", "tollgate.toml:2 server");
}

#[test]
fn a_ledger_is_kept_in_one_place() {
    let both = format!("sqlite = \"/state/tollgate.sqlite\"\n{DATABASE}");
    in_a_database(&both).stops("two_stores", "tollgate.toml:6 store.sqlite");
}

#[test]
fn s_01_the_databases_password_is_shown_nowhere_and_belongs_elsewhere() {
    let url = |url: &str| in_a_database(&format!("postgres = {{ url = \"{url}\" }}"));
    url("postgres://tollgate:sentinel@db.example/ledger")
        .warns("secret_in_file", "tollgate.toml:6 store.postgres.url");
    let broken = url("mysql://tollgate:sentinel@db.example/ledger");
    broken.stops("bad_value", "tollgate.toml:6 store.postgres.url");
    assert!(!broken.one().to_string().contains("sentinel"));
    let secret = "postgres = { url = \"postgres://t@db.example/l\", password = { env = \"KEK\" }, ca = \"ca.pem\", pool = 3 }";
    let settings = in_a_database(secret).clean().settings;
    let crate::config::StorePlace::Postgres(place) = &settings.store.place else { panic!("a file") };
    assert_eq!(place.password.as_ref().map(ExposeSecret::expose_secret), Some(KEY));
    assert_eq!((place.pool, place.ca.as_deref()), (3, Some(std::path::Path::new("/etc/tollgate/ca.pem"))));
    assert!(!format!("{settings:?}").contains(KEY));
}

/// The base with a webhook `siem` of these lines.
fn webhook(lines: &str) -> super::Tree {
    let text = format!("[webhooks.siem]\nsecret = {{ env = \"SIEM\" }}\n{lines}\n[sources.commits]");
    tree().edit(MAIN, "[sources.commits]", &text).variable("SIEM", KEY)
}

#[test]
fn webhooks_say_what_they_may_block_and_for_how_long() {
    let good = "subjects = { repository = \"/repo\" }\nduration = \"4h\"";
    let settings = webhook(good).clean().settings;
    let siem = &settings.webhooks["siem"];
    assert_eq!((siem.name.as_str(), siem.duration.as_secs(), &siem.tenant), ("siem", 4 * 3600, &None));
    assert!(matches!(siem.auth, crate::config::WebhookAuth::Hmac(_)));

    let place = |line: u32, key: &str| format!("tollgate.toml:{line} webhooks.siem.{key}");
    webhook("duration = \"4h\"").stops("missing_key", &place(7, "subjects"));
    webhook("subjects = { repository = \"/repo\" }").stops("missing_key", &place(7, "duration"));
    webhook("subjects = {}\nduration = \"4h\"").stops("no_subjects", &place(9, "subjects"));
    webhook("subjects = { repository = \"repo\", role = \"/y\" }\nduration = \"4h\"")
        .stops("bad_pointer", &place(9, "subjects.repository"));
    let everything = webhook("subjects = { everything = \"/x\", role = \"/y\" }\nduration = \"4h\"");
    everything.stops("webhook_everything", &place(9, "subjects.everything"));
    let unknown = webhook("subjects = { repo = \"/x\", role = \"/y\" }\nduration = \"4h\"");
    unknown.stops("bad_name", &place(9, "subjects.repo"));
    webhook(&format!("{good}\nauth = \"bearer\"")).warns("webhook_bearer", &place(11, "auth"));
    webhook(good).variable("SIEM", "short").stops("secret_short", &place(8, "secret"));
}

#[test]
fn a_webhook_by_certificate_needs_an_authority_names_and_tls_here() {
    let folder = tempfile::tempdir().unwrap();
    let ca = rcgen::generate_simple_self_signed(["ca.example".to_owned()]).unwrap().cert.pem();
    let (good, bad) = (folder.path().join("ca.pem"), folder.path().join("bad.pem"));
    std::fs::write(&good, ca).unwrap();
    std::fs::write(&bad, "no certificate").unwrap();
    let tls = "[server]\ntls = { certificate = \"a\", key = \"b\" }";
    let of = |ca: &std::path::Path, names: &str, more: &str| {
        let text = format!(
            "[webhooks.siem]\nauth = \"mtls\"\nca_file = \"{}\"\nnames = {names}\n{more}\
             subjects = {{ repository = \"/repo\" }}\nduration = \"4h\"\n[sources.commits]",
            ca.display()
        );
        tree().edit(MAIN, "[sources.commits]", &text).edit(MAIN, "[server]", tls)
    };
    let names = "[\"dns:siem.example\", \"uri:spiffe://acme.example/siem\"]";
    let settings = of(&good, names, "").clean().settings;
    let crate::config::WebhookAuth::Certificate(clients) = &settings.webhooks["siem"].auth else { panic!() };
    assert_eq!((clients.names.len(), settings.client_authorities().count()), (2, 1));

    let stops = |tree: super::Tree, code: &str| {
        let problems = tree.load().unwrap_err();
        assert!(problems.iter().any(|problem| problem.code == code), "{problems}");
    };
    stops(of(&bad, names, ""), "bad_ca_file");
    stops(of(&folder.path().join("none"), names, ""), "bad_ca_file");
    stops(of(&good, "[]", ""), "no_names");
    stops(of(&good, "[\"dns:*.example\"]", ""), "bad_value");
    stops(of(&good, names, "secret = { env = \"SIEM\" }\n"), "unknown_key");
    stops(
        of(&good, names, "").edit(MAIN, "tls = { certificate = \"a\", key = \"b\" }\n", ""),
        "mtls_without_tls",
    );
}

#[test]
fn s_01_the_secret_of_a_webhook_is_in_no_debug_output() {
    let settings = webhook("subjects = { repository = \"/repo\" }\nduration = \"4h\"").clean().settings;
    let siem = &settings.webhooks["siem"];
    let crate::config::WebhookAuth::Hmac(secret) = &siem.auth else { panic!("{siem:?}") };
    assert_eq!(secret.expose_secret(), KEY);
    assert!(!format!("{siem:?}").contains(KEY));
}
