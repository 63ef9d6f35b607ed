//! `boto3` and `awscli` with what `tollgate env` gives, and what `env` does so that it ends in no log.

use std::os::unix::fs::PermissionsExt;

use crate::harness::Site;
use crate::harness::parts::aws::Aws;
use crate::harness::parts::job::{job, run, script, trusted};

/// Gets one object as any `boto3` program would, configured by nothing but the environment.
const GET: &str = "import boto3; print(boto3.client('s3').get_object(Bucket='bucket', Key='acme/shop/x')['Body'].read().decode())";

#[tokio::test(flavor = "multi_thread")]
async fn boto3_and_awscli_work_with_what_env_prints() {
    let aws = Aws::start(&Aws::trusts_keys()).await;
    let site = aws.ambient_site(&aws.url).await;
    let app = site.start().await;
    site.write("get.py", GET);
    let shell = "variables=\"$(\"$TOLLGATE\" env deploy/app --print)\"
        eval \"$variables\"
        python get.py
        aws s3api get-object --bucket bucket --key acme/shop/x out.txt >/dev/null
        cat out.txt; echo
        aws s3api get-object --bucket bucket --key acme/other/x out.txt 2>&1 || true";
    let mut shell = trusted(script(&site, shell), &site);
    // What the job had before must not mix with what it was given.
    shell.envs([("AWS_PROFILE", "stale"), ("AWS_CREDENTIAL_EXPIRATION", "2020-01-01T00:00:00Z")]);
    let done = run(shell).await;
    let mut lines = done.ok().lines();
    assert_eq!((lines.next(), lines.next()), (Some("hello"), Some("hello")), "{done:?}");
    assert!(lines.any(|line| line.contains("AccessDenied")), "{done:?}");

    let file = run(trusted(job(&site, &["env", "deploy/app", "--file", "job.env"]), &site)).await;
    assert_eq!(file.ok(), "");
    let mode = std::fs::metadata(site.path("job.env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let sourced = run(script(&site, "set -a; . ./job.env; set +a; python get.py")).await;
    assert_eq!(sourced.ok(), "hello");
    app.stop().await;
}

async fn env(site: &Site, more: &[&str], variables: &[(&str, &str)]) -> crate::harness::parts::job::Done {
    let mut command = trusted(job(site, &[&["env", "deploy"], more].concat()), site);
    command.envs(variables.iter().copied());
    run(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn s_12_env_refuses_a_ci_log_and_masks_before_it_prints_all_the_same() {
    let mut site = Site::new(&[]).await;
    site.clock = tollgate::clock::Clock::system();
    let app = site.start().await;

    let refused = env(&site, &[], &[("CI", "true")]).await;
    assert_eq!((refused.code(), refused.out.as_str()), (Some(64), ""), "{refused:?}");
    assert!(refused.err.contains("--print") && refused.err.contains("tollgate exec"), "{refused:?}");
    assert!(env(&site, &[], &[("CI", "false")]).await.ok().contains("TOLLGATE_ACCESS_TOKEN="));

    // A runner takes a command only at the start of a line, and the value to its end: no colour may touch it.
    for colour in ["0", "1"] {
        let runner = [("CI", "true"), ("GITHUB_ACTIONS", "true"), ("CLICOLOR_FORCE", colour)];
        let printed = env(&site, &["--print", "--format", "dotenv"], &runner).await;
        let token =
            printed.ok().lines().find_map(|line| line.strip_prefix("TOLLGATE_ACCESS_TOKEN=")).unwrap();
        let mask = format!("::add-mask::{token}");
        assert!(printed.err.lines().any(|line| line == mask), "not masked: {printed:?}");
        assert!(!printed.out.contains("::add-mask::"), "eval would run it");
        let elsewhere = printed.err.replace(&mask, "");
        assert!(!elsewhere.contains(token), "printed beside the mask");
    }
    let elsewhere = env(&site, &["--print"], &[("CI", "true")]).await;
    assert!(!elsewhere.err.contains("add-mask"), "only a runner that masks is told the values");
    app.stop().await;
}
