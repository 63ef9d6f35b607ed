//! Runners: `[runner]` of an issuer's file, and what a role's file wants of them.

use std::collections::BTreeMap;

use crate::config::attributes::RESERVED_RUNNER_KEYS;
use crate::config::reader::Reader;
use crate::config::{Possession, RunnerNeed, RunnerRules, RunnerTerms};
use crate::domain::AttributeName;

/// How to write it in an issuer's file.
const EXPECTED: &str = "a table with `attributes`, such as { id = \"pod_uid\" }";

/// The member that every runner has.
const ID: &str = "id";

/// A table that was refused. Broken is not absent: its entry would vouch for identities instead.
pub(super) struct Broken;

/// Reads `[runner]` of an issuer, if it is written; `given` tells whether its identities have an attribute.
///
/// # Errors
/// [`Broken`], reported.
pub(super) fn of_issuer(
    r: &mut Reader<'_>,
    given: impl Fn(&str) -> bool,
) -> Result<Option<RunnerRules>, Broken> {
    let Some(field) = r.get("runner", EXPECTED) else { return Ok(None) };
    field.table(|r| rules(r, given)).flatten().map(Some).ok_or(Broken)
}

/// Refuses security events of an entry for runners alone.
pub(super) fn check_events(r: &Reader<'_>, rules: &RunnerRules) {
    if !rules.identities {
        let message = "events end identities, and this issuer vouches for none";
        r.refuse("security_events", "runner_events", message, "remove it; `tollgate block` stops a runner");
    }
}

/// Refuses an entry for runners alone that takes bound tokens only: a runner's token comes without a proof, so that nobody
/// could show one. A trust domain's runners have certificates too, whose keys are proved.
pub(super) fn check_possession(r: &Reader<'_>, rules: &RunnerRules, possession: Possession) {
    if !rules.identities && possession == Possession::Required {
        let message =
            "a runner's token is never bound to a key, so no runner of this issuer could prove itself";
        let fix = "remove it here, and write possession = \"required\" for the issuer of the jobs";
        r.refuse("possession", "runner_possession", message, fix);
    }
}

fn rules(r: &mut Reader<'_>, given: impl Fn(&str) -> bool) -> Option<RunnerRules> {
    let identities = r.flag("identities");
    if identities {
        let message = "a runner's token is an identity too: whoever reads it on the runner can ask by itself";
        r.warn(
            "identities",
            "runner_is_identity",
            message,
            "give runners an entry with an audience of its own",
        );
    }
    let expected = "{ id = \"pod_uid\", region = \"region\" }";
    let members: BTreeMap<AttributeName, AttributeName> =
        r.map("attributes", expected, |member: &AttributeName, field| {
            if RESERVED_RUNNER_KEYS.contains(&member.as_str()) {
                field.refuse(
                    "runner_member",
                    "Tollgate itself sets this member of input.runner",
                    "give it another name",
                );
            }
            let attribute: AttributeName = field.parse()?;
            if !given(attribute.as_str()) {
                let message = format!("this issuer's identities have no attribute `{attribute}`");
                let fix = "name one of its profile, one of its [attributes], or subject";
                field.refuse("unknown_attribute", &message, fix);
            }
            Some(attribute)
        });
    if !members.keys().any(|member| member.as_str() == ID) {
        let message = "nothing says which runner it is";
        r.refuse(
            "attributes",
            "missing_key",
            message,
            "add id = \"…\": an attribute that is one runner's alone",
        );
        return None;
    }
    Some(RunnerRules { identities, members })
}

/// Reads `runner` and `same_tenant` of a role; `proved` is true if some issuer vouches for runners.
pub(super) fn terms(r: &mut Reader<'_>, proved: bool) -> RunnerTerms {
    let words = [
        ("required", RunnerNeed::Required),
        ("optional", RunnerNeed::Optional),
        ("refused", RunnerNeed::Refused),
    ];
    let default = RunnerTerms::default();
    let need = r.choice("runner", "\"required\", \"optional\" or \"refused\"", &words);
    let same_tenant = r.get("same_tenant", "true or false").and_then(|field| field.boolean());
    if need == Some(RunnerNeed::Required) && !proved {
        let message = "no issuer vouches for runners, so nobody can get this role";
        r.warn(
            "runner",
            "no_runner_issuer",
            message,
            "add [runner] to the file of the issuer that runners have tokens of",
        );
    }
    RunnerTerms {
        need: need.unwrap_or(default.need),
        same_tenant: same_tenant.unwrap_or(default.same_tenant),
    }
}
