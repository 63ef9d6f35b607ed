//! The program as a process: exit statuses, signals, and what it says when it does not start.

use std::process::Command;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::harness::site::free_port;
use crate::harness::wait::soon;
use crate::harness::{Api, Server, Site, process};

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

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn check_says_in_json_what_it_found_and_strict_fails_on_warnings() {
    let site = Site::new(&[]).await;
    let config = site.config();
    let check = |more: &[&str]| {
        let done = process::run(&[&["--json", "check", "--config", config.to_str().unwrap()], more].concat());
        (done.status.code(), serde_json::from_slice::<Value>(&done.stdout).unwrap())
    };
    let (status, found) = check(&[]);
    assert_eq!((status, &found["ok"], &found["loaded"]["roles"]), (Some(0), &true.into(), &1.into()));
    let warned = found["problems"].as_array().unwrap();
    assert!(warned.iter().any(|problem| problem["code"] == "insecure_loopback"), "{found}");
    assert!(warned.iter().all(|problem| problem["severity"] == "warning" && problem["fix"].is_string()));
    assert_eq!(check(&["--strict"]).0, Some(64), "a warning, and --strict");

    site.write("config/roles/deploy.toml", "colour = 1");
    let (status, found) = check(&[]);
    assert_eq!((status, &found["ok"], &found["loaded"]), (Some(64), &false.into(), &Value::Null));
    let problems = found["problems"].as_array().unwrap();
    let unknown = problems.iter().find(|problem| problem["key"] == "colour").unwrap();
    assert_eq!((&unknown["line"], &unknown["file"]), (&1.into(), &"roles/deploy.toml".into()));
}

#[tokio::test]
async fn check_without_secrets_looks_at_everything_else_and_names_them() {
    let site = Site::new(&[]).await;
    let known = "{ value = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" }";
    let settings = site.settings("").replace(known, "{ env = \"A_KEY_THAT_A_REVIEWER_LACKS\" }");
    site.write("config/tollgate.toml", &settings);
    let config = site.config();
    let run = |arguments: &[&str]| {
        let done = process::run(&[arguments, &["--config", config.to_str().unwrap()]].concat());
        (done.status.code(), text(&done.stdout))
    };
    assert_eq!(run(&["check"]).0, Some(64), "a secret is missing");
    let (status, said) = run(&["check", "--without-secrets"]);
    assert_eq!(status, Some(0), "{said}");
    let note = "note[secret_not_checked] tollgate.toml:9 store.key_encryption_key: \
                the secret in A_KEY_THAT_A_REVIEWER_LACKS was not looked at";
    assert!(said.contains(note), "{said}");
    site.write("config/roles/deploy.toml", "colour = 1");
    assert_eq!(run(&["check", "--without-secrets"]).0, Some(64), "everything else is looked at");
    assert_eq!(run(&["serve", "--without-secrets"]).0, Some(64), "nothing is served without them");
}

#[test]
fn every_command_explains_itself_with_an_example() {
    let top = text(&process::run(&["--help"]).stdout);
    let commands = top.split("Commands:").nth(1).unwrap().split("Options:").next().unwrap();
    let commands: Vec<_> = commands
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .collect();
    assert!(commands.len() >= 11, "{commands:?}");
    for command in commands {
        let done = process::run(&[command, "--help"]);
        let help = text(&done.stdout);
        assert!(done.status.success() && help.contains("Example"), "{command}: {help}");
        assert!(help.contains(&format!("\n  tollgate {command}")), "no example of {command} itself:\n{help}");
    }
}

#[test]
fn a_mistyped_command_suggests_the_right_one() {
    let done = process::run(&["chekc"]);
    assert_eq!(done.status.code(), Some(64));
    assert!(text(&done.stderr).contains("check"), "{done:?}");
}

#[test]
fn completions_know_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = process::run(&["completions", shell]);
        assert!(done.status.success() && text(&done.stdout).contains("reload"), "{shell}");
    }
}

#[tokio::test]
async fn the_environment_sets_where_the_server_listens_and_no_role() {
    let site = Site::of_process(&[]).await;
    let listen = format!("127.0.0.1:{}", free_port());
    let _server = Server::start_with(&site.config(), &[("TOLLGATE_SERVER__LISTEN", &listen)]);
    assert_eq!(Api::new(&format!("http://{listen}")).get("/livez", None).await.status, 200);

    let config = site.config();
    let done = process::tollgate()
        .args(["check", "--config", config.to_str().unwrap()])
        .env("TOLLGATE_ROLES__DEPLOY__TARGET", "elsewhere")
        .output()
        .unwrap();
    assert_eq!(done.status.code(), Some(64));
    assert!(text(&done.stdout).contains("TOLLGATE_ROLES__DEPLOY__TARGET"), "{done:?}");
}

/// Nothing listens on the discard port, so that whatever went by the proxy would fail.
#[tokio::test]
async fn s_14_ignores_proxies_from_the_environment() {
    let site = Site::of_process(&[]).await;
    let names = ["HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];
    let _server = Server::start_with(&site.config(), &names.map(|name| (name, "http://127.0.0.1:9")));
    site.api().deploy(&site.token()).await.ok();
    assert!(site.issuer.asked() >= 2, "discovery and keys were fetched");
}

/// A limit on the size of files stands in for a full disk: no write of the store succeeds.
#[tokio::test]
async fn s_02_a_store_that_cannot_be_written_issues_nothing_until_it_can() {
    let site = Site::of_process(&[]).await;
    // The shell only makes the signal of the limit ignored, as a full disk sends none.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" --json serve --log off --config \"$1\""]);
    command.arg(env!("CARGO_BIN_EXE_tollgate")).arg(site.config());
    let server = Server::spawn(&mut command);
    site.api().deploy(&site.token()).await.ok();

    let process = Pid::from_raw(server.pid().try_into().unwrap());
    let limit = |current| {
        prlimit(process, Resource::Fsize, Rlimit { current, maximum: None }).unwrap();
    };
    limit(Some(0));
    let refused = site.api().deploy(&site.token()).await;
    assert_eq!((refused.status, refused.code()), (503, "store_unavailable"), "{}", refused.text);
    assert!(refused.headers.contains_key("retry-after") && !refused.text.contains("token\":\"ey"));

    limit(None);
    soon("a store that writes", async || {
        let answer = site.api().deploy(&site.token()).await;
        (answer.status == 200).then_some(())
    })
    .await;
    let config = site.config();
    let done = process::run(&["audit", "verify", "--config", config.to_str().unwrap()]);
    assert!(done.status.success(), "{done:?}");
}

#[tokio::test]
async fn a_demo_that_is_told_to_end_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = process::tollgate();
    command.args(["--json", "demo", "--port", "0"]).env("TMPDIR", folder.path());
    let mut demo = Server::spawn_until(&mut command, "running");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    demo.signal("TERM");
    assert!(demo.wait().success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
