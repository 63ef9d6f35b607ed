//! Ten mistakes in one file are ten problems, told together, each on its own line.

use super::tree;

#[test]
fn ten_mistakes_are_told_at_once() {
    let text = r#"
description = 7
target = "awz"
ttl = { default = "2h", max = "1h" }
policies = ["ci.deploy", "CI"]
polices = []
sources = ["comits"]
default_scopes = ["wirte"]
table = { name = "repos", attribute = "repo_id" }
labels = { team = 1 }

[declared.time]
type = "text"

[scopes.write]
"#;
    let problems = tree()
        .file("roles/ten.toml", text)
        .edit("targets/repos.csv", "aws,1", "ten,1,123456789012\naws,1")
        .load()
        .unwrap_err();
    assert_eq!(problems.iter().count(), 10);
    insta::assert_snapshot!(problems, @r#"
    error[wrong_type] roles/ten.toml:2 description: this is a whole number; it must be text
      fix: write one line for people
    error[unknown_target] roles/ten.toml:3 target: there is no target `awz`
      fix: did you mean `aws`?
    error[ttl_order] roles/ten.toml:4 ttl.default: the default 2h is longer than the maximum 1h
      fix: write at most "1h"
    error[bad_value] roles/ten.toml:5 policies[1]: `CI` is refused: a package name must match [a-z_][a-z0-9_]*, parts joined by a dot and have at most 60 bytes
      fix: write a list of packages, such as ["ci.deploy"]
    error[unknown_key] roles/ten.toml:6 polices: there is no such key
      fix: did you mean `policies`?
    error[unknown_source] roles/ten.toml:7 sources[0]: there is no source `comits`
      fix: did you mean `commits`?
    error[unknown_scope] roles/ten.toml:8 default_scopes[0]: the role has no scope `wirte`
      fix: did you mean `write`?
    error[unknown_attribute] roles/ten.toml:9 table.attribute: no issuer gives the attribute `repo_id`
      fix: name an attribute of a configured issuer: actor, actor_id, branch, commit, environment, event, job_workflow_ref, owner, owner_id, ref, ref_protected, ref_type, repository, repository_id, run_attempt, run_id, runner_kind, visibility, workflow, workflow_ref
    error[wrong_type] roles/ten.toml:10 labels.team: this is a whole number; it must be text
      fix: write { team = "shop" }
    error[fact_origin] roles/ten.toml:12 declared.time: `time` comes from Tollgate itself; the caller cannot declare it too, for a fact has exactly one origin
      fix: give the declared key another name
    "#);
}
