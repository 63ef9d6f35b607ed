//! The runner: whether the role takes it, and what policy sees of it.

use serde_json::Value;

use super::{Origin, Origins, RunnerInput};
use crate::config::{Role, RunnerNeed};
use crate::domain::{AttributeName, Code, Refusal};
use crate::identity::{Attributes, Caller, Runner};

/// Checks what is proved of the runner against what `role` wants.
///
/// # Errors
/// `runner_missing`, `runner_unwanted`, `runner_tenant_differs`.
pub(super) fn check(role: &Role, caller: &Caller, runner: Option<&Runner>) -> Result<(), Refusal> {
    let refused = |code, what: &str| Err(Refusal::new(code, format!("role {} {what}", role.name)));
    match (role.runner.need, runner) {
        (RunnerNeed::Required, None) => {
            refused(Code::RunnerMissing, "is given to jobs only whose runner proves itself")
        }
        (RunnerNeed::Refused, Some(_)) => {
            refused(Code::RunnerUnwanted, "is not given to a request that shows a runner")
        }
        (RunnerNeed::Required | RunnerNeed::Optional, Some(runner))
            if role.runner.same_tenant && runner.caller().tenant() != caller.tenant() =>
        {
            refused(Code::RunnerTenantDiffers, "is given on runners of the job's own tenant only")
        }
        (RunnerNeed::Required | RunnerNeed::Optional, Some(_))
        | (RunnerNeed::Optional | RunnerNeed::Refused, None) => Ok(()),
    }
}

/// `input.runner`, and the origin of every key in it.
pub(super) fn input(runner: &Runner, origins: &mut Origins) -> RunnerInput {
    let proof = runner.caller();
    for key in ["id", "issuer", "kind", "principal", "tenant"] {
        origins.add("runner", key, &Origin::Runner);
    }
    for key in runner.members().keys() {
        origins.add("runner", key.as_str(), &Origin::Runner);
    }
    let spiffe_id = proof.spiffe_id().map(str::to_owned);
    if spiffe_id.is_some() {
        origins.add("runner", "spiffe_id", &Origin::Runner);
    }
    let text = |name: &str| runner.members().get(name).and_then(Value::as_str).map(str::to_owned);
    RunnerInput {
        id: runner.id().to_owned(),
        issuer: proof.issuer_url().as_str().to_owned(),
        kind: proof.kind().to_owned(),
        principal: proof.principal().as_str().to_owned(),
        spiffe_id,
        region: text("region"),
        pool: text("pool"),
        tenant: proof.tenant().as_str().to_owned(),
        attributes: others(runner.members()),
    }
}

/// The members that have no field of their own.
fn others(members: &Attributes) -> std::collections::BTreeMap<String, Value> {
    let has_none = |name: &AttributeName| !["region", "pool"].contains(&name.as_str());
    let others = members.iter().filter(|(name, _)| has_none(name));
    others.map(|(name, value)| (name.to_string(), value.clone())).collect()
}
