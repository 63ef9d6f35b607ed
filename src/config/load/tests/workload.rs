//! `[workload_api]`, and what says `workload_api = true`.

use super::{Tree, tree};
use crate::config::{BundleSource, KeySource, StorePlace, TargetKind, TlsSettings};

const MAIN: &str = "tollgate.toml";
const VAULT: &str = "targets/vault.toml";
const AGENT: &str = "[workload_api]\nendpoint = \"unix:///run/spire/agent/public/api.sock\"\n";
const SHOWN: &str = "client_certificate = { workload_api = true }";

/// The tree with an agent.
fn with_agent() -> Tree {
    tree().edit(MAIN, "[store]", &format!("{AGENT}\n[store]"))
}

fn domain(tree: Tree, bundle: &str) -> Tree {
    let text = format!(
        "profile = \"spiffe\"\ntrust_domain = \"acme.example\"\naudience = \"https://tollgate.example\"\n\
         bundle = {bundle}\npaths = [\"/ns/{{namespace}}\"]\n"
    );
    tree.file("issuers/mesh.toml", &text)
}

#[test]
fn the_agent_is_on_this_machine_and_tollgates_id_has_one_spelling() {
    let agent = with_agent().clean().settings.workload_api.unwrap();
    assert_eq!(agent.spiffe_id, None);
    let endpoint = |text: &str| with_agent().edit(MAIN, "unix:///run/spire/agent/public/api.sock", text);
    endpoint("tcp://127.0.0.1:8081").clean();
    endpoint("tcp://10.0.0.5:8081").stops("endpoint_remote", "tollgate.toml:5 workload_api.endpoint");
    for bad in ["/run/api.sock", "https://agent.example", "tcp://agent.example:1"] {
        endpoint(bad).stops("bad_value", "tollgate.toml:5 workload_api.endpoint");
    }
    let id = |id: &str| with_agent().edit(MAIN, AGENT, &format!("{AGENT}spiffe_id = \"{id}\"\n"));
    id("spiffe://acme.example/tollgate").clean();
    for bad in ["spiffe://acme.example", "spiffe://ACME.example/x", "acme.example/x"] {
        id(bad).stops("bad_spiffe_id", "tollgate.toml:6 workload_api.spiffe_id");
    }
}

#[test]
fn whatever_wants_the_agent_says_so_beside_nothing_else() {
    let config = domain(with_agent(), "{ workload_api = true }").clean();
    assert_eq!(config.issuers["mesh"].keys, KeySource::Bundle(BundleSource::WorkloadApi));
    domain(with_agent(), "{ workload_api = true, file = \"b.json\" }")
        .stops("two_places", "issuers/mesh.toml:4 bundle.file");
    domain(tree(), "{ workload_api = true }")
        .stops("no_workload_api", "issuers/mesh.toml:4 bundle.workload_api");

    let server = |tree: Tree, text: &str| tree.edit(MAIN, "[server]", &format!("[server]\n{text}"));
    let tls = server(with_agent(), "tls = { workload_api = true }").clean().settings.server;
    assert!(matches!(tls.tls, Some(TlsSettings::WorkloadApi)) && tls.shows_svid());
    let both = "tls = { workload_api = true, key = \"k.pem\" }";
    server(with_agent(), both).stops("two_places", "tollgate.toml:3 server.tls.key");
    let listen = "spiffe_listen = \"0.0.0.0:8422\"";
    assert!(server(with_agent(), listen).clean().settings.server.shows_svid());
    server(tree(), listen).stops("no_workload_api", "tollgate.toml:3 server.spiffe_listen");
    server(with_agent(), "spiffe_listen = \"127.0.0.1:8420\"")
        .stops("listen_twice", "tollgate.toml:3 server.spiffe_listen");
}

#[test]
fn targets_and_the_store_are_shown_the_svid_in_tls_alone() {
    let vault = |tree: Tree, text: &str| tree.add(VAULT, text);
    let known = "spiffe_id = \"spiffe://acme.example/vault\"";
    let config = vault(vault(with_agent(), SHOWN), known).clean();
    let TargetKind::Vault(target) = &config.targets["vault"].kind else { panic!() };
    assert!(target.shows_svid && target.spiffe_id.is_some());
    vault(tree(), SHOWN).stops("no_workload_api", "targets/vault.toml:1 client_certificate.workload_api");
    vault(tree(), known).stops("no_workload_api", "targets/vault.toml:1 spiffe_id");

    let store = |place: &str| {
        let tree = with_agent().edit(MAIN, "[server]", "[server]\nadmin_socket = \"a.sock\"");
        let sqlite = "sqlite = \"/state/tollgate.sqlite\"";
        tree.edit(MAIN, sqlite, &format!("postgres = {{ url = \"{place}\", {SHOWN} }}"))
    };
    let config = store("postgres://t@db.example/ledger").clean();
    let StorePlace::Postgres(place) = &config.settings.store.place else { panic!() };
    assert_eq!(place.client_certificate, config.settings.workload_api);
    let place = "tollgate.toml:9 store.postgres.client_certificate";
    store("postgres://t@127.0.0.1/ledger").stops("certificate_without_tls", place);
}
