//! Signing keys of a running server, by its command line.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
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

/// The id of the key that signed a credential of now.
async fn signing_kid(site: &Site) -> String {
    let leased = site.api().deploy(&site.token()).await.ok();
    let header = leased["credential"]["token"].as_str().unwrap().split('.').next().unwrap();
    let header: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header).unwrap()).unwrap();
    header["kid"].as_str().unwrap().to_owned()
}

/// Runs `tollgate keys …` with nobody to confirm: exit status and standard error.
fn refused(site: &Site, arguments: &[&str]) -> (Option<i32>, String) {
    let config = site.config();
    let done = process::run(&[&["keys", "--config", config.to_str().unwrap()], arguments].concat());
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

#[tokio::test]
async fn c_11_a_revoked_key_leaves_the_jwks_at_once_and_never_signs_again() {
    let site = Site::of_process(&[]).await;
    let mut server = Server::start(&site.config(), "");
    let stolen = signing_kid(&site).await;
    let (status, said) = refused(&site, &["revoke", &stolen, "--yes"]);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("nothing was changed") && said.contains("--rotate"), "{said}");
    let (status, said) = refused(&site, &["revoke", &stolen, "--rotate"]);
    assert_eq!(status, Some(64), "nobody confirmed: {said}");
    assert!(said.contains("Verifiers that cache"), "{said}");
    assert!(published(&site, "/jwks").await.contains(&stolen));

    let done = keys(&site, &["revoke", &stolen, "--rotate", "--yes"]);
    assert!(kids(&done, "credentials", "revoked").contains(&stolen), "{done}");
    assert!(!published(&site, "/jwks").await.contains(&stolen));
    let next = signing_kid(&site).await;
    assert_ne!(next, stolen);
    assert!(published(&site, "/jwks").await.contains(&next));
    assert_eq!(refused(&site, &["revoke", &stolen, "--rotate", "--yes"]).0, Some(1), "it is revoked already");
    assert_eq!(refused(&site, &["revoke", "unknown", "--yes"]).0, Some(1));

    server.kill();
    let _server = Server::start(&site.config(), "");
    assert!(!published(&site, "/jwks").await.contains(&stolen), "also after a restart");
    let verified = process::run(&["audit", "verify", "--config", site.config().to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

#[tokio::test]
async fn c_11_a_store_with_a_changed_key_does_not_start() {
    let site = Site::of_process(&[]).await;
    let mut server = Server::start(&site.config(), "");
    server.signal("TERM");
    assert!(server.wait().success());
    let store = rusqlite::Connection::open(site.store()).unwrap();
    store
        .execute("UPDATE signing_keys SET activates_at = activates_at - 1 WHERE purpose = 'credentials'", [])
        .unwrap();
    drop(store);
    let done = process::run(&["serve", "--config", site.config().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(1));
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("not as the audit chain recorded it"), "{said}");
}

#[tokio::test]
async fn c_11_a_store_is_sealed_anew_by_a_running_server_and_without_one() {
    let site = Site::of_process(&[]).await;
    let secret = |key: &str| format!("{{ value = \"{key}\" }}");
    let first = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=".to_owned();
    let (second, third) = (STANDARD.encode([2; 32]), STANDARD.encode([3; 32]));
    let settings = |current: &str, former: &[&str]| {
        let former: Vec<_> = former.iter().map(|key| secret(key)).collect();
        let both = format!("{}\nprevious_key_encryption_keys = [{}]", secret(current), former.join(", "));
        site.write("config/tollgate.toml", &site.settings("").replace(&secret(&first), &both));
    };
    let stop = |mut server: Server| {
        server.signal("TERM");
        assert!(server.wait().success());
    };
    let server = Server::start(&site.config(), "");
    let before = published(&site, "/jwks").await;
    stop(server);

    settings(&second, &[&first]);
    let server = Server::start(&site.config(), "");
    let done: Value = serde_json::from_str(&keys(&site, &["rewrap"])).unwrap();
    assert_eq!((&done["signing_keys"], &done["handles"]["until"]), (&Value::from(5), &Value::Null), "{done}");
    stop(server);
    settings(&third, &[&second]);
    let done: Value = serde_json::from_str(&keys(&site, &["rewrap"])).unwrap();
    assert_eq!(done["signing_keys"], 5, "without a server: {done}");

    settings(&third, &[]);
    let server = Server::start(&site.config(), "");
    assert_eq!(published(&site, "/jwks").await, before, "the keys are the same");
    stop(server);
    settings(&second, &[]);
    let done = process::run(&["serve", "--config", site.config().to_str().unwrap()]);
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(!done.status.success() && said.contains("previous_key_encryption_keys"), "{said}");
}
