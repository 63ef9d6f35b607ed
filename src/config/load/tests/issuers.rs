//! `issuers/*.toml`.

use std::time::Duration;

use super::{Tree, tree};
use crate::config::{Algorithm, AttributeRule, KeySource, Profile, Replay};
use crate::domain::Scalar;

const CI: &str = "issuers/ci.toml";
const PUBLIC: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"a","y":"b"}]}"#;

fn set(from: &str, to: &str) -> Tree {
    tree().edit(CI, from, to)
}

fn add(line: &str) -> Tree {
    tree().edit(CI, "profile =", &format!("{line}\nprofile ="))
}

/// A generic issuer of `url`, with `more` keys.
fn generic(url: &str, more: &str) -> Tree {
    let text = format!(
        "issuer = \"{url}\"\naudience = \"https://tollgate.example\"\nprofile = \"generic\"\nprincipal_claim = \"sub\"\n{more}\n"
    );
    tree().file("issuers/own.toml", &text)
}

#[test]
fn all_that_can_have_a_default_has_one() {
    let config = tree().clean();
    let issuer = &config.issuers["ci"];
    assert_eq!(issuer.profile, Profile::GitHub);
    assert_eq!(issuer.algorithms, [Algorithm::Rs256]);
    assert_eq!(issuer.keys, KeySource::Discovery { jwks_hosts: Vec::new() });
    assert_eq!(issuer.tenant, AttributeRule::Constant(Scalar::Text("default".into())));
    assert_eq!((issuer.replay, issuer.audience_list), (Replay::Once, false));
    assert_eq!((issuer.max_age, issuer.skew), (Duration::from_mins(10), Duration::from_secs(30)));
}

#[test]
fn i_01_http_is_for_a_literal_loopback_address_that_says_so() {
    let url = |url: &str, more: &str| generic(url, &format!("shared = false\n{more}"));
    for bad in ["http://issuer.example", "http://localhost:1", "http://192.168.0.1", "file:///etc/passwd"] {
        url(bad, "").stops("bad_value", "issuers/own.toml:1 issuer");
        assert!(url(bad, "insecure_loopback = true").load().is_err());
    }
    url("http://127.0.0.1:1", "").stops("url_insecure", "issuers/own.toml:1 issuer");
    url("http://127.0.0.1:1", "insecure_loopback = true")
        .warns("insecure_loopback", "issuers/own.toml:6 insecure_loopback");
    for wide in ["0.0.0.0/0", "169.254.0.0/16", "::/0"] {
        url("https://issuer.example", &format!("allow_networks = [\"{wide}\"]"))
            .stops("network_too_wide", "issuers/own.toml:6 allow_networks");
    }
}

#[test]
fn i_06_the_audience_is_mandatory_and_nobody_elses() {
    set("audience = \"https://tollgate.example\"\n", "").stops("missing_key", "issuers/ci.toml audience");
    let audience = |text: &str| set("audience = \"https://tollgate.example\"", &format!("audience = {text}"));
    for bad in
        ["sts.amazonaws.com", "api://AzureADTokenExchange", "https://github.com/acme", "vault", "sigstore"]
    {
        audience(&format!("\"{bad}\"")).stops("foreign_audience", "issuers/ci.toml:3 audience");
    }
    audience("\"https://token.actions.githubusercontent.com/\"")
        .stops("foreign_audience", "issuers/ci.toml:3 audience");
    audience("\"\"").stops("bad_value", "issuers/ci.toml:3 audience");
    audience("[\"a\", \"b\"]").stops("wrong_type", "issuers/ci.toml:3 audience");
}

#[test]
fn the_pair_of_issuer_and_audience_is_unique() {
    let twice = |audience: &str| {
        let text = super::BASE[1].1.replace("https://tollgate.example", audience);
        tree().file("issuers/two.toml", &text)
    };
    twice("https://tollgate.example").stops("issuer_twice", "issuers/two.toml:3 audience");
    twice("https://other.example").clean();
}

#[test]
fn i_19_a_shared_issuer_needs_an_immutable_claim() {
    let require = |text: &str| set("{ repository_owner_id = \"1\" }", text);
    set("require = { repository_owner_id = \"1\" }\n", "").stops("not_admitting", "issuers/ci.toml require");
    require("{}").stops("not_admitting", "issuers/ci.toml:5 require");
    require("{ repository_owner = \"acme\" }").stops("not_admitting", "issuers/ci.toml:5 require");
    require("{ repository_id = [\"1\", \"2\"] }").clean();
    require("{ enterprise_id = \"1\" }").clean();
    require("{ repository_owner_id = [] }")
        .stops("bad_requirement", "issuers/ci.toml:5 require.repository_owner_id");
    require("{ repository_owner_id = \"\" }")
        .stops("bad_requirement", "issuers/ci.toml:5 require.repository_owner_id");
    require("{ \"\" = \"1\", repository_id = \"1\" }").stops("bad_claim", "issuers/ci.toml:5 require.\"\"");
    require("{ \"/a~\" = \"1\", repository_id = \"1\" }")
        .stops("bad_claim", "issuers/ci.toml:5 require.\"/a~\"");
    require("{ repository_owner_id = 1 }").stops("id_as_number", "issuers/ci.toml:5 require");
}

#[test]
fn i_19_well_known_issuers_are_shared_however_they_are_written() {
    let gitlab = |require: &str| {
        let text = format!(
            "issuer = \"https://gitlab.com\"\naudience = \"https://tollgate.example\"\nprofile = \"gitlab\"\n{require}\n"
        );
        let by_principal = tree().edit("roles/aws.toml", "\"repository_id\" }", "\"principal\" }");
        by_principal.file("issuers/gitlab.toml", &text)
    };
    gitlab("").stops("not_admitting", "issuers/gitlab.toml require");
    gitlab("require = { namespace_path = \"acme\" }").stops("not_admitting", "issuers/gitlab.toml:4 require");
    gitlab("require = { namespace_id = \"1\" }").clean();

    for url in ["https://gitlab.com/", "https://GITLAB.com", "https://gitlab.com:443"] {
        let problems = generic(url, "shared = false").load().unwrap_err();
        let codes: Vec<_> = problems.iter().map(|problem| problem.code).collect();
        assert_eq!(codes, ["not_admitting", "known_shared"], "{url}");
    }
    let hidden = generic(
        "https://token.actions.githubusercontent.com",
        "immutable_claims = [\"actor\"]\nrequire = { actor = \"x\" }",
    );
    hidden
        .edit("issuers/own.toml", "tollgate.example", "other.example")
        .stops("not_admitting", "issuers/own.toml:6 require");
}

#[test]
fn i_19_issuers_of_ones_own_need_no_requirement() {
    for url in ["https://token.actions.githubusercontent.com/acme", "https://ghes.example/_services/token"] {
        set("https://token.actions.githubusercontent.com", url)
            .edit(CI, "require = { repository_owner_id = \"1\" }\n", "")
            .clean();
    }
}

#[test]
fn i_19_a_generic_issuer_is_shared_unless_it_says_otherwise() {
    let url = "https://issuer.example";
    generic(url, "").stops("not_admitting", "issuers/own.toml require");
    generic(url, "require = { org = \"1\" }").stops("not_admitting", "issuers/own.toml:5 require");
    generic(url, "immutable_claims = [\"org\"]\nrequire = { org = 1 }").clean();
    generic(url, "shared = false").clean();
    generic(url, "shared = false\ntrust = \"trusted\"").clean();
    let admitted = "immutable_claims = [\"org\"]\nrequire = { org = 1 }\ntrust = \"trusted\"";
    generic(url, admitted).stops("trust_shared", "issuers/own.toml:7 trust");
    generic(url, "shared = false\ntrust = \"untrusted\"").stops("unknown_word", "issuers/own.toml:6 trust");
    tree()
        .file(
            "issuers/own.toml",
            "issuer = \"https://i.example\"\naudience = \"a\"\nprofile = \"generic\"\nshared = false\n",
        )
        .stops("missing_key", "issuers/own.toml principal_claim");
}

#[test]
fn c_10_tollgates_own_issuers_prove_nothing() {
    for url in
        ["https://tollgate.example", "https://tollgate.example/", "https://tollgate.example/federation"]
    {
        let tree = generic(url, "shared = false").edit(
            "issuers/own.toml",
            "audience = \"https://tollgate.example\"",
            "audience = \"aud\"",
        );
        tree.stops("own_issuer", "issuers/own.toml:1 issuer");
    }
    generic("https://tollgate.example.org", "shared = false").clean();
}

#[test]
fn algorithms_are_asymmetric_and_known() {
    add("algorithms = [\"ES256\", \"EdDSA\"]").clean();
    for bad in ["HS256", "none", "hs512"] {
        add(&format!("algorithms = [\"{bad}\"]"))
            .stops("algorithm_refused", "issuers/ci.toml:4 algorithms[0]");
    }
    add("algorithms = [\"RS255\"]").stops("unknown_word", "issuers/ci.toml:4 algorithms[0]");
    add("algorithms = []").stops("empty_list", "issuers/ci.toml:4 algorithms");
    add("algorithms = [\"RS256\", \"RS256\"]").stops("listed_twice", "issuers/ci.toml:4 algorithms[1]");
}

#[test]
fn keys_come_from_one_place_and_are_public() {
    let tree = add(&format!("jwks = '{PUBLIC}'")).clean();
    assert_eq!(tree.issuers["ci"].keys, KeySource::Inline { jwks: PUBLIC.into() });
    let file = add("jwks_file = \"issuers/ci.json\"");
    file.stops("missing_file", "issuers/ci.toml:4 jwks_file");
    let with_file = add("jwks_file = \"issuers/ci.json\"").file("issuers/ci.json", PUBLIC).clean();
    assert_eq!(with_file.issuers["ci"].keys, KeySource::Inline { jwks: PUBLIC.into() });
    add("jwks_file = \"../../etc/passwd\"").stops("missing_file", "issuers/ci.toml:4 jwks_file");
    add("jwks = '{\"keys\":[{\"kty\":\"EC\",\"d\":\"x\"}]}'").stops("bad_jwks", "issuers/ci.toml:4 jwks");
    add(&format!("jwks = '{PUBLIC}'\njwks_file = \"x\"")).stops("key_places", "issuers/ci.toml:5 jwks_file");
    add(&format!("jwks_hosts = [\"k.example\"]\njwks = '{PUBLIC}'"))
        .stops("key_places", "issuers/ci.toml:5 jwks");

    let hosts = add("jwks_hosts = [\"Keys.example\"]").clean();
    assert_eq!(hosts.issuers["ci"].keys, KeySource::Discovery { jwks_hosts: vec!["keys.example".into()] });
    for bad in ["https://k.example", "k.example:443", "k.example/x", "*.example"] {
        add(&format!("jwks_hosts = [\"{bad}\"]")).stops("bad_value", "issuers/ci.toml:4 jwks_hosts[0]");
    }
}

#[test]
fn tenants_come_from_a_constant_a_claim_or_a_table() {
    let tenant = |text: &str| add(&format!("tenant = {text}"));
    assert_eq!(tenant("\"acme\"").clean().issuers["ci"].constant_tenant().unwrap().as_str(), "acme");
    tenant("{ claim = \"/repository_owner_id\", values = { \"1\" = \"acme\" } }").clean();
    tenant("{ claim = \"/tenant\" }").clean();
    tenant("\"A B\"").stops("bad_tenant", "issuers/ci.toml:4 tenant");
    tenant("7").stops("bad_tenant", "issuers/ci.toml:4 tenant");
    tenant("{ claim = \"/x\", values = { \"1\" = \"A B\" } }")
        .stops("bad_tenant", "issuers/ci.toml:4 tenant");
    tenant("{ claim = \"x\" }").stops("bad_pointer", "issuers/ci.toml:4 tenant.claim");
    tenant("{ claim = \"/x\", values = {} }").stops("empty_table", "issuers/ci.toml:4 tenant.values");
    tenant("{ values = { a = \"b\" } }").stops("missing_key", "issuers/ci.toml:4 tenant.claim");
}

#[test]
fn p_12_attributes_shadow_nothing() {
    let attribute = |name: &str| add(&format!("attributes = {{ {name} = \"x\" }}"));
    attribute("on_call").clean();
    for name in
        ["repository", "branch", "trust", "principal", "tenant", "claims", "issuer", "kind", "subject"]
    {
        attribute(name).stops("attribute_origin", &format!("issuers/ci.toml:4 attributes.{name}"));
    }
    attribute("\"On-Call\"").stops("bad_name", "issuers/ci.toml:4 attributes.On-Call");
    add("attributes = { a = 1.5 }").stops("wrong_type", "issuers/ci.toml:4 attributes.a");
}

#[test]
fn replay_age_and_skew_are_bounded() {
    add("replay = \"off\"").warns("replay_off", "issuers/ci.toml:4 replay");
    add("skew = \"61s\"").stops("out_of_range", "issuers/ci.toml:4 skew");
    add("skew = \"60s\"").clean();
    add("max_age = \"25h\"").stops("out_of_range", "issuers/ci.toml:4 max_age");
    add("max_age = \"0s\"").stops("out_of_range", "issuers/ci.toml:4 max_age");
}

#[test]
fn keys_of_another_profile_are_unknown() {
    add("principal_claim = \"sub\"").stops("unknown_key", "issuers/ci.toml:4 principal_claim");
    set("\"github\"", "\"gihub\"").stops("unknown_word", "issuers/ci.toml:4 profile");
}

#[test]
fn i_12_events_have_an_audience_of_their_own_and_blocks_that_outlast_old_tokens() {
    let events = |text: &str| add(&format!("security_events = {text}"));
    assert_eq!(tree().clean().issuers["ci"].security_events, None);
    let config = events("{ audience = \"https://tollgate.example/v1/events\" }").clean();
    let read = config.issuers["ci"].security_events.as_ref().unwrap();
    assert_eq!(read.block_for, Duration::from_secs(630), "max_age and skew");
    events("{ audience = \"https://tollgate.example\" }")
        .stops("events_audience", "issuers/ci.toml:4 security_events");
    events("{ audience = \"a b\" }").stops("bad_value", "issuers/ci.toml:4 security_events.audience");
    events("{}").stops("missing_key", "issuers/ci.toml:4 security_events.audience");
    events("{ audience = \"https://events.example\", block_for = \"5m\" }")
        .warns("block_too_short", "issuers/ci.toml:4 security_events.block_for");
}
