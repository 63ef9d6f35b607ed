//! `[runner]` of an issuer, and what a role wants of runners.

use super::{Tree, tree};
use crate::config::{RunnerNeed, RunnerTerms};

/// The tree with an issuer of runners whose `[runner]` is `table`.
fn fleet(table: &str) -> Tree {
    let text = format!(
        "issuer = \"https://cluster.example\"\naudience = \"https://tollgate.example/runner\"\nprofile = \"kubernetes\"\n\
         [attributes]\nregion = \"eu\"\n[runner]\n{table}\n"
    );
    tree().file("issuers/fleet.toml", &text)
}

#[test]
fn an_issuer_vouches_for_identities_unless_it_is_for_runners() {
    let config = fleet("attributes = { id = \"pod_uid\", region = \"region\", who = \"subject\" }").clean();
    assert!(config.issuers["ci"].vouches_for_identities() && config.issuers["ci"].runner.is_none());
    assert!(!config.issuers["fleet"].vouches_for_identities());
    assert_eq!(config.issuers["fleet"].runner.as_ref().unwrap().members.len(), 3);
}

#[test]
fn i_22_an_entry_for_both_is_warned_of() {
    let both = fleet("identities = true\nattributes = { id = \"pod_uid\" }");
    both.warns("runner_is_identity", "issuers/fleet.toml:7 runner.identities");
}

#[test]
fn what_fills_the_runner_must_be_there_and_be_its_own() {
    let place = "issuers/fleet.toml:7 runner.attributes";
    fleet("attributes = { region = \"region\" }").stops("missing_key", place);
    let id = |more: &str| fleet(&format!("attributes = {{ id = \"pod_uid\", {more} }}"));
    id("zone = \"zone\"").stops("unknown_attribute", "issuers/fleet.toml:7 runner.attributes.zone");
    for taken in ["tenant", "principal", "issuer", "kind", "spiffe_id"] {
        let place = format!("issuers/fleet.toml:7 runner.attributes.{taken}");
        id(&format!("{taken} = \"namespace\"")).stops("runner_member", &place);
    }
}

#[test]
fn an_issuer_of_runners_takes_no_events() {
    let text = "security_events = { audience = \"https://tollgate.example/v1/events\" }\nprofile =";
    let tree = fleet("attributes = { id = \"pod_uid\" }").edit("issuers/fleet.toml", "profile =", text);
    tree.stops("runner_events", "issuers/fleet.toml:3 security_events");
}

#[test]
fn i_22_an_issuer_of_runners_alone_asks_for_no_proof_that_nobody_can_show() {
    let required = |table: &str| {
        let text = "possession = \"required\"\nprofile =";
        fleet(table).edit("issuers/fleet.toml", "profile =", text)
    };
    required("attributes = { id = \"pod_uid\" }")
        .stops("runner_possession", "issuers/fleet.toml:3 possession");
    required("identities = true\nattributes = { id = \"pod_uid\" }")
        .warns("runner_is_identity", "issuers/fleet.toml:8 runner.identities");
}

#[test]
fn a_role_takes_a_runner_of_its_tenant_or_none_unless_it_says_otherwise() {
    let config = tree().clean();
    let default = RunnerTerms { need: RunnerNeed::Optional, same_tenant: true };
    assert!(config.roles.values().all(|role| role.runner == default));
    let wants = |line: &str| {
        fleet("attributes = { id = \"pod_uid\" }").edit(
            "roles/api.toml",
            "target =",
            &format!("{line}\ntarget ="),
        )
    };
    let config = wants("runner = \"required\"\nsame_tenant = false").clean();
    let required = RunnerTerms { need: RunnerNeed::Required, same_tenant: false };
    assert_eq!(config.roles["api"].runner, required);
    wants("runner = \"maybe\"").stops("unknown_word", "roles/api.toml:3 runner");
}

#[test]
fn a_role_that_nobody_can_get_is_warned_of() {
    let role = tree().edit("roles/api.toml", "target =", "runner = \"required\"\ntarget =");
    role.warns("no_runner_issuer", "roles/api.toml:3 runner");
}
