//! `targets/*.toml`.

use super::tree;
use crate::config::{AwsAccess, TargetKind};

#[test]
fn an_aws_target_holds_no_key_unless_told_to() {
    let config = tree().clean();
    let TargetKind::Aws(aws) = &config.targets["aws"].kind else { panic!() };
    assert_eq!(aws.partition, "aws");
    assert!(matches!(&aws.access, AwsAccess::Federation { audience } if audience == "sts.amazonaws.com"));
    let ambient = "access = \"ambient\"\naccess_key_id = \"AKIA\"\n";
    tree().add("targets/aws.toml", ambient).stops("missing_key", "targets/aws.toml secret_access_key");
    let tree = tree().add("targets/aws.toml", &format!("{ambient}secret_access_key = {{ env = \"KEK\" }}"));
    let config = tree.clean();
    assert!(
        matches!(&config.targets["aws"].kind, TargetKind::Aws(aws) if matches!(aws.access, AwsAccess::Ambient { .. }))
    );
    tree.add("targets/aws.toml", "audience = \"x\"").stops("unknown_key", "targets/aws.toml:1 audience");
}

#[test]
fn the_partition_is_that_of_the_region() {
    let region = |text: &str| tree().edit("targets/aws.toml", "region = \"eu-central-1\"", text);
    region("region = \"evil.example/\"").stops("bad_value", "targets/aws.toml:2 region");
    region("region = \"cn-north-1\"\npartition = \"aws\"")
        .stops("wrong_partition", "targets/aws.toml:3 partition");
    // The role's ARNs lie in another partition now, which is said where they are.
    let problems = region("region = \"us-gov-west-1\"").load().unwrap_err();
    let keys: Vec<_> = problems.iter().map(|problem| (problem.code, problem.key.as_str())).collect();
    assert_eq!(keys, [("wrong_partition", "aws.role_arn"), ("wrong_partition", "scopes.read.resources[0]")]);
}

#[test]
fn i_01_endpoints_are_https_or_literal_loopback() {
    let endpoint = |text: &str| tree().add("targets/aws.toml", text);
    endpoint("endpoint = \"http://sts.example\"").stops("url_insecure", "targets/aws.toml:1 endpoint");
    endpoint("endpoint = \"http://127.0.0.1:1\"").stops("url_insecure", "targets/aws.toml:1 endpoint");
    endpoint("endpoint = \"http://127.0.0.1:1\"\ninsecure_loopback = true")
        .warns("insecure_loopback", "targets/aws.toml:2 insecure_loopback");
    for bad in ["http://sts.example", "http://localhost:1", "http://10.0.0.1"] {
        let problems =
            endpoint(&format!("endpoint = \"{bad}\"\ninsecure_loopback = true")).load().unwrap_err();
        assert!(problems.iter().any(|problem| problem.code == "url_insecure"), "{bad}: {problems}");
    }
    endpoint("client_endpoint = \"ftp://x\"").stops("url_insecure", "targets/aws.toml:1 client_endpoint");
    let vault = |url: &str| {
        tree().edit(
            "targets/vault.toml",
            "address = \"https://vault.example\"",
            &format!("address = \"{url}\""),
        )
    };
    vault("http://vault.example").stops("url_insecure", "targets/vault.toml:2 address");
    vault("http://localhost:8200").stops("url_insecure", "targets/vault.toml:2 address");
    vault("https://root:token@vault.example").stops("url_parts", "targets/vault.toml:2 address");
}

#[test]
fn vault_paths_stay_in_their_place() {
    let mount = |text: &str| tree().add("targets/vault.toml", text);
    mount("mount = \"team/jwt\"\nnamespace = \"a/b\"").clean();
    for bad in ["/jwt", "jwt/", "../sys", "a//b", "a b", "a?x"] {
        mount(&format!("mount = \"{bad}\"")).stops("bad_value", "targets/vault.toml:1 mount");
    }
    mount("namespace = \"../root\"").stops("bad_value", "targets/vault.toml:1 namespace");
}

#[test]
fn a_target_over_the_network_may_say_how_many_it_serves_at_once() {
    assert_eq!(tree().clean().targets["vault"].concurrency, None);
    let vault = |text: &str| tree().add("targets/vault.toml", text);
    assert_eq!(vault("concurrency = 8").clean().targets["vault"].concurrency, Some(8));
    vault("concurrency = 0").stops("out_of_range", "targets/vault.toml:1 concurrency");
    tree().add("targets/api.toml", "concurrency = 8").stops("unknown_key", "targets/api.toml:1 concurrency");
}

#[test]
fn c_10_credentials_have_audiences_of_their_own() {
    let api = |audience: &str| tree().edit("targets/api.toml", "https://api.example", audience);
    for bad in [
        "https://tollgate.example",
        "https://tollgate.example/federation",
        "sts.amazonaws.com",
        "api://AzureADTokenExchange",
        "https://iam.googleapis.com/projects/1",
    ] {
        let problems = api(bad).load().unwrap_err();
        assert!(problems.iter().any(|problem| problem.code == "federation_audience"), "{bad}: {problems}");
    }
    api("https://vault.example").stops("federation_audience", "targets/api.toml audience");
    api("https://vault.example/").stops("federation_audience", "targets/api.toml audience");
    api("https://tollgate.example.org").clean();
}

#[test]
fn c_10_one_federation_token_opens_one_target() {
    let second =
        "provider = \"vault\"\naddress = \"https://two.example\"\naudience = \"https://vault.example\"\n";
    tree().file("targets/vault2.toml", second).stops("federation_audience", "targets/vault2.toml audience");
    let second = second.replace("https://vault.example", "sts.amazonaws.com");
    tree().file("targets/vault2.toml", &second).stops("federation_audience", "targets/vault2.toml audience");
    // STS looks at each role's own trust policy.
    tree().file("targets/aws2.toml", "provider = \"aws\"\nregion = \"eu-west-1\"\n").clean();
}

#[test]
fn an_unknown_provider_is_told_once() {
    tree()
        .edit("targets/api.toml", "\"jwt\"", "\"jtw\"")
        .stops("unknown_word", "targets/api.toml:1 provider");
}
