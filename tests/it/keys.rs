//! Signing keys of a running server, by its command line.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::harness::{Server, Site, process};

/// Runs `tollgate --json keys …`, which must succeed.
fn keys(site: &Site, arguments: &[&str]) -> String {
    let config = site.config();
    let done = process::run(&[&["--json", "keys", "--config", config.to_str().unwrap()], arguments].concat());
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn kids(listed: &str, purpose: &str, state: &str) -> BTreeSet<String> {
    let listed: Vec<Value> = serde_json::from_str(listed).unwrap();
    let of = |key: &&Value| key["purpose"] == purpose && key["state"] == state;
    listed.iter().filter(of).map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

async fn published(site: &Site, path: &str) -> BTreeSet<String> {
    let jwks = site.api().get(path, None).await.ok();
    jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn c_11_a_rotation_publishes_now_and_signs_later() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    let old = kids(&keys(&site, &["list"]), "credentials", "active");
    assert_eq!(published(&site, "/jwks").await, old);

    let rotated = keys(&site, &["rotate", "credentials"]);
    let new = kids(&rotated, "credentials", "published");
    assert_eq!((old.len(), new.len()), (new.len(), old.len()), "a new key for each old one: {rotated}");
    assert_eq!(published(&site, "/jwks").await, &old | &new);
    assert_eq!(kids(&keys(&site, &["list"]), "credentials", "published"), new);
    assert!(kids(&rotated, "federation", "published").is_empty(), "another purpose's keys stay");

    let leased = site.api().deploy(&site.token()).await.ok();
    let header = leased["credential"]["token"].as_str().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    assert!(old.contains(header["kid"].as_str().unwrap()), "{header}");

    let again = keys(&site, &["rotate", "credentials"]);
    assert_eq!(kids(&again, "credentials", "published"), new, "one rotation at a time");
}

#[tokio::test]
async fn an_export_is_what_the_server_publishes() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    let out = site.path("public");
    keys(&site, &["export", "--out", out.to_str().unwrap()]);
    for path in [
        ".well-known/openid-configuration",
        "jwks",
        "federation/.well-known/openid-configuration",
        "federation/jwks",
    ] {
        let exported: Value = serde_json::from_slice(&std::fs::read(out.join(path)).unwrap()).unwrap();
        assert_eq!(exported, site.api().get(&format!("/{path}"), None).await.ok(), "{path}");
        assert!(!exported.to_string().contains("\"d\""), "a private key in {path}");
    }
}
