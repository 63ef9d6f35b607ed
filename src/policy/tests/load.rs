//! Loading: what is shared, what is refused, what is said about it.

use std::sync::Arc;

use super::support::*;
use crate::config::Role;
use crate::domain::PackageName;
use crate::policy::Policy;

fn named(name: &str, packages: &[&str]) -> Role {
    Role { name: name.parse().unwrap(), ..role(packages) }
}

#[test]
fn roles_with_the_same_packages_share_one_engine() {
    let second = "package second\nallow if input.identity.branch == \"main\"";
    let roles = [
        named("a", &["ci.deploy", "second"]),
        named("b", &["second", "ci.deploy"]),
        named("c", &["ci.deploy"]),
        named("d", &["second"]),
    ];
    let texts = [("deploy.rego", DEPLOY), ("second.rego", second)];
    let (policy, _) = Policy::load_files(&config(roles), files(&texts)).unwrap();
    let set = |name: &str| &policy.sets[name];
    assert!(Arc::ptr_eq(set("a"), set("b")));
    assert!(!Arc::ptr_eq(set("a"), set("c")));
    assert!(!Arc::ptr_eq(set("c"), set("d")));
}

#[test]
fn an_engine_holds_nothing_but_its_own_packages() {
    let other = "package other\nallow := true";
    let library = "package lib\nmain if input.identity.branch == \"main\"";
    let text = "package p\nallow if data.lib.main";
    let texts = [("lib.rego", library), ("other.rego", other), ("p.rego", text)];
    let policy = policy(&["p"], &texts);
    let packages: Vec<_> = policy.sets["deploy"].closure().packages.iter().map(PackageName::as_str).collect();
    assert_eq!(packages, ["lib", "p"]);
}

#[test]
fn p_03_no_policy_or_a_missing_package_does_not_load() {
    assert!(load(&["ci.deploy"], &[]).is_err());
    assert!(load(&[], &[("deploy.rego", DEPLOY)]).is_err());
    let problems = load(&["ci.deplyo"], &[("deploy.rego", DEPLOY)]).unwrap_err();
    let problem = problems.iter().find(|problem| problem.code == "unknown_package").unwrap();
    assert_eq!(problem.fix, "did you mean `ci.deploy`?");
    assert_eq!(problem.file.to_str(), Some("roles/deploy.toml"));
}

#[test]
fn p_03_a_missing_folder_does_not_load() {
    let mut config = config([role(&["p"])]);
    config.settings.policies = tempfile::tempdir().unwrap().path().join("nowhere");
    assert!(Policy::load(&config).is_err());
}

#[test]
fn reads_the_folder_of_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("deploy.rego"), DEPLOY).unwrap();
    std::fs::write(folder.path().join("deploy_test.rego"), "package ci.deploy\nallow := true").unwrap();
    let mut config = config([role(&["ci.deploy"])]);
    config.settings.policies = folder.path().to_owned();
    let (policy, problems) = Policy::load(&config).unwrap();
    assert!(problems.is_empty(), "{problems:?}");
    assert_eq!(policy.packages.files.len(), 1, "tests are never loaded");
}

#[test]
fn the_revision_covers_paths_and_contents() {
    let revision = |texts: &[(&str, &str)]| policy(&["ci.deploy"], texts).revision();
    let one = revision(&[("deploy.rego", DEPLOY)]);
    assert_eq!(one, revision(&[("deploy.rego", DEPLOY), ("deploy_test.rego", "package x")]));
    assert_ne!(one, revision(&[("deploy2.rego", DEPLOY)]));
    assert_ne!(one, revision(&[("deploy.rego", &format!("{DEPLOY}#"))]));
}

#[test]
fn all_problems_of_all_files_are_reported_at_once() {
    let texts =
        [("a.rego", "package a\nallow if {"), ("b.rego", "package b\nx := http.send({})"), ("c.rego", "no")];
    let problems = load(&["a"], &texts).unwrap_err();
    let files: std::collections::BTreeSet<_> = problems.iter().map(|problem| problem.file.clone()).collect();
    for name in ["a", "b", "c"] {
        assert!(files.contains(&std::path::PathBuf::from(format!("policies/{name}.rego"))), "{problems:?}");
    }
}

#[test]
fn what_only_the_interpreter_finds_has_file_and_line() {
    for text in ["package p\n\nallow if { x == 1 }", "package p\n\nallow if { y == 1; y := x }"] {
        let problems = load(&["p"], &[("p.rego", text)]).unwrap_err();
        let problem = problems.iter().find(|problem| problem.code == "not_evaluable").unwrap();
        assert_eq!((problem.line, problem.file.to_str()), (Some(3), Some("policies/p.rego")), "{text}");
    }
    // Also in a package that no role uses.
    let unused = "package unused\nx if { y == 1 }";
    assert!(load(&["ci.deploy"], &[("deploy.rego", DEPLOY), ("unused.rego", unused)]).is_err());
}

#[test]
fn smoke_finds_what_only_running_shows() {
    let smoke = |text: &str| policy(&["p"], &[("p.rego", text)]).smoke(&config([role(&["p"])]));
    assert!(smoke("package p\nallow if input.identity.branch == \"main\"").is_empty());
    for text in [
        "package p\nallow := true\nallow := false",
        "package p\nallow if to_number(input.resource.role) > 1",
        "package p\nallow := true\nmax_ttl := \"30\"",
    ] {
        let problems = smoke(text);
        let problem = problems.iter().next().unwrap();
        assert_eq!(problem.code, "policy_fails", "{text}");
        assert_eq!(problem.file.to_str(), Some("policies/p.rego"));
    }
}
