//! Every profile over the claims that its platform documents.

use serde_json::json;

use super::*;
use crate::config::attributes::RESERVED_IDENTITY_KEYS;
use crate::identity::tests::harness::entry;

/// The claims of a fixture, and the issuer entry that reads them.
fn fixture(profile: Profile, text: &str) -> (Issuer, Map<String, Value>) {
    let claims: Map<String, Value> = serde_json::from_str(text).unwrap();
    let mut issuer = entry("acme-ci");
    issuer.url = claims["iss"].as_str().unwrap().parse().unwrap();
    issuer.profile = profile;
    (issuer, claims)
}

fn github(text: &str) -> (Issuer, Map<String, Value>) {
    fixture(Profile::GitHub, text)
}

fn generic(principal_claim: &str) -> (Issuer, Map<String, Value>) {
    let profile =
        Profile::Generic { principal_claim: principal_claim.into(), shared: false, trust: Trust::Unknown };
    fixture(profile, include_str!("fixtures/generic.json"))
}

fn read((issuer, claims): &(Issuer, Map<String, Value>)) -> Reading {
    Reader::new(issuer).unwrap().read(claims).unwrap()
}

fn refused((issuer, claims): &(Issuer, Map<String, Value>)) -> ClaimError {
    Reader::new(issuer).unwrap().read(claims).unwrap_err()
}

const PUSH: &str = include_str!("fixtures/github_push.json");
const PULL_REQUEST: &str = include_str!("fixtures/github_pull_request.json");
const GITLAB_PUSH: &str = include_str!("fixtures/gitlab_push.json");
const GITLAB_MERGE_REQUEST: &str = include_str!("fixtures/gitlab_merge_request.json");
const POD: &str = include_str!("fixtures/kubernetes_pod.json");

#[test]
fn reads_a_github_push() {
    let reading = read(&github(PUSH));
    assert_eq!(reading.principal.as_str(), "github:repository:74001");
    assert_eq!(reading.trust, Trust::Trusted);
    let expected = json!({
        "repository": "acme/shop", "repository_id": "74001", "owner": "acme", "owner_id": "65",
        "ref": "refs/heads/main", "ref_type": "branch", "ref_protected": true, "branch": "main",
        "workflow": "deploy",
        "workflow_ref": "acme/shop/.github/workflows/deploy.yml@refs/heads/main",
        "job_workflow_ref": "acme/pipelines/.github/workflows/deploy.yml@refs/tags/v3",
        "actor": "alice", "actor_id": "1001", "event": "push", "run_id": "22259800001", "run_attempt": 2,
        "commit": "1111111111111111111111111111111111111111", "runner_kind": "github-hosted",
        "visibility": "private",
    });
    assert_eq!(serde_json::to_value(&reading.attributes).unwrap(), expected);
}

#[test]
fn reads_a_github_environment_and_an_enterprise_server_tag() {
    let reading = read(&github(include_str!("fixtures/github_environment.json")));
    assert_eq!(reading.attributes["environment"], "production");
    assert_eq!(reading.trust, Trust::Trusted);

    let reading = read(&github(include_str!("fixtures/github_enterprise_server.json")));
    assert_eq!(reading.principal.as_str(), "github:ghe.acme.example:repository:74001");
    assert_eq!(reading.attributes["ref_type"], "tag");
    assert!(!reading.attributes.contains_key(BRANCH));
}

#[test]
fn i_13_the_principal_is_the_platforms_number_on_its_server() {
    let original = read(&github(PUSH)).principal;
    let (issuer, mut claims) = github(PUSH);
    claims["repository"] = json!("acme/renamed");
    assert_eq!(read(&(issuer.clone(), claims.clone())).principal, original, "a rename keeps it");
    claims["repository"] = json!("acme/shop");
    claims["repository_id"] = json!("99999");
    assert_ne!(read(&(issuer, claims)).principal, original, "a namesake does not get it");

    let (mut enterprise, claims) = github(PUSH);
    enterprise.url = "https://token.actions.githubusercontent.com/acme".parse().unwrap();
    assert_eq!(read(&(enterprise, claims)).principal, original, "custom issuers share github.com's numbers");
    let gitlab = |url: &str| {
        let (mut issuer, claims) = fixture(Profile::GitLab, GITLAB_PUSH);
        issuer.url = url.parse().unwrap();
        read(&(issuer, claims)).principal.to_string()
    };
    assert_eq!(gitlab("https://gitlab.com"), "gitlab:gitlab.com:project:22001");
    assert_eq!(gitlab("https://git.acme.example:8443/x"), "gitlab:git.acme.example:8443:project:22001");
}

#[test]
fn i_14_nothing_is_read_from_sub() {
    for (profile, text) in
        [(Profile::GitHub, PUSH), (Profile::GitLab, GITLAB_PUSH), (Profile::Kubernetes, POD)]
    {
        let (issuer, mut claims) = fixture(profile, text);
        let before = read(&(issuer.clone(), claims.clone()));
        claims["sub"] = json!("repo:evil/other:environment:production");
        let after = read(&(issuer, claims));
        assert_eq!((before.principal, before.attributes), (after.principal, after.attributes));
    }
}

#[test]
fn i_15_pull_requests_and_what_they_leave_behind_are_untrusted() {
    let reading = read(&github(PULL_REQUEST));
    assert_eq!(reading.trust, Trust::Untrusted);
    assert!(!reading.attributes.contains_key(BRANCH));
    for (event, trust) in [
        ("pull_request_target", Trust::Untrusted),
        ("workflow_run", Trust::Untrusted),
        ("issue_comment", Trust::Untrusted),
        ("workflow_dispatch", Trust::Trusted),
        ("merge_group", Trust::Unknown),
        ("some_future_event", Trust::Unknown),
        ("PUSH", Trust::Unknown),
    ] {
        let (issuer, mut claims) = github(PUSH);
        claims["event_name"] = json!(event);
        assert_eq!(read(&(issuer, claims)).trust, trust, "{event}");
    }
}

#[test]
fn i_15_caller_and_reusable_workflow_are_both_there() {
    let attributes = read(&github(PUSH)).attributes;
    assert!(attributes["workflow_ref"].as_str().unwrap().starts_with("acme/shop/"));
    assert!(attributes["job_workflow_ref"].as_str().unwrap().starts_with("acme/pipelines/"));
}

#[test]
fn reads_a_gitlab_push() {
    let reading = read(&fixture(Profile::GitLab, GITLAB_PUSH));
    assert_eq!(reading.trust, Trust::Trusted);
    let expected = json!({
        "repository": "acme/shop", "repository_id": "22001", "owner": "acme", "owner_id": "72",
        "ref": "main", "ref_type": "branch", "ref_path": "refs/heads/main", "ref_protected": true, "branch": "main",
        "environment": "production", "environment_protected": true,
        "workflow_ref": "gitlab.com/acme/shop//.gitlab-ci.yml@refs/heads/main",
        "actor": "alice", "actor_id": "1001", "event": "push", "run_id": "574001", "job_id": "302001",
        "commit": "4444444444444444444444444444444444444444", "runner_kind": "self-hosted", "runner_id": "1",
        "visibility": "private",
    });
    assert_eq!(serde_json::to_value(&reading.attributes).unwrap(), expected);
}

#[test]
fn i_15_a_gitlab_merge_request_from_a_branch_called_main_is_not_main() {
    let (issuer, mut claims) = fixture(Profile::GitLab, GITLAB_MERGE_REQUEST);
    let no_branch = |claims: &Map<String, Value>, expected| {
        let reading = read(&(issuer.clone(), claims.clone()));
        assert!(!reading.attributes.contains_key(BRANCH));
        assert_eq!(reading.trust, expected);
    };
    no_branch(&claims, Trust::Untrusted);
    // A child pipeline of the merge request.
    claims["pipeline_source"] = json!("parent_pipeline");
    no_branch(&claims, Trust::Untrusted);
    // Servers before 16.0 send no `ref_path`.
    claims.remove("ref_path");
    no_branch(&claims, Trust::Unknown);
    claims["pipeline_source"] = json!("merge_request_event");
    no_branch(&claims, Trust::Untrusted);
    // A tag may be called like a branch.
    claims["pipeline_source"] = json!("push");
    claims["ref_type"] = json!("tag");
    no_branch(&claims, Trust::Trusted);
}

#[test]
fn reads_a_kubernetes_pod() {
    let reading = read(&fixture(Profile::Kubernetes, POD));
    let uid = "0c000000-0000-4000-8000-000000000001";
    assert_eq!(reading.principal.as_str(), format!("kubernetes:acme-ci:serviceaccount:{uid}"));
    assert_eq!(reading.trust, Trust::Trusted);
    let expected = json!({
        "namespace": "shop", "service_account": "deployer", "service_account_uid": uid,
        "pod": "deploy-7d9f", "pod_uid": "0b000000-0000-4000-8000-000000000001",
        "node": "node-1",
    });
    assert_eq!(serde_json::to_value(&reading.attributes).unwrap(), expected);
}

#[test]
fn a_generic_token_is_trusted_only_as_far_as_its_issuers_entry_says() {
    let (mut issuer, claims) = generic("sub");
    assert_eq!(read(&(issuer.clone(), claims.clone())).trust, Trust::Unknown);
    issuer.profile = Profile::Generic { principal_claim: "sub".into(), shared: false, trust: Trust::Trusted };
    assert_eq!(read(&(issuer, claims)).trust, Trust::Trusted);
}

#[test]
fn reads_a_generic_token_by_the_configured_claim() {
    let reading = read(&generic("sub"));
    assert_eq!(reading.principal.as_str(), "generic:acme-ci:service-7f3a");
    assert_eq!((reading.trust, reading.attributes.len()), (Trust::Unknown, 0));
    assert_eq!(read(&generic("employee_number")).principal.as_str(), "generic:acme-ci:4711");
    assert_eq!(refused(&generic("absent")).path, "absent");
    assert_eq!(refused(&generic("groups")).path, "groups");

    let (mut issuer, mut claims) = generic("sub");
    claims["sub"] = json!("has space");
    assert_eq!(refused(&(issuer.clone(), claims.clone())).path, "principal");
    claims["sub"] = json!("b:c");
    let one = read(&(issuer.clone(), claims.clone())).principal;
    issuer.name = "acme-ci:b".parse().unwrap();
    claims["sub"] = json!("c");
    assert_ne!(read(&(issuer, claims)).principal, one, "a colon in a name does not move the border");
}

#[test]
fn i_07_refuses_required_claims_that_are_missing_or_of_the_wrong_type() {
    for (profile, text) in [(Profile::GitHub, PUSH), (Profile::GitLab, GITLAB_PUSH)] {
        let (issuer, claims) = fixture(profile.clone(), text);
        for claim in table(&profile) {
            let with = |value: Value| {
                let mut changed = claims.clone();
                changed.insert(claim.path.to_owned(), value);
                Reader::new(&issuer).unwrap().read(&changed).map(|reading| reading.attributes)
            };
            for wrong in [json!(["x"]), json!({"a": 1}), json!(1.5), json!("x".repeat(MAX_TEXT + 1))] {
                assert_eq!(with(wrong.clone()).unwrap_err().path, claim.path, "{wrong}");
            }
            for absent in [json!(null), json!("")] {
                match with(absent) {
                    Err(error) => assert!(claim.required && error.path == claim.path),
                    Ok(attributes) => assert!(!claim.required && !attributes.contains_key(claim.attribute)),
                }
            }
        }
    }
    let (issuer, mut claims) = fixture(Profile::Kubernetes, POD);
    claims["kubernetes.io"]["serviceaccount"].as_object_mut().unwrap().remove("uid");
    assert_eq!(refused(&(issuer, claims)).path, "/kubernetes.io/serviceaccount/uid");
}

#[test]
fn i_07_numbers_and_flags_have_one_spelling() {
    let read = |kind: Kind, value: Value| kind.read(&value);
    assert_eq!(read(Kind::Id, json!(74)), Ok(Some(json!("74"))));
    assert_eq!(read(Kind::Id, json!("74")), Ok(Some(json!("74"))));
    assert_eq!(read(Kind::Count, json!("2")), Ok(Some(json!(2))));
    assert_eq!(read(Kind::Flag, json!("false")), Ok(Some(json!(false))));
    assert_eq!(read(Kind::Flag, json!(true)), Ok(Some(json!(true))));
    for bad in
        [json!("074"), json!(-1), json!("7 4"), json!("x"), json!(7.0), json!("1".repeat(21)), json!(true)]
    {
        assert!(read(Kind::Id, bad.clone()).is_err() && read(Kind::Count, bad.clone()).is_err(), "{bad}");
    }
    for bad in [json!("True"), json!("1"), json!(1), json!("yes")] {
        assert!(read(Kind::Flag, bad.clone()).is_err(), "{bad}");
    }
}

/// Every attribute that the profile may give.
fn attribute_names(profile: &Profile) -> impl Iterator<Item = &'static str> {
    let derived = match profile {
        Profile::GitHub | Profile::GitLab => Some(BRANCH),
        Profile::Kubernetes | Profile::Generic { .. } | Profile::Spiffe { .. } => None,
    };
    table(profile).iter().map(|claim| claim.attribute).chain(derived)
}

#[test]
fn configuration_reserves_exactly_the_names_that_the_tables_give() {
    for profile in [Profile::GitHub, Profile::GitLab, Profile::Kubernetes] {
        let given: std::collections::BTreeSet<_> = attribute_names(&profile).collect();
        let reserved = profile.attributes().iter().copied().collect();
        assert_eq!(given, reserved, "{profile:?}");
    }
}

#[test]
fn tables_name_each_attribute_once_and_none_that_is_reserved() {
    let generic = Profile::Generic { principal_claim: "sub".into(), shared: false, trust: Trust::Unknown };
    for profile in [Profile::GitHub, Profile::GitLab, Profile::Kubernetes, generic] {
        let names: Vec<_> = attribute_names(&profile).collect();
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len());
        for name in names {
            assert!(name.parse::<AttributeName>().is_ok() && !RESERVED_IDENTITY_KEYS.contains(&name));
        }
    }
}
