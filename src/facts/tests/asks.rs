//! What is asked for, against what the role offers; and what policy then sees.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::config::{DeclaredKey, DeclaredType, Row, TableBinding};
use crate::domain::Code;
use crate::facts::Origin;
use crate::facts::testing::role;

fn refusal(result: Result<Facts, Refusal>, code: Code) -> Refusal {
    let refusal = result.err().unwrap();
    assert_eq!(refusal.code, code, "{}", refusal.message);
    refusal
}

#[tokio::test]
async fn s_13_a_role_of_another_tenant_answers_as_unknown() {
    let mut foreign = role();
    foreign.tenant = "bank".parse().unwrap();
    let hidden = refusal(gather_for(foreign, &ask()).await, Code::RoleUnknown);
    let mut other = role();
    other.name = "another".parse().unwrap();
    let unknown = refusal(gather_for(other, &ask()).await, Code::RoleUnknown);
    assert_eq!(hidden.message, unknown.message);
    assert_ne!(hidden.detail, unknown.detail, "the record tells them apart");
}

#[tokio::test]
async fn s_13_a_hidden_role_answers_the_same_whatever_else_is_wrong() {
    let mut foreign = role();
    foreign.tenant = "bank".parse().unwrap();
    let mut ask = ask();
    ask.scopes = Some(["nonsense".parse().unwrap()].into());
    ask.declared = [("nonsense".parse().unwrap(), text("x"))].into();
    refusal(gather_for(foreign, &ask).await, Code::RoleUnknown);
}

#[tokio::test]
async fn scopes_are_those_asked_for_or_the_default_ones() {
    let mut ask = ask();
    let mut role = role();
    role.default_scopes = ["read".parse().unwrap()].into();
    let facts = gather_for(role.clone(), &ask).await.unwrap();
    assert_eq!(facts.input().resource.scopes, ["read".to_owned()].into());
    ask.scopes = Some(["write".parse().unwrap()].into());
    let facts = gather_for(role, &ask).await.unwrap();
    assert_eq!(facts.input().resource.scopes, ["write".to_owned()].into());
    assert_eq!(facts.scopes(), ask.scopes.as_ref().unwrap());
}

#[tokio::test]
async fn refuses_unknown_and_missing_scopes() {
    let mut ask = ask();
    ask.scopes = Some(["read".parse().unwrap(), "admin".parse().unwrap()].into());
    let unknown = refusal(gather_for(role(), &ask).await, Code::ScopeUnknown);
    assert_eq!(unknown.message, "there is no scope `admin`; role deploy has read, write");
    ask.scopes = Some([].into());
    refusal(gather_for(role(), &ask).await, Code::ScopesEmpty);
    ask.scopes = None;
    let mut without_default = role();
    without_default.default_scopes.clear();
    refusal(gather_for(without_default, &ask).await, Code::ScopesEmpty);
}

#[tokio::test]
async fn p_06_declared_keys_are_marked_as_such_and_no_others_pass() {
    let mut role = role();
    let kind = DeclaredType::Text { max_bytes: 8 };
    role.declared = [("ticket".parse().unwrap(), DeclaredKey { kind, required: true, one_of: None })].into();
    let mut ask = ask();
    refusal(gather_for(role.clone(), &ask).await, Code::DeclaredKeyRefused);
    ask.declared = [("ticket".parse().unwrap(), text("OPS-1"))].into();
    let facts = gather_for(role.clone(), &ask).await.unwrap();
    assert_eq!(facts.input().declared["ticket"], "OPS-1");
    assert_eq!(facts.input().context.facts["ticket"], "OPS-1");
    assert_eq!(facts.origins().by_path()["declared.ticket"], Origin::Declared);
    assert_eq!(facts.origins().by_path()["context.ticket"], Origin::Declared);
    ask.declared.insert("branch".parse().unwrap(), text("main"));
    refusal(gather_for(role, &ask).await, Code::DeclaredKeyRefused);
}

fn table(rows: &[(&str, &[(&str, &str)])]) -> TargetTable {
    let row = |(key, values): &(&str, &[(&str, &str)])| {
        let values = values.iter().map(|(column, value)| ((*column).into(), (*value).into())).collect();
        ((*key).to_owned(), Row { values, line: 2 })
    };
    TargetTable {
        name: "repositories".into(),
        columns: Vec::new(),
        rows: [(role().name, rows.iter().map(row).collect())].into(),
    }
}

fn mapped_role(attribute: &str) -> Role {
    let mut role = role();
    role.labels = [("tier", "standard"), ("team", "shop")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
    role.table = Some(TableBinding { table: "repositories".into(), attribute: attribute.into() });
    role
}

#[tokio::test]
async fn a_table_row_gives_values_to_providers_and_labels_to_policy() {
    let columns: &[_] = &[("account", "123456789012"), ("label.tier", "critical"), ("label.team", "")];
    let config =
        with_table(config(mapped_role("repository_id"), BTreeMap::new()), table(&[("1234", columns)]));
    let facts = gather(&gatherer(&config), &ask()).await.unwrap();
    assert_eq!(facts.row().unwrap().values["account"], "123456789012");
    let labels = &facts.input().resource.labels;
    assert_eq!(labels["tier"], "critical");
    assert_eq!(labels["team"], "shop", "an empty cell does not blank the role's label");
    assert_eq!(facts.origins().by_path()["resource.labels.tier"], Origin::Table("repositories".into()));
    assert_eq!(facts.origins().by_path()["resource.labels.team"], Origin::Role);
    assert!(!labels.contains_key("account"));
}

#[tokio::test]
async fn p_08_an_identity_without_a_row_learns_nothing_of_other_rows() {
    let rows = table(&[("9999", &[("account", "999999999999")])]);
    let config = with_table(config(mapped_role("repository_id"), BTreeMap::new()), rows);
    let refused = refusal(gather(&gatherer(&config), &ask()).await, Code::TargetNotMapped);
    assert_eq!(
        refused.message,
        "the target table of role deploy was asked by `repository_id`: no row for `1234`"
    );
    let config = with_table(config_of("environment"), table(&[("", &[])]));
    let refused = refusal(gather(&gatherer(&config), &ask()).await, Code::TargetNotMapped);
    assert!(refused.message.ends_with("asked by `environment`: this identity has none"));
}

fn config_of(attribute: &str) -> Config {
    config(mapped_role(attribute), BTreeMap::new())
}

#[tokio::test]
async fn c_05_the_caller_cannot_choose_the_row() {
    let mut role = mapped_role("account");
    let kind = DeclaredType::Text { max_bytes: 20 };
    role.declared =
        [("account".parse().unwrap(), DeclaredKey { kind, required: false, one_of: None })].into();
    let config = with_table(config(role, BTreeMap::new()), table(&[("9999", &[])]));
    let mut ask = ask();
    ask.declared = [("account".parse().unwrap(), text("9999"))].into();
    refusal(gather(&gatherer(&config), &ask).await, Code::TargetNotMapped);
}

#[tokio::test]
async fn time_is_of_the_configured_zone_and_the_timestamp_of_utc() {
    let mut ask = ask();
    ask.source_ip = Some("::ffff:192.0.2.7".parse().unwrap());
    ask.ttl = Some("90s".parse().unwrap());
    let facts = gather_for(role(), &ask).await.unwrap();
    let context = &facts.input().context;
    assert_eq!((context.time.as_str(), context.weekday.as_str()), ("00:30", "saturday"));
    assert_eq!(context.timestamp, "2026-11-20T23:30:15.25Z");
    assert_eq!(context.source_ip.as_deref(), Some("192.0.2.7"));
    assert_eq!(json!(context.requested_ttl), json!(1.5));
    assert_eq!(context.requested_ttl_seconds, 90);
    assert_eq!(facts.now(), friday_night());
}

#[tokio::test]
async fn the_lifetime_is_the_one_asked_for_or_the_default_and_not_yet_bounded() {
    let mut ask = ask();
    assert_eq!(gather_for(role(), &ask).await.unwrap().ttl(), "15m".parse().unwrap());
    ask.ttl = Some("12h".parse().unwrap());
    assert_eq!(gather_for(role(), &ask).await.unwrap().ttl(), "12h".parse().unwrap());
}

#[tokio::test]
async fn age_counts_from_issue_and_is_never_negative() {
    let gatherer = gatherer(&config(role(), BTreeMap::new()));
    let decision = DecisionId::new(0, &[0; 10]);
    for (issued, age) in [(Duration::from_secs(20), 20), (Duration::ZERO, 0)] {
        let caller = caller("token", friday_night() - issued);
        let facts = gatherer.gather(caller, None, &ask(), decision).await.unwrap();
        assert_eq!(facts.input().identity.age_seconds, age);
    }
    let ahead = caller("token", friday_night() + Duration::from_secs(30));
    let facts = gatherer.gather(ahead, None, &ask(), decision).await.unwrap();
    assert_eq!(facts.input().identity.age_seconds, 0);
}

#[tokio::test]
async fn branch_and_environment_are_copied_from_the_identity_or_absent() {
    let facts = gather_for(role(), &ask()).await.unwrap();
    assert_eq!(facts.input().context.facts, [("branch".to_owned(), json!("main"))].into());
    assert_eq!(facts.origins().by_path()["context.branch"], Origin::Token);
    assert!(!facts.origins().by_path().contains_key("context.environment"));
}

/// Paths of the keys that have an origin of their own.
fn paths(input: &serde_json::Value) -> Vec<String> {
    let mut paths = Vec::new();
    for (part, value) in input.as_object().unwrap() {
        match value.as_object() {
            None => paths.push(part.clone()),
            Some(keys) => paths.extend(keys.iter().flat_map(|(key, value)| match (key.as_str(), value) {
                ("labels", labels) => {
                    let labels = labels.as_object().unwrap().keys();
                    labels.map(|label| format!("{part}.{key}.{label}")).collect()
                }
                _ => vec![format!("{part}.{key}")],
            })),
        }
    }
    paths.sort();
    paths
}

#[tokio::test]
async fn p_12_every_key_has_exactly_one_origin() {
    let mut ask = ask();
    ask.source_ip = Some("192.0.2.7".parse().unwrap());
    let facts = gather_for(role(), &ask).await.unwrap();
    let input = serde_json::to_value(facts.input()).unwrap();
    let origins: Vec<_> = facts.origins().by_path().keys().cloned().collect();
    assert_eq!(origins, paths(&input));
}
