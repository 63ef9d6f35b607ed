//! `roles/**/*.toml`.

use super::{Tree, tree};
use crate::config::RoleBudget;
use crate::domain::Ttl;

const API: &str = "roles/api.toml";
const AWS: &str = "roles/aws.toml";
const VAULT: &str = "roles/vault.toml";

fn add(line: &str) -> Tree {
    tree().edit(API, "[scopes.read]", &format!("{line}\n[scopes.read]"))
}

#[test]
fn names_come_from_paths_and_defaults_are_filled_in() {
    let config = tree().file("roles/deploy/blue.green.toml", super::BASE[6].1).clean();
    let role = &config.roles["deploy/blue.green"];
    assert_eq!(role.ttl.default, Ttl::from_secs(900).unwrap());
    assert_eq!(role.default_scopes.iter().next().unwrap().as_str(), "read");
    assert_eq!(role.tenant.as_str(), "default");
    let short = tree().edit(API, "\"1h\"", "\"5m\"").clean();
    assert_eq!(short.roles["api"].ttl.default, Ttl::from_secs(300).unwrap());
}

#[test]
fn lifetimes_are_ordered_and_long_ones_warned_about() {
    tree()
        .edit(API, "{ max = \"1h\" }", "{ default = \"2h\", max = \"1h\" }")
        .stops("ttl_order", "roles/api.toml:4 ttl.default");
    tree().edit(API, "\"1h\"", "\"61m\"").warns("long_ttl", "roles/api.toml:4 ttl.max");
    tree().edit(API, "\"1h\"", "\"13h\"").stops("bad_value", "roles/api.toml:4 ttl.max");
    tree().edit(API, "{ max = \"1h\" }", "{}").stops("missing_key", "roles/api.toml:4 ttl.max");
}

#[test]
fn what_a_role_names_exists() {
    let target = tree().edit(API, "target = \"api\"", "target = \"apo\"");
    target.stops("unknown_target", "roles/api.toml:3 target");
    assert_eq!(target.one().fix, "did you mean `api`?");
    add("sources = [\"comits\"]").stops("unknown_source", "roles/api.toml:6 sources[0]");
    add("default_scopes = [\"raed\"]").stops("unknown_scope", "roles/api.toml:6 default_scopes[0]");
    add("default_scopes = []").stops("empty_list", "roles/api.toml:6 default_scopes");
    add("table = { name = \"repo\", attribute = \"repository_id\" }")
        .stops("unknown_table", "roles/api.toml:6 table.name");
    add("table = { name = \"repos\", attribute = \"repositry_id\" }")
        .edit("targets/repos.csv", "aws,1", "api,1,123456789012\naws,1")
        .stops("unknown_attribute", "roles/api.toml:6 table.attribute");
    add("table = { name = \"repos\", attribute = \"repository_id\" }")
        .warns("no_rows", "roles/api.toml:6 table.name");
    tree()
        .edit(AWS, "\"repository_id\" }", "\"repository\" }")
        .warns("mutable_name", "roles/aws.toml:6 table.attribute");
}

#[test]
fn i_13_a_number_of_several_platforms_chooses_no_row_in_silence() {
    let gitlab = "issuer = \"https://gitlab.com\"\naudience = \"https://tollgate.example\"\n\
                  profile = \"gitlab\"\nrequire = { namespace_id = \"2\" }\n";
    let both = || tree().file("issuers/other.toml", gitlab);
    both().warns("number_of_several_platforms", "roles/aws.toml:6 table.attribute");
    both().edit(AWS, "\"repository_id\" }", "\"principal\" }").clean();
    // Identities of another tenant cannot ask for the role.
    tree().file("issuers/other.toml", &format!("tenant = \"other\"\n{gitlab}")).clean();
    // Another audience of the same platform is the same space of numbers.
    let again = super::BASE[1].1.replace("tollgate.example", "tollgate.example/2");
    tree().file("issuers/again.toml", &again).clean();
}

#[test]
fn a_broken_file_is_told_once_and_not_by_those_that_name_it() {
    let problems = tree().file("targets/aws.toml", "provider = 7").load().unwrap_err();
    let files: Vec<_> = problems.iter().map(|problem| problem.file.to_str().unwrap()).collect();
    assert_eq!(files, ["targets/aws.toml"]);
    let problems = tree().edit("targets/repos.csv", "123456789012", "").load().unwrap_err();
    let files: Vec<_> = problems.iter().map(|problem| problem.file.to_str().unwrap()).collect();
    assert_eq!(files, ["targets/repos.csv"]);
}

#[test]
fn a_role_has_policies_and_scopes() {
    tree().edit(API, "[\"ci.deploy\"]", "[]").stops("empty_list", "roles/api.toml:5 policies");
    tree()
        .edit(API, "[\"ci.deploy\"]", "[\"ci.deploy\", \"ci.deploy\"]")
        .stops("listed_twice", "roles/api.toml:5 policies[1]");
    tree().edit(API, "[\"ci.deploy\"]", "[\"CI\"]").stops("bad_value", "roles/api.toml:5 policies[0]");
    tree().edit(API, "policies = [\"ci.deploy\"]\n", "").stops("missing_key", "roles/api.toml policies");
    tree().edit(API, "[scopes.read]", "").stops("missing_key", "roles/api.toml scopes");
    tree().edit(API, "[scopes.read]", "[scopes.Read]").stops("bad_name", "roles/api.toml:6 scopes.Read");
}

#[test]
fn the_section_is_that_of_the_targets_kind() {
    tree()
        .edit(VAULT, "[vault]\nlogin_role = \"app\"\n", "")
        .stops("missing_key", "roles/vault.toml vault.login_role");
    add("[aws]\nrole_arn = \"x\"").stops("wrong_section", "roles/api.toml:6 aws");
    tree()
        .edit(VAULT, "target = \"vault\"", "target = \"nowhere\"")
        .stops("unknown_target", "roles/vault.toml:3 target");
    tree()
        .edit(API, "[scopes.read]", "[scopes.read]\nactions = [\"s3:Get\"]")
        .stops("unknown_key", "roles/api.toml:7 scopes.read.actions");
}

#[test]
fn declared_keys_are_typed_and_bounded() {
    let key = |text: &str| add(&format!("declared.ticket = {{ {text} }}"));
    key("type = \"text\", required = true, one_of = [\"a\"], max_bytes = 10").clean();
    key("type = \"integer\", one_of = [1, 2]").clean();
    key("type = \"integer\", one_of = [\"1\"]")
        .stops("wrong_type", "roles/api.toml:6 declared.ticket.one_of[0]");
    key("type = \"text\", one_of = [\"abc\"], max_bytes = 2")
        .stops("wrong_type", "roles/api.toml:6 declared.ticket.one_of[0]");
    key("type = \"text\", one_of = []").stops("empty_list", "roles/api.toml:6 declared.ticket.one_of");
    key("type = \"boolean\", max_bytes = 2")
        .stops("unknown_key", "roles/api.toml:6 declared.ticket.max_bytes");
    key("type = \"text\", max_bytes = 5000")
        .stops("out_of_range", "roles/api.toml:6 declared.ticket.max_bytes");
    key("type = \"number\"").stops("unknown_word", "roles/api.toml:6 declared.ticket.type");
}

#[test]
fn p_12_a_declared_key_never_fills_in_for_a_verified_one() {
    for key in ["time", "timestamp", "weekday", "source_ip", "requested_ttl", "requested_ttl_seconds"] {
        add(&format!("declared.{key} = {{ type = \"text\" }}"))
            .stops("fact_origin", &format!("roles/api.toml:6 declared.{key}"));
    }
    for key in ["branch", "environment", "repository", "namespace"] {
        add(&format!("declared.{key} = {{ type = \"text\" }}"))
            .stops("fact_origin", &format!("roles/api.toml:6 declared.{key}"));
    }
    let declared = "declared.commit_signed = { type = \"boolean\" }";
    let own = add(&format!("sources = [\"commits\"]\n{declared}"));
    own.stops("fact_origin", "roles/api.toml:7 declared.commit_signed");
    assert!(own.one().message.contains("the source `commits`"));
    // Also where the role does not ask that source: the same package may serve both roles.
    add(declared).stops("fact_origin", "roles/api.toml:6 declared.commit_signed");
}

#[test]
fn p_12_two_sources_of_one_fact_never_serve_one_role() {
    let second = "[sources.other]\nurl = \"https://o.example/\"\nfacts = { commit_signed = \"/s\" }\n";
    let main = format!("{}{second}", super::BASE[0].1);
    let both = |sources: &str| add(&format!("sources = {sources}")).file("tollgate.toml", &main);
    both("[\"commits\"]").clean();
    let twice = both("[\"commits\", \"other\"]");
    twice.stops("fact_origin", "roles/api.toml:6 sources[1]");
    let message = twice.one().message;
    assert!(message.contains("`commits`") && message.contains("`other`"), "{message}");
}

#[test]
fn a_source_is_asked_only_with_what_requests_must_have() {
    let url = |url: &str| add("sources = [\"commits\"]").edit("tollgate.toml", "{commit}", url);
    url("{declared.ticket}").stops("source_placeholder", "roles/api.toml:6 sources[0]");
    url("{declared.ticket}")
        .edit(API, "sources", "declared.ticket = { type = \"text\", required = true }\nsources")
        .clean();
    url("{declared.ticket}")
        .edit(API, "sources", "declared.ticket = { type = \"text\" }\nsources")
        .stops("source_placeholder", "roles/api.toml:7 sources[0]");
    url("{comit}").stops("source_placeholder", "roles/api.toml:6 sources[0]");
}

#[test]
fn c_01_aws_placeholders_are_columns_or_verified_attributes() {
    let arn = |arn: &str| tree().edit(AWS, "arn:aws:iam::{account}:role/deploy", arn);
    let place = "roles/aws.toml:8 aws.role_arn";
    arn("arn:aws:iam::{acount}:role/deploy").stops("unknown_placeholder", place);
    arn("arn:aws:iam::{account}:role/{declared.x}").stops("unknown_placeholder", place);
    arn("arn:aws:iam::{account}:role/../x").stops("bad_arn", place);
    arn("arn:aws-cn:iam::{account}:role/x").stops("wrong_partition", place);
    // Only a table may bring a whole ARN: a claim that does would choose the target.
    arn("{repository}").stops("bad_arn", place);
    arn("arn:aws:iam::{account}:role/{repository_id}").clean();

    let tags = |tags: &str| tree().edit(AWS, "[scopes.read]", &format!("tags = {{ {tags} }}\n[scopes.read]"));
    tags("repo = \"repository_id\", who = \"principal\", account = \"account\"").clean();
    tags("repo = \"repo_id\"").stops("unknown_placeholder", "roles/aws.toml:9 aws.tags.repo");
    tags("\"aws:x\" = \"repository\"").stops("bad_name", "roles/aws.toml:9 aws.tags.\"aws:x\"");
    tree()
        .edit(AWS, "[scopes.read]", "external_id = \"abc\"\n[scopes.read]")
        .stops("external_id_unused", "roles/aws.toml:9 aws.external_id");
}

#[test]
fn c_02_aws_scopes_narrow_and_hold_no_policy_variable() {
    let read = "actions = [\"s3:GetObject\"]\nresources = [\"arn:aws:s3:::bucket/{repository_id}/*\"]";
    let scope = |text: &str| tree().edit(AWS, read, text);
    scope("").stops("empty_scope", "roles/aws.toml:9 scopes.read");
    scope("actions = [\"s3:GetObject\"]").stops("half_statement", "roles/aws.toml:9 scopes.read");
    scope("actions = [\"*\"]\nresources = [\"*\"]")
        .stops("bad_value", "roles/aws.toml:10 scopes.read.actions[0]");
    scope("actions = [\"s3:*\"]\nresources = [\"arn:aws:s3:::${aws:username}\"]")
        .stops("bad_value", "roles/aws.toml:11 scopes.read.resources[0]");
    scope("actions = [\"s3:*\"]\nresources = [\"arn:aws:s3:::{nothing}\"]")
        .stops("unknown_placeholder", "roles/aws.toml:11 scopes.read.resources[0]");
    scope("managed = [\"arn:aws:iam::aws:policy/ReadOnlyAccess\"]").clean();
    scope("managed = [\"ReadOnlyAccess\"]").stops("bad_value", "roles/aws.toml:10 scopes.read.managed[0]");
    scope("managed = [\"arn:aws-cn:iam::aws:policy/ReadOnlyAccess\"]")
        .stops("wrong_partition", "roles/aws.toml:10 scopes.read.managed[0]");
}

#[test]
fn c_03_a_session_policy_near_the_limit_is_warned_about() {
    let with = |count: usize| {
        let list: Vec<_> = (0..count).map(|number| format!("\"s3:GetObject{number:010}\"")).collect();
        tree().edit(AWS, "[\"s3:GetObject\"]", &format!("[{}]", list.join(", ")))
    };
    with(40).clean();
    with(60).warns("session_policy_size", "roles/aws.toml:9 scopes");
    let managed: Vec<_> = (0..11).map(|number| format!("\"arn:aws:iam::aws:policy/P{number}\"")).collect();
    tree()
        .edit(AWS, "actions =", &format!("managed = [{}]\nactions =", managed.join(", ")))
        .warns("many_managed_policies", "roles/aws.toml:9 scopes");
}

#[test]
fn c_13_each_role_has_its_own_vault_login() {
    let second = super::BASE[8].1;
    let tree = tree().file("roles/vault2.toml", second);
    tree.stops("login_role_shared", "roles/vault2.toml:7 vault.login_role");
    assert!(tree.one().message.contains("`vault`"));
    tree.edit("roles/vault2.toml", "\"app\"", "\"app2\"").clean();
}

#[test]
fn vault_scopes_name_policies_that_narrow() {
    let policies = |text: &str| tree().edit(VAULT, "[\"app-read\"]", text);
    for bad in ["root", "default", "../x", "A"] {
        policies(&format!("[\"{bad}\"]")).stops("bad_value", "roles/vault.toml:9 scopes.read.policies[0]");
    }
    policies("[]").stops("empty_list", "roles/vault.toml:9 scopes.read.policies");
    tree()
        .edit(VAULT, "policies = [\"app-read\"]", "")
        .stops("missing_key", "roles/vault.toml:8 scopes.read.policies");
    tree()
        .edit(VAULT, "login_role = \"app\"", "login_role = \"app\"\nuses = 0")
        .stops("out_of_range", "roles/vault.toml:8 vault.uses");
}

#[test]
fn jwt_claims_are_verified_attributes_and_never_tollgates_own() {
    let claims = |text: &str| add(&format!("[jwt]\nclaims = {text}"));
    claims("[\"repository_id\"]").clean();
    // Those that only verifiers give a meaning too: the provider would refuse every request for the role.
    for name in ["sub", "role", "nonce"] {
        claims(&format!("[\"{name}\"]")).stops("own_claim", "roles/api.toml:7 jwt.claims[0]");
    }
    claims("[\"repo\"]").stops("unknown_attribute", "roles/api.toml:7 jwt.claims[0]");
}

#[test]
fn a_role_may_have_a_budget_of_its_own() {
    let role = |text: &str| tree().add("roles/api.toml", text);
    let usual = tree().clean();
    let usual = &usual.roles["api"];
    assert_eq!((usual.budget, usual.per_minute), (RoleBudget::Ordinary, None));
    let own = role("budget = \"on_call\"\nlimits = { per_minute = 5 }").clean();
    let own = &own.roles["api"];
    assert_eq!((own.budget, own.per_minute), (RoleBudget::OnCall, Some(5)));
    role("limits = { per_minute = 0 }").stops("out_of_range", "roles/api.toml:1 limits.per_minute");
    role("limits = { per_hour = 5 }").stops("unknown_key", "roles/api.toml:1 limits.per_hour");
    role("budget = \"oncall\"").stops("unknown_word", "roles/api.toml:1 budget");
}
