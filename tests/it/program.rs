//! The program as a process: exit statuses, signals, and what it says when it does not start.

use crate::harness::{Server, Site, process};

#[tokio::test]
async fn check_prints_every_problem_and_ends_with_64() {
    let role = "target = \"nowhere\"\nttl = { default = \"2h\", max = \"1h\" }\npolicies = [\"ci.test\"]\ncolour = 1\n";
    let site = Site::new(&[("config/roles/broken.toml", role)]).await;
    let done = process::run(&["check", "--config", site.config().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(64));
    let text = String::from_utf8(done.stdout).unwrap();
    for part in
        ["roles/broken.toml:1 target", "roles/broken.toml:2 ttl", "roles/broken.toml:4 colour", "fix:"]
    {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
}

#[tokio::test]
async fn serve_refuses_what_check_refuses_before_any_port_is_bound() {
    let site = Site::new(&[("policies/ci/test.rego", "package ci.test\nallow if {")]).await;
    let done = process::run(&["serve", "--config", site.config().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(64));
    assert!(done.stdout.is_empty(), "{:?}", String::from_utf8_lossy(&done.stdout));
    assert!(String::from_utf8_lossy(&done.stderr).contains("test.rego:2"), "{done:?}");
    assert!(!site.store().exists());
}

#[tokio::test]
async fn a_second_server_on_one_store_ends_with_64() {
    let site = Site::new(&[]).await;
    let mut first = Server::start(&site.config(), "");
    let done = process::run(&["serve", "--config", site.config().to_str().unwrap()]);
    assert_eq!(done.status.code(), Some(64), "{done:?}");
    first.signal("TERM");
    assert!(first.wait().success());
}
