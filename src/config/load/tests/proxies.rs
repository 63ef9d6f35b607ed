//! `[server.proxy]`.

use super::{Tree, tree};
use crate::config::CertificateHeader;

const MAIN: &str = "tollgate.toml";
const TLS: &str = "tls = { certificate = \"c.pem\", key = \"k.pem\" }\ntrusted_proxies = [\"10.0.0.5/32\"]";
const GOOD: &str =
    "listen = \"10.0.0.7:8423\", header = \"xfcc\", spiffe_ids = [\"spiffe://acme.example/ns/a/sa/b\"]";

/// A tree with a trust domain, `tls` in `[server]`, and the proxies `proxy` at line 6.
fn proxies(tls: &str, proxy: &str) -> (tempfile::TempDir, Tree) {
    let folder = tempfile::tempdir().unwrap();
    let bundle = folder.path().join("bundle.pem");
    let root = rcgen::generate_simple_self_signed(["acme.example".to_owned()]).unwrap();
    std::fs::write(&bundle, root.cert.pem()).unwrap();
    let domain = format!(
        "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"https://tollgate.example\"\n\
         bundle = {{ file = \"{}\" }}\npaths = [\"/ns/{{namespace}}/sa/{{service_account}}\"]\n",
        bundle.display()
    );
    let server = format!("{tls}\nproxy = {{ {proxy} }}\n[store]");
    (folder, tree().file("issuers/mesh.toml", &domain).edit(MAIN, "[store]", &server))
}

#[test]
fn proxies_have_a_listener_a_header_and_ids() {
    let (_folder, tree) = proxies(TLS, GOOD);
    let proxy = tree.clean().settings.server.proxy.unwrap();
    assert_eq!((proxy.listen.port(), proxy.header), (8423, CertificateHeader::Xfcc));
    assert_eq!(proxy.spiffe_ids.len(), 1);
}

#[test]
fn i_21_refuses_proxies_that_could_not_prove_themselves() {
    let place = "tollgate.toml:6 server.proxy";
    for (from, to, code, key) in [
        ("\"xfcc\"", "\"x-forwarded\"", "unknown_word", ".header"),
        ("header = \"xfcc\", ", "", "missing_key", ".header"),
        ("listen = \"10.0.0.7:8423\", ", "", "missing_key", ".listen"),
        (", spiffe_ids = [\"spiffe://acme.example/ns/a/sa/b\"]", "", "missing_key", ".spiffe_ids"),
        ("\"spiffe://acme.example/ns/a/sa/b\"", "", "bad_proxies", ".spiffe_ids"),
        ("spiffe://acme.example/ns/a/sa/b", "spiffe://acme.example", "bad_value", ".spiffe_ids[0]"),
        ("spiffe://acme.example/ns/a/sa/b", "envoy", "bad_value", ".spiffe_ids[0]"),
        ("10.0.0.7:8423", "127.0.0.1:8420", "listen_twice", ""),
    ] {
        let (_folder, tree) = proxies(TLS, &GOOD.replace(from, to));
        tree.stops(code, &format!("{place}{key}"));
    }
    let (_folder, tree) = proxies(TLS, &GOOD.replace("acme.example", "other.example"));
    tree.stops("proxy_domain", "tollgate.toml");
    let (_folder, tree) = proxies("trusted_proxies = [\"10.0.0.5/32\"]\n", GOOD);
    tree.stops("proxy_without_tls", place);
    let (_folder, tree) = proxies(&TLS.replace("trusted_proxies = [\"10.0.0.5/32\"]", ""), GOOD);
    tree.warns("proxy_addresses", place);
}
