//! A running server reads its configuration again: all of it, or nothing.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::harness::site::{ALLOW_TRUSTED, DEPLOY, free_port};
use crate::harness::wait::soon;
use crate::harness::{Server, Site, process};

/// Runs `tollgate --json reload`: exit status, standard output, standard error.
fn reload(site: &Site) -> (Option<i32>, String, String) {
    let done = process::run(&["--json", "reload", "--config", site.config().to_str().unwrap()]);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (done.status.code(), text(done.stdout), text(done.stderr))
}

async fn status_of(site: &Site, role: &str) -> u16 {
    site.api().credentials(&site.token(), &json!({ "role": role })).await.status
}

#[tokio::test]
async fn reload_puts_a_new_role_in_force_and_says_so() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    assert_ne!(status_of(&site, "second").await, 200);
    site.write("config/roles/second.toml", DEPLOY);
    let (status, said, _) = reload(&site);
    assert_eq!(status, Some(0));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["revision"].as_str().unwrap().len(), 64, "{said}");
    assert_eq!(status_of(&site, "second").await, 200);
}

#[tokio::test]
async fn sighup_puts_a_new_role_in_force() {
    let site = Site::of_process(&[]).await;
    let server = Server::start(&site.config(), "");
    site.write("config/roles/second.toml", DEPLOY);
    server.signal("HUP");
    soon("the new role", async || (status_of(&site, "second").await == 200).then_some(())).await;
}

#[tokio::test]
async fn s_10_a_broken_configuration_leaves_the_last_good_one_in_force() {
    let site = Site::of_process(&[]).await;
    let server = Server::start(&site.config(), "");
    site.write("policies/ci/test.rego", "package ci.test\nallow if {");
    let (status, _, said) = reload(&site);
    assert_eq!(status, Some(64));
    assert!(said.contains("test.rego"), "{said}");
    server.signal("HUP");
    assert_eq!(status_of(&site, "deploy").await, 200);

    site.write("policies/ci/test.rego", &ALLOW_TRUSTED.replace("\"main\"", "\"trunk\""));
    assert_eq!(reload(&site).0, Some(0), "mended, it is read again");
    assert_eq!(status_of(&site, "deploy").await, 403);
}

/// Whoever logs in at night has a shell without the service's variables.
#[tokio::test]
async fn administration_needs_none_of_the_secrets_of_the_broker() {
    let site = Site::of_process(&[]).await;
    let webhook = "[webhooks.siem]\nsecret = { env = \"SIEM\" }\nduration = \"1h\"\n\
                   subjects = { repository = \"/repository\" }";
    site.write("config/tollgate.toml", &site.settings(webhook));
    let _server = Server::start_with(&site.config(), &[("SIEM", "0123456789abcdef0123456789abcdef")]);
    let (status, _, said) = reload(&site);
    assert_eq!(status, Some(0), "{said}");
    let (config, socket) = (site.config(), site.path("ledger.db.sock"));
    for options in [["--config", config.to_str().unwrap()], ["--socket", socket.to_str().unwrap()]] {
        for arguments in
            [["block", options[0], options[1], "list"], ["block", "list", options[0], options[1]]]
        {
            let done = process::run(&arguments);
            assert!(done.status.success(), "{arguments:?}: {done:?}");
        }
    }
    let rotate = ["keys", "rotate", "credentials", "--config", config.to_str().unwrap()];
    assert!(process::run(&rotate).status.success());
}

#[tokio::test]
async fn what_is_read_only_at_start_is_refused_at_reload() {
    let site = Site::of_process(&[]).await;
    let _server = Server::start(&site.config(), "");
    let listen = site.url.trim_start_matches("http://");
    let moved = site.settings("").replace(listen, &format!("127.0.0.1:{}", free_port()));
    site.write("config/tollgate.toml", &moved);
    let (status, _, said) = reload(&site);
    assert_eq!(status, Some(64));
    for part in ["server.url is read only at start", "server.listen is read only at start", "last good"] {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[tokio::test]
async fn without_a_server_reload_and_rotation_end_with_69() {
    let site = Site::of_process(&[]).await;
    let (status, _, said) = reload(&site);
    assert_eq!(status, Some(69));
    assert!(said.contains("no broker runs"), "{said}");
    let config = site.config();
    let rotate = process::run(&["keys", "--config", config.to_str().unwrap(), "rotate", "federation"]);
    assert_eq!(rotate.status.code(), Some(69));
}

#[tokio::test]
async fn the_socket_is_the_owners_alone_and_goes_with_the_server() {
    let site = Site::of_process(&[]).await;
    let mut server = Server::start(&site.config(), "");
    let socket = site.path("ledger.db.sock");
    assert_eq!(std::fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    server.signal("TERM");
    assert!(server.wait().success());
    assert!(!socket.exists());
}

#[tokio::test]
async fn a_path_too_long_for_a_socket_is_refused_with_what_to_do() {
    let site = Site::of_process(&[]).await;
    let folder = site.path(&"d".repeat(110));
    std::fs::create_dir(&folder).unwrap();
    let long = site.settings("").replace("../ledger.db", &format!("../{}/ledger.db", "d".repeat(110)));
    site.write("config/tollgate.toml", &long);
    let done = process::run(&["serve", "--config", site.config().to_str().unwrap()]);
    assert!(!done.status.success());
    let said = String::from_utf8(done.stderr).unwrap();
    assert!(said.contains("choose a shorter store.sqlite"), "{said}");
}
