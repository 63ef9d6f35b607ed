//! Jobs of other platforms: GitLab's and Kubernetes' token shapes, from a variable, a file, a command.

use serde_json::{Value, json};
use tollgate::clock::Clock;

use crate::harness::Site;
use crate::harness::parts::issuer::NpmIssuer;
use crate::harness::parts::job::{job, run};

const ROLE: &str = r#"
description = "for jobs of every platform"
environment = "production"
target = "api"
ttl = { default = "15m", max = "1h" }
policies = ["ci.platforms"]

[scopes.read]
"#;

/// Each platform by what it alone knows.
const POLICY: &str = r#"package ci.platforms

default allow := false

allow if {
	input.identity.trust == "trusted"
	input.identity.repository == "acme/shop"
	input.context.branch == "main"
}

allow if {
	input.identity.namespace == "production"
	input.identity.service_account == "deployer"
}
"#;

async fn site(issuer: &NpmIssuer, profile: &str) -> Site {
    let mut site = Site::new(&[]).await;
    let ci = format!(
        "issuer = \"{}\"\nprofile = \"{profile}\"\naudience = \"{}\"\ntenant = \"default\"\n\
         insecure_loopback = true\nmax_age = \"1h\"\n",
        issuer.url, site.url
    );
    site.write("config/issuers/ci.toml", &ci);
    site.write("config/roles/deploy.toml", ROLE);
    site.write("policies/ci/platforms.rego", POLICY);
    site.clock = Clock::system();
    site
}

fn gitlab(site: &Site, issuer: &NpmIssuer, unique: u32) -> Value {
    let now = site.now().as_second();
    json!({
        "iss": issuer.url, "aud": site.url, "sub": "project_path:acme/shop:ref_type:branch:ref:main",
        "iat": now, "nbf": now - 5, "exp": now + 3600, "jti": format!("job-{unique}"),
        "project_path": "acme/shop", "project_id": "22", "namespace_path": "acme", "namespace_id": "72",
        "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": "true",
        "pipeline_source": "push", "pipeline_id": "574", "job_id": "302", "user_login": "robin", "user_id": "1",
        "runner_id": 1, "runner_environment": "self-hosted", "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private", "ci_config_ref_uri": "gitlab.example/acme/shop//.gitlab-ci.yml@refs/heads/main",
    })
}

fn kubernetes(site: &Site, issuer: &NpmIssuer, unique: u32) -> Value {
    let now = site.now().as_second();
    json!({
        "iss": issuer.url, "aud": [site.url], "sub": "system:serviceaccount:production:deployer",
        "iat": now, "nbf": now, "exp": now + 3600, "jti": format!("pod-{unique}"),
        "kubernetes.io": {
            "namespace": "production", "node": { "name": "n1", "uid": "6d2f" },
            "pod": { "name": "deployer-0", "uid": "5e0c" },
            "serviceaccount": { "name": "deployer", "uid": "14ee3fa4" },
        },
    })
}

const SHOW: [&str; 4] = ["--", "sh", "-c", "echo \"$TOLLGATE_ACCESS_TOKEN\""];

#[tokio::test(flavor = "multi_thread")]
async fn a_gitlab_job_is_recognised_by_its_variable_or_told_where_its_token_is() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer, "gitlab").await;
    let app = site.start().await;
    let sources = [
        ("auto", "TOLLGATE_ID_TOKEN"),
        ("gitlab", "TOLLGATE_ID_TOKEN"),
        ("env:VAULT_ID_TOKEN", "VAULT_ID_TOKEN"),
    ];
    for ((source, variable), unique) in sources.into_iter().zip(0..) {
        let token = issuer.sign(&gitlab(&site, &issuer, unique)).await;
        let mut exec = job(&site, &[&["exec", "deploy", "--token-from", source][..], &SHOW].concat());
        exec.env(variable, token);
        assert!(run(exec).await.ok().starts_with("ey"), "{source}");
    }
    // A merge request of a fork: the same project, another ref_path.
    let mut fork = gitlab(&site, &issuer, 9);
    fork["ref_path"] = "refs/merge-requests/1/head".into();
    let mut exec = job(&site, &[&["exec", "deploy", "--token-from", "gitlab"][..], &SHOW].concat());
    exec.env("TOLLGATE_ID_TOKEN", issuer.sign(&fork).await);
    let denied = run(exec).await;
    assert_eq!((denied.code(), denied.out.as_str()), (Some(77), ""), "{denied:?}");
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_brings_its_token_in_a_file_or_by_a_command() {
    let issuer = NpmIssuer::start().await;
    let site = site(&issuer, "kubernetes").await;
    let app = site.start().await;
    for (source, unique) in
        [("file:token", 0), ("command:cat token; test \"$TOLLGATE_AUDIENCE\" = \"$TOLLGATE_URL\"", 1)]
    {
        // A projected file ends with no newline, and one written by hand with one.
        site.write("token", &format!("{}\n", issuer.sign(&kubernetes(&site, &issuer, unique)).await));
        let exec = job(&site, &[&["exec", "deploy", "--token-from", source][..], &SHOW].concat());
        assert!(run(exec).await.ok().starts_with("ey"), "{source}");
    }
    let whoami = run(job(&site, &["--json", "whoami", "--token-from", "file:token"])).await;
    let seen: Value = serde_json::from_str(whoami.ok()).unwrap();
    assert!(seen.to_string().contains("14ee3fa4"), "the account's UID is what identifies it: {seen}");
    app.stop().await;
}
