//! `tollgate exec` as a process: signals, exit statuses, the lease's end, and a broker that comes and goes.

use std::process::Stdio;

use serde_json::json;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;
use tollgate::clock::Clock;

use crate::harness::parts::bao::Bao;
use crate::harness::parts::job::{job, run, script, trusted};
use crate::harness::wait::until;
use crate::harness::{Server, Site};

/// A site on the machine's clock whose role `deploy` gives signed tokens.
async fn site() -> Site {
    let mut site = Site::new(&[]).await;
    site.clock = Clock::system();
    site
}

/// Keeps the token where the test sees it.
const KEEP_TOKEN: &str = "printf %s \"$VAULT_TOKEN\" > token.new; mv token.new token; ";

fn exec(site: &Site, more: &[&str], child: &str) -> Command {
    let child = format!("{KEEP_TOKEN}{child}");
    let arguments = [&["exec", "vault/app"], more, &["--", "sh", "-c", &child]].concat();
    trusted(job(site, &arguments), site)
}

async fn kept_token(site: &Site) -> String {
    until("the child runs", async || site.path("token").exists()).await;
    let token = std::fs::read_to_string(site.path("token")).unwrap();
    std::fs::remove_file(site.path("token")).unwrap();
    token
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lease_ends_with_the_child_however_the_child_ends() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    let app = site.start().await;
    bao.trust(&site).await;

    let failed = run(exec(&site, &[], "exit 3")).await;
    assert_eq!(failed.code(), Some(3), "{failed:?}");
    assert_eq!(bao.lookup(&kept_token(&site).await).await, None);

    // The shell hands the signal on by dying of it; a child that would rather not, decides for itself.
    for (signal, child, code) in [
        ("TERM", "exec sleep 60", 143),
        ("INT", "exec sleep 60", 130),
        ("TERM", "trap 'kill $!; exit 7' TERM; sleep 60 & wait", 7),
    ] {
        let running = exec(&site, &[], child).spawn().unwrap();
        let pid = running.id().unwrap().to_string();
        let token = kept_token(&site).await;
        assert!(bao.lookup(&token).await.is_some());
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status().await.unwrap();
        assert!(sent.success());
        let ended = running.wait_with_output().await.unwrap();
        assert_eq!(ended.status.code(), Some(code), "{signal} {child}: {ended:?}");
        assert_eq!(bao.lookup(&token).await, None, "{signal} {child}");
    }

    let missing = run(trusted(job(&site, &["exec", "vault/app", "--", "./no-such-program"]), &site)).await;
    assert_eq!(missing.code(), Some(127), "{missing:?}");
    assert_eq!(bao.living().await.len(), 0, "nothing ran, and nothing is left");

    let kept = run(exec(&site, &["--keep"], "exit 0")).await;
    assert!(kept.status.success());
    assert!(bao.lookup(&kept_token(&site).await).await.is_some());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_rides_out_a_restart_in_the_middle_and_leaves_one_credential() {
    let bao = Bao::start().await;
    let site = bao.site(&[]).await;
    // Dies after the lease is recorded and before it is answered: the worst moment for a retry.
    let mut first = Server::start(&site.config(), "after_lease");
    bao.trust(&site).await;
    let running = tokio::spawn(run(exec(&site, &["--wait=50", "--keep"], "exit 0")));
    let site_folder = site.config();
    let second = tokio::task::spawn_blocking(move || {
        assert!(!first.wait().success(), "it crashed");
        Server::start(&site_folder, "")
    });
    let done = running.await.unwrap();
    let _second = second.await.unwrap();
    assert!(done.status.success(), "{done:?}");
    assert!(done.err.contains("trying again"), "{done:?}");
    assert!(bao.lookup(&kept_token(&site).await).await.is_some());
    // The same idempotency key: the answer that got lost was replaced, and its credential ended.
    assert_eq!(bao.living().await.len(), 2, "one login with its child");
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_rides_out_a_broker_that_starts_late() {
    let site = site().await;
    let mut command = trusted(job(&site, &["exec", "deploy", "--wait=50", "--", "true"]), &site);
    let mut running = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut notes = BufReader::new(running.stderr.take().unwrap()).lines();
    let first = notes.next_line().await.unwrap().unwrap();
    assert!(first.contains("trying again"), "{first}");
    let config = site.config();
    let _server = tokio::task::spawn_blocking(move || Server::start(&config, "")).await.unwrap();
    assert!(running.wait().await.unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_while_it_waits_ends_it_before_anything_runs() {
    let site = site().await;
    let command = job(&site, &["exec", "deploy", "--wait=50", "--", "touch", "ran"]);
    let mut running = trusted(command, &site).spawn().unwrap();
    let mut notes = BufReader::new(running.stderr.take().unwrap()).lines();
    assert!(notes.next_line().await.unwrap().unwrap().contains("trying again"));
    let pid = running.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    assert_eq!(running.wait().await.unwrap().code(), Some(143));
    assert!(!site.path("ran").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn exit_statuses_tell_denied_from_unreachable_from_wrong() {
    let site = site().await;
    let arguments = ["exec", "deploy", "--", "touch", "ran"];
    let away = run(trusted(job(&site, &arguments), &site)).await;
    assert_eq!(away.code(), Some(69), "{away:?}");
    assert!(away.err.contains("--wait"), "{away:?}");

    let app = site.start().await;
    let mut denied =
        job(&site, &[&["exec"], &["deploy", "--token-from", "env:FORK"][..], &arguments[2..]].concat());
    denied.env("FORK", site.token_with(&json!({ "event_name": "pull_request" })));
    let denied = run(denied).await;
    assert_eq!(denied.code(), Some(77), "{denied:?}");
    for part in ["not_allowed", "(decision ", "compare the role's policies", "see: tollgate explain "] {
        assert!(denied.err.contains(part), "no {part:?} in {}", denied.err);
    }

    for wrong in [
        &["exec", "No Role", "--", "true"][..],
        &["exec", "deploy", "--ttl", "1 fortnight", "--", "true"],
        &["exec", "deploy", "--wait=0", "--", "true"],
        &["exec", "deploy", "--token-from", "jenkins", "--", "true"],
        &["exec", "deploy", "--token-from", "env:ABSENT", "--", "true"],
        &["exec", "deploy", "--token-from", "file:absent", "--", "true"],
        &["exec", "deploy", "--", "true"],
        &["exec", "deploy"],
    ] {
        let done = run(job(&site, wrong)).await;
        assert_eq!((done.code(), done.out.as_str()), (Some(64), ""), "{wrong:?}: {done:?}");
        assert!(!done.err.is_empty(), "{wrong:?}");
    }
    let dry = run(trusted(job(&site, &["--json", "exec", "deploy", "--dry-run"]), &site)).await;
    assert!(dry.ok().contains("\"scopes\""), "{dry:?}");
    assert!(!site.path("ran").exists(), "no refusal runs the command");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_job_had_before_is_not_inherited() {
    let site = site().await;
    let app = site.start().await;
    let mut shell = trusted(script(&site, "exec \"$TOLLGATE\" exec deploy -- env"), &site);
    let stale = [
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CREDENTIAL_EXPIRATION",
        "AWS_ROLE_ARN",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "VAULT_TOKEN",
        "BAO_TOKEN",
        "BAO_ADDR",
    ];
    shell.envs(stale.map(|name| (name, "stale"))).env("KEPT", "as it was");
    let done = run(shell).await;
    let seen = done.ok();
    assert!(!seen.contains("=stale"), "{seen}");
    assert!(seen.contains("KEPT=as it was") && seen.contains("TOLLGATE_ACCESS_TOKEN=ey"), "{seen}");
    app.stop().await;
}
