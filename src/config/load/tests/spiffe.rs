//! `issuers/*.toml` of a SPIFFE trust domain.

use super::{Tree, tree};
use crate::config::{BundleSource, EndpointServer, KeySource, Profile};

const FILE: &str = "issuers/mesh.toml";
const PATHS: &str = "paths = [\"/ns/{namespace}/sa/{service_account}\"]";

/// A bundle in a file, whose folder is removed with the first part.
fn bundle(text: Option<&str>) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle");
    let made = || rcgen::generate_simple_self_signed(["acme.example".to_owned()]).unwrap().cert.pem();
    std::fs::write(&path, text.map_or_else(made, str::to_owned)).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (folder, path)
}

fn domain(bundle: &str, more: &str) -> Tree {
    let text = format!(
        "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"https://tollgate.example\"\nbundle = {bundle}\n{more}\n"
    );
    tree().file(FILE, &text)
}

#[test]
fn a_domain_says_where_its_bundle_comes_from_and_how_its_paths_are_read() {
    let (_folder, path) = bundle(None);
    let config =
        domain(&format!("{{ file = \"{path}\" }}"), &format!("{PATHS}\ntrust = \"trusted\"")).clean();
    let issuer = &config.issuers["mesh"];
    assert_eq!(issuer.url.as_str(), "spiffe://acme.example");
    assert_eq!(issuer.keys, KeySource::Bundle(BundleSource::File(path.as_str().into())));
    assert!(matches!(&issuer.profile, Profile::Spiffe { paths, .. } if paths.len() == 1));
    assert!(config.asks_for_certificates() && !tree().clean().asks_for_certificates());

    let web = r#"{ endpoint = "https://acme.example/bundle", profile = "https_web" }"#;
    let config = domain(web, PATHS).clean();
    let KeySource::Bundle(BundleSource::Endpoint { server, .. }) = &config.issuers["mesh"].keys else {
        panic!()
    };
    assert_eq!(*server, EndpointServer::Web);

    let spiffe = |id: &str| {
        let text = format!(
            "{{ endpoint = \"https://acme.example/bundle\", profile = \"https_spiffe\", endpoint_spiffe_id = \"{id}\", file = \"{path}\" }}"
        );
        domain(&text, PATHS)
    };
    spiffe("spiffe://acme.example/spire/server").clean();
    for other in
        ["spiffe://other.example/spire/server", "spiffe://acme.example.evil/x", "spiffe://acme.example"]
    {
        spiffe(other).stops("endpoint_domain", "issuers/mesh.toml:4 bundle.endpoint_spiffe_id");
    }
}

#[test]
fn i_22_a_domain_vouches_for_runners_by_what_its_paths_give() {
    let (_folder, path) = bundle(None);
    let runner = "[runner]\nattributes = { id = \"spiffe_id\", pool = \"service_account\" }";
    let config = domain(&format!("{{ file = \"{path}\" }}"), &format!("{PATHS}\n{runner}")).clean();
    let issuer = &config.issuers["mesh"];
    assert!(!issuer.vouches_for_identities());
    assert_eq!(issuer.runner.as_ref().unwrap().members.len(), 2);
}

#[test]
fn i_16_a_domain_that_admits_all_is_warned_of_and_a_broken_one_does_not_load() {
    let (_folder, path) = bundle(None);
    let file = format!("{{ file = \"{path}\" }}");
    domain(&file, "").warns("spiffe_any_workload", "issuers/mesh.toml");
    domain(&file, "require = { namespace = \"shop\" }").clean();
    domain(&file, "paths = []").stops("bad_paths", "issuers/mesh.toml:5 paths");
    for bad in ["ns/{a}", "/ns//{a}", "/{a}/{a}", "/job-{a}", "/../{a}"] {
        domain(&file, &format!("paths = [\"{bad}\"]")).stops("bad_value", "issuers/mesh.toml:5 paths[0]");
    }
    for taken in ["tenant", "spiffe_id", "sub"] {
        let paths = format!("paths = [\"/{{{taken}}}\"]");
        domain(&file, &paths).stops("attribute_origin", "issuers/mesh.toml:5 paths[0]");
    }
    let named = |name: &str| domain(&file, PATHS).edit(FILE, "\"acme.example\"", &format!("\"{name}\""));
    for bad in ["", "Acme.example", "spiffe://acme.example", "acme.example/ns", "acme.example:443"] {
        named(bad).stops("bad_trust_domain", "issuers/mesh.toml:2 trust_domain");
    }
    // Keys of other profiles mean nothing here.
    for unknown in ["issuer = \"https://a.example\"", "algorithms = [\"RS256\"]", "audience_list = true"] {
        let key = unknown.split(' ').next().unwrap();
        domain(&file, &format!("{PATHS}\n{unknown}"))
            .stops("unknown_key", &format!("issuers/mesh.toml:6 {key}"));
    }
    let twin = format!(
        "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"https://b.example\"\nbundle = {file}\n{PATHS}\n"
    );
    domain(&file, PATHS)
        .file("issuers/twin.toml", &twin)
        .stops("issuer_twice", "issuers/twin.toml:2 trust_domain");
}

#[test]
fn a_bundle_is_looked_at_before_anything_starts() {
    for text in [
        "",
        "<html>",
        r#"{"keys":[]}"#,
        r#"{"keys":[{"use":"sig","kty":"EC"}]}"#,
        r#"{"keys":[{"use":"jwt-svid","kty":"EC","d":"secret"}]}"#,
        r#"{"keys":[],"keys":[]}"#,
    ] {
        let (_folder, path) = bundle(Some(text));
        let tree = domain(&format!("{{ file = \"{path}\" }}"), PATHS);
        tree.stops("bad_bundle", "issuers/mesh.toml:4 bundle.file");
    }
    domain(r#"{ file = "missing.json" }"#, PATHS).stops("bad_bundle", "issuers/mesh.toml:4 bundle.file");
    domain("{ }", PATHS).stops("missing_key", "issuers/mesh.toml:4 bundle.file");
    let plain = r#"{ endpoint = "http://acme.example/bundle", profile = "https_web" }"#;
    domain(plain, PATHS).stops("url_insecure", "issuers/mesh.toml:4 bundle.endpoint");
}

#[test]
fn a_trust_domain_is_no_oidc_issuer_and_no_public_url() {
    let oidc = "issuer = \"spiffe://acme.example\"\naudience = \"https://tollgate.example\"\nprofile = \"kubernetes\"\n";
    tree().file(FILE, oidc).stops("issuer_scheme", "issuers/mesh.toml:1 issuer");
}
