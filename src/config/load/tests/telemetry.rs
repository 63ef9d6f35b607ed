//! `[telemetry]`.

use secrecy::ExposeSecret;

use super::{BASE, Tree, tree};

const MAIN: &str = "tollgate.toml";

/// The base with `more` at the end of `tollgate.toml`, whose line 10 is the first of it.
fn with(more: &str) -> Tree {
    tree().file(MAIN, &format!("{}{more}\n", BASE[0].1))
}

fn otlp(table: &str) -> Tree {
    with(&format!("[telemetry]\notlp = {{ {table} }}"))
}

const GOOD: &str = "endpoint = \"https://collector.example:4318/v1/traces\"";

#[test]
fn nothing_is_traced_and_no_role_is_told_apart_unless_written() {
    let telemetry = tree().clean().settings.telemetry;
    assert!(telemetry.otlp.is_none() && telemetry.label_roles.is_empty() && !telemetry.exemplars);
}

#[test]
fn exemplars_need_traces() {
    with("[telemetry]\nexemplars = true").stops("no_traces", "tollgate.toml:11 telemetry.exemplars");
    let both = format!("[telemetry]\nexemplars = true\notlp = {{ {GOOD} }}");
    assert!(with(&both).clean().settings.telemetry.exemplars);
}

#[test]
fn roles_that_are_told_apart_exist_and_are_few() {
    let roles = |roles: &str| with(&format!("[telemetry]\nlabel_roles = [{roles}]"));
    assert_eq!(roles("\"api\"").clean().settings.telemetry.label_roles.len(), 1);
    let place = "tollgate.toml:11 telemetry.label_roles";
    let misspelt = roles("\"apy\"");
    misspelt.stops("unknown_role", place);
    assert_eq!(misspelt.one().fix, "did you mean `api`?");
    let many: Vec<_> = (0..101).map(|n| format!("\"r{n}\"")).collect();
    let problems = roles(&many.join(",")).load().unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "too_many"), "{problems}");
}

#[test]
fn a_collector_is_reached_over_https_with_all_of_its_headers() {
    let table = format!("{GOOD}, headers = {{ x-key = {{ env = \"KEK\" }} }}, ca_file = \"ca.pem\"");
    let settings = otlp(&table).clean().settings.telemetry.otlp.unwrap();
    assert_eq!(settings.headers["x-key"].expose_secret(), super::KEY);
    assert_eq!(settings.ca_file.as_deref().unwrap().to_str(), Some("/etc/tollgate/ca.pem"));
    assert!((settings.sample - 1.0).abs() < f64::EPSILON && !settings.trust_traceparent);

    let place = "tollgate.toml:11 telemetry.otlp";
    otlp("endpoint = \"http://collector.example\"").stops("url_insecure", &format!("{place}.endpoint"));
    otlp("sample = 0.5").stops("missing_key", &format!("{place}.endpoint"));
    let header = |name: &str| otlp(&format!("{GOOD}, headers = {{ \"{name}\" = {{ env = \"KEK\" }} }}"));
    for name in ["host", "Content-Type", "content-length"] {
        header(name).stops("header_refused", &format!("{place}.headers.{name}"));
    }
    header("a b").stops("header_refused", &format!("{place}.headers.\"a b\""));
    header("x-key")
        .variable("KEK2", "a\nb")
        .edit(MAIN, "x-key\" = { env = \"KEK\" }", "x-key\" = { env = \"KEK2\" }")
        .stops("header_value", &format!("{place}.headers.x-key"));
}

#[test]
fn a_sample_is_a_share() {
    let sample = |sample: &str| otlp(&format!("{GOOD}, sample = {sample}"));
    let place = "tollgate.toml:11 telemetry.otlp.sample";
    for (written, read) in [("0.25", 0.25), ("0", 0.0), ("1", 1.0), ("0.0", 0.0), ("1.0", 1.0)] {
        let otlp = sample(written).clean().settings.telemetry.otlp.unwrap();
        assert!((otlp.sample - read).abs() < f64::EPSILON, "{written}");
    }
    for bad in ["1.1", "-0.1", "2", "nan", "inf"] {
        sample(bad).stops("out_of_range", place);
    }
    sample("\"0.1\"").stops("wrong_type", place);
}

#[test]
fn s_08_a_traceparent_is_trusted_from_named_proxies_only() {
    let trusting = otlp(&format!("{GOOD}, trust_traceparent = true"));
    trusting.stops("no_proxy", "tollgate.toml:11 telemetry.otlp.trust_traceparent");
    trusting.edit(MAIN, "[store]", "trusted_proxies = [\"10.0.0.5/32\"]\n[store]").clean();
}

#[test]
fn settings_differ_by_what_their_secrets_are() {
    let of = |key: &str| {
        let table = format!("{GOOD}, headers = {{ x-key = {{ env = \"TRACES\" }} }}");
        otlp(&table).variable("TRACES", key).clean().settings.telemetry.otlp.unwrap()
    };
    assert_eq!(of("one").fingerprint(), of("one").fingerprint());
    assert_ne!(of("one").fingerprint(), of("two").fingerprint());
    assert!(!format!("{:?}", of("s3cret")).contains("s3cret"));
}
