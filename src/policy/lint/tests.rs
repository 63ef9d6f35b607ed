//! Each rule of the lint, with text that breaks it and text that does not.

use crate::config::Severity;
use crate::policy::tests::support::{DEPLOY, codes, config, files, load, role};

/// The errors of a package `p` that allows, and says `text` from line 3 on.
fn errors(text: &str) -> Vec<(&'static str, Option<usize>)> {
    codes(&format!("package p\nallow if input.identity.branch == \"main\"\n{text}"), Severity::Error)
}

fn warnings(text: &str) -> Vec<(&'static str, Option<usize>)> {
    codes(&format!("package p\nallow if input.identity.branch == \"main\"\n{text}"), Severity::Warning)
}

#[track_caller]
fn refuses(code: &'static str, text: &str) {
    assert!(errors(text).contains(&(code, Some(3))), "{text}: {:?}", errors(text));
}

#[track_caller]
fn accepts(text: &str) {
    assert_eq!(errors(text), [], "{text}");
}

#[test]
fn p_01_a_pattern_must_be_anchored_on_every_branch() {
    for pattern in ["main", "^main", "main$", "^main|release$", "(?m)^main$", "^.*", "a|^b$", "^$|x"] {
        refuses("unanchored_pattern", &format!("x if regex.match(`{pattern}`, input.identity.branch)"));
    }
    for pattern in ["^main$", "^(?:main|release)$", "^(main|release/.+)$", "^a$|^b$", "\\\\Amain\\\\z"] {
        accepts(&format!("x if regex.match(\"{pattern}\", input.identity.branch)"));
    }
    refuses("invalid_pattern", "x if regex.match(`^(a$`, input.identity.branch)");
}

#[test]
fn p_01_the_suggested_pattern_is_accepted() {
    for pattern in ["main", "^main|release$", "a|^b$"] {
        let fix = format!("^(?:{})$", super::patterns::bare(pattern));
        accepts(&format!("x if regex.match(`{fix}`, input.identity.branch)"));
    }
}

#[test]
fn p_01_a_pattern_does_not_come_from_the_request() {
    refuses("pattern_from_input", "x if regex.match(input.context.branch, input.identity.branch)");
    refuses(
        "pattern_from_input",
        "x if { p := input.context.branch; regex.match(p, input.identity.branch) }",
    );
    let computed = "x if { p := concat(\"\", [\"^\", \"a$\"]); regex.match(p, input.identity.branch) }";
    assert!(warnings(computed).contains(&("pattern_not_literal", Some(3))));
}

#[test]
fn p_04_refused_and_unknown_functions_do_not_load() {
    for call in [
        "http.send({\"url\": \"http://169.254.169.254\"})",
        "opa.runtime()",
        "rand.intn(\"a\", 2)",
        "print(\"x\")",
        "trace(\"x\")",
        "net.cidr_expand(\"0.0.0.0/0\")",
        "numbers.range(1, 100000000)",
        "walk([1])",
    ] {
        refuses("function_refused", &format!("x := {call}"));
    }
    refuses("unknown_function", "x := startwith(\"a\", \"b\")");
    refuses("unknown_function", "x := io.jwt.decode(\"a\")");
    refuses("wrong_arity", "x := startswith(\"a\")");
    refuses("wrong_arity", "x := f(1, 2, 3)\nf(a) := a");
    accepts("x := f(1)\nf(a) := a");
    accepts("x if { split(\"a,b\", \",\", parts); parts[0] == \"a\" }");
}

#[test]
fn p_11_what_is_read_must_be_plain_from_the_text() {
    for text in [
        "x := input",
        "x := input.context",
        "x := input.identity",
        "x := input.declared",
        "x if input.context[input.resource.role]",
        "x if input[y]\ny := \"context\"",
        "x if input.context[`branch`]",
        "x if { some k, v in input.context; k == v }",
        "x if { c := input.context; f(c) }\nf(a) := a",
        "x if { c = input.context; c.branch == \"main\" }",
        "x if { [c] := [input.context]; c.branch == \"main\" }",
        "x := object.get(input.context, \"branch\", \"\")",
        "x := {k | input.identity[k]}",
        "x := json.filter(input, [\"context/branch\"])",
        "x := data",
    ] {
        refuses("dynamic_reference", text);
    }
    accepts("x := input.runner");
    accepts("x if { some scope in input.resource.scopes; scope == \"read\" }");
    accepts("x if { c := input.context; c.branch == \"main\" }");
    accepts("x if input.identity.claims[y]\ny := \"sub\"");
}

#[test]
fn p_11_an_import_counts_in_every_file_of_its_package() {
    let one = "package p\nimport input.context as c\nallow if input.identity.branch == \"main\"";
    let other = "package p\nx if c[y]\ny := \"branch\"";
    let problems = load(&["p"], &[("one.rego", one), ("other.rego", other)]).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "dynamic_reference"), "{problems:?}");
}

#[test]
fn with_recursion_and_missing_data_do_not_load() {
    refuses("with_refused", "x if allow with input.identity.branch as \"main\"");
    refuses("recursion", "x if y\ny if x");
    refuses("unknown_data", "x if data.nosuch.rule");
    refuses("named_like_a_builtin", "startswith(a, b) := true");
    refuses("shadowed_name", "x if { data := input.context; data.branch == \"main\" }");
    refuses("shadowed_name", "f(data) := data.branch");
    refuses("shadowed_name", "x if { some data in [1]; data == 1 }");
    refuses("named_like_a_builtin", "net.cidr_contains(a, b) := true");
    accepts("branch if { branch := input.context.branch; branch == \"main\" }");
}

#[test]
fn imports_that_hide_something_do_not_load() {
    let with_import = |import: &str| codes(&format!("package p\n{import}\nallow := true"), Severity::Error);
    assert!(with_import("import data.evil.net").contains(&("named_like_a_builtin", Some(2))));
    assert!(with_import("import input").contains(&("import_of_everything", Some(2))));
    assert_eq!(with_import("import rego.v1"), []);
}

#[test]
fn contract_names_have_the_shape_of_the_contract() {
    for text in [
        "allow contains \"x\" if true",
        "allow(x) := true",
        "allow.nested := true",
        "deny := true",
        "deny if true",
        "default deny := false",
        "scopes := {\"read\"}",
        "max_ttl contains \"5m\"",
        "tags[key] := \"x\" if { key := \"a\" }",
        "require(x) := x",
    ] {
        refuses("wrong_rule_shape", text);
    }
    refuses("two_defaults", "default x := 1 default x := 2");
    accepts(
        "deny contains \"x\" if input.identity.branch == \"x\"\nscopes contains \"read\"\nmax_ttl := \"5m\"",
    );
    assert!(warnings("default allow := true").contains(&("default_allow", Some(3))));
    assert!(warnings("denny contains \"x\"").contains(&("misspelt_rule", Some(3))));
}

#[test]
fn package_names_are_plain_and_rules_do_not_reach_into_packages() {
    for name in ["CI.deploy", "a[\"b c\"]", "a-b"] {
        assert!(
            load(&["ci.deploy"], &[("d.rego", DEPLOY), ("x.rego", &format!("package {name}\nx := 1"))])
                .is_err()
        );
    }
    let outer = "package ci\ndeploy := {\"allow\": true}";
    let problems = load(&["ci.deploy"], &[("d.rego", DEPLOY), ("x.rego", outer)]).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "rule_covers_package"));
}

#[test]
fn p_07_global_packages_only_restrict() {
    let with = |path: &str, text: &str| {
        let problems = match load(&["ci.deploy"], &[("d.rego", DEPLOY), (path, text)]) {
            Ok((_, problems)) | Err(problems) => problems,
        };
        problems.iter().map(|problem| problem.code).collect::<Vec<_>>()
    };
    assert!(with("global/g.rego", "package global.g\nallow := true").contains(&"global_may_only_restrict"));
    assert!(
        with("global/g.rego", "package global.g\ntags := {\"a\": \"b\"}")
            .contains(&"global_may_only_restrict")
    );
    assert!(with("g.rego", "package global.g\nmax_ttl := \"5m\"").contains(&"global_outside_its_folder"));
    assert!(
        with("global/g.rego", "package ci.deploy\nmax_ttl := \"5m\"").contains(&"global_outside_its_folder")
    );
    assert!(
        with("global/g.rego", "package global.g\ndennies contains \"x\"").contains(&"global_without_effect")
    );
    assert_eq!(with("global/g.rego", "package global.g\nmax_ttl := \"5m\""), Vec::<&str>::new());
    let problems =
        load(&["global.g"], &[("global/g.rego", "package global.g\nmax_ttl := \"5m\"")]).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "global_package_named"));
}

#[test]
fn p_11_a_key_that_nothing_provides_stops_a_restriction_and_warns_elsewhere() {
    refuses("unknown_key", "x if input.contxt.branch == \"main\"");
    refuses("unknown_key", "deny contains \"x\" if input.context.comit_signed == false");
    refuses("unknown_key", "helper if input.resource.lables.a == \"x\"\ndeny contains \"x\" if helper");
    let absent = "deny contains \"x\" if input.identity.fork";
    accepts(absent);
    assert!(warnings(absent).contains(&("unknown_key", Some(3))));
    accepts("allow if input.identity.fork == false");
    assert!(warnings("allow if input.identity.fork == false").contains(&("unknown_key", Some(3))));
    assert!(warnings("allow if input.runner.region == \"eu\"").contains(&("often_absent", Some(3))));
    assert_eq!(warnings("deny contains \"x\" if input.context.commit_signed == false"), []);
}

#[test]
fn unknown_keys_come_with_what_was_meant() {
    let text = "package p\nallow if input.context.comit_signed == true";
    let (_, problems) = load(&["p"], &[("p.rego", text)]).unwrap();
    let problem = problems.iter().find(|problem| problem.code == "unknown_key").unwrap();
    assert_eq!(problem.fix, "did you mean `input.context.commit_signed`?");
}

#[test]
fn p_11_a_fact_of_another_roles_source_is_named() {
    let text = "package p\nallow if { input.context.commit_signed; input.identity.branch == \"main\" }";
    let mut without = role(&["p"]);
    without.name = "other".parse().unwrap();
    without.sources.clear();
    let config = config([role(&["p"]), without]);
    let (_, problems) = crate::policy::Policy::load_files(&config, files(&[("p.rego", text)])).unwrap();
    let found: Vec<_> = problems.iter().filter(|problem| problem.code == "fact_not_provided").collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("role other"));
}

#[test]
fn p_11_a_global_restriction_by_a_fact_that_a_role_lacks_is_named() {
    let guard = "package global.guard\ndeny contains \"unsigned\" if input.context.commit_signed == false";
    let mut without = role(&["ci.deploy"]);
    without.name = "other".parse().unwrap();
    without.sources.clear();
    let config = config([role(&["ci.deploy"]), without]);
    let texts = files(&[("d.rego", DEPLOY), ("global/guard.rego", guard)]);
    let (_, problems) = crate::policy::Policy::load_files(&config, texts).unwrap();
    let found: Vec<_> = problems.iter().filter(|problem| problem.code == "fact_not_provided").collect();
    assert_eq!(found.len(), 1);
    assert!(found[0].message.contains("role other"));
}

#[test]
fn p_13_comparisons_across_types_do_not_load() {
    refuses("type_mismatch", "x if input.context.requested_ttl <= \"30\"");
    refuses("type_mismatch", "x if \"30\" > input.context.requested_ttl");
    refuses("type_mismatch", "x if { t := input.context.requested_ttl; t <= \"30\" }");
    refuses("type_mismatch", "x if input.context.requested_ttl == null");
    refuses("type_mismatch", "x if input.identity.trust == true");
    refuses("type_mismatch", "x if input.identity.repository_id == 1234");
    refuses("type_mismatch", "x if input.identity.age_seconds = \"5\"");
    accepts("x if { input.context.requested_ttl <= 30; input.context.time >= \"08:00\" }");
}

#[test]
fn p_05_names_that_stand_for_many_names_do_not_multiply_the_work() {
    let scopes = "count([1 | a := b.k]) > 0; count([1 | b := a.k]) > 0; ".repeat(8);
    refuses("dynamic_reference", &format!("x if {{ {scopes} a == 1 }}"));
}

#[test]
fn p_05_formats_are_literal_and_narrow() {
    refuses("format_too_wide", "x := sprintf(\"%2000000000d\", [1])");
    refuses("format_not_literal", "x := sprintf(input.context.ticket, [1])");
    accepts("x := sprintf(\"%s has %d of 100%%\", [\"a\", 1])");
}

#[test]
fn i_13_a_policy_on_names_alone_is_warned_about() {
    let found = |condition: &str| codes(&format!("package p\nallow if {{ {condition} }}"), Severity::Warning);
    let names = "input.identity.repository == \"acme/shop\"; input.identity.branch == \"main\"";
    assert!(found(names).contains(&("mutable_name", None)));
    assert_eq!(found(&format!("{names}; input.identity.repository_id == \"1\"")), []);
    assert!(found("input.identity.claims.sub == \"x\"").contains(&("mutable_name", None)));
    assert!(found("input.identity.repository_id == \"1\"").contains(&("no_branch_or_environment", None)));
}

#[test]
fn packages_in_several_files_are_named() {
    let second = "package ci.deploy\nmax_ttl := \"5m\"";
    let (_, problems) = load(&["ci.deploy"], &[("d.rego", DEPLOY), ("e.rego", second)]).unwrap();
    assert!(problems.iter().any(|problem| problem.code == "package_in_several_files"));
}
