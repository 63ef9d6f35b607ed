//! `GET /v1/whoami`: who a token is, as Tollgate sees it, where it runs if that is shown, and which roles it may see.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use crate::broker::Whoami;
use crate::config::Role;
use crate::domain::{
    AttributeName, IssuerName, IssuerUrl, PrincipalKey, RoleName, ScopeName, TenantName, Trust, Ttl,
};
use crate::http::Context;
use crate::http::answer::json;
use crate::http::evidence;
use crate::http::failure::Failure;
use crate::http::observe::Noted;
use crate::identity::Runner;

/// Most roles in one answer; `roles_total` says how many there are.
const MAX_ROLES: usize = 100;

/// A verified identity. Its claims stay out: they may hold more than its owner wants in a terminal or a CI log.
#[derive(Serialize)]
struct WhoamiAnswer<'a> {
    issuer: &'a IssuerName,
    issuer_url: &'a IssuerUrl,
    kind: &'static str,
    subject: &'a str,
    principal: &'a PrincipalKey,
    tenant: &'a TenantName,
    trust: Trust,
    bound: bool,
    expires_at: Timestamp,
    attributes: &'a BTreeMap<AttributeName, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<RunnerAnswer<'a>>,
    roles: Vec<RoleAnswer<'a>>,
    roles_total: usize,
}

/// The runner that was shown.
#[derive(Serialize)]
struct RunnerAnswer<'a> {
    id: &'a str,
    issuer: &'a IssuerName,
    kind: &'static str,
    principal: &'a PrincipalKey,
    tenant: &'a TenantName,
    #[serde(flatten)]
    members: &'a BTreeMap<AttributeName, Value>,
}

/// A role that can be asked for.
#[derive(Serialize)]
struct RoleAnswer<'a> {
    name: &'a RoleName,
    description: &'a str,
    scopes: Vec<&'a ScopeName>,
    max_ttl: Ttl,
}

pub(super) async fn get(State(context): State<Arc<Context>>, request: Request) -> Result<Response, Failure> {
    let (parts, _) = request.into_parts();
    let evidence = evidence::of(&context.url, &parts).map_err(Failure::request)?;
    let refused = |refusal| Failure::refused(refusal, context.denials());
    let who = context.broker.whoami(&evidence).await.map_err(refused)?;
    let mut response = json(&answer(&who))?;
    let principal = Some(who.caller.principal().clone());
    response.extensions_mut().insert(Noted { decision: None, principal });
    Ok(response)
}

fn answer(who: &Whoami) -> WhoamiAnswer<'_> {
    let caller = &who.caller;
    WhoamiAnswer {
        issuer: caller.issuer(),
        issuer_url: caller.issuer_url(),
        kind: caller.kind(),
        subject: caller.subject(),
        principal: caller.principal(),
        tenant: caller.tenant(),
        trust: caller.trust(),
        bound: caller.has_key(),
        expires_at: caller.expires_at(),
        attributes: caller.attributes(),
        runner: who.runner.as_ref().map(runner_answer),
        roles: who.roles.iter().take(MAX_ROLES).map(|role| role_answer(role)).collect(),
        roles_total: who.roles.len(),
    }
}

fn runner_answer(runner: &Runner) -> RunnerAnswer<'_> {
    let proof = runner.caller();
    RunnerAnswer {
        id: runner.id(),
        issuer: proof.issuer(),
        kind: proof.kind(),
        principal: proof.principal(),
        tenant: proof.tenant(),
        members: runner.members(),
    }
}

fn role_answer(role: &Role) -> RoleAnswer<'_> {
    RoleAnswer {
        name: &role.name,
        description: &role.description,
        scopes: role.scopes.keys().collect(),
        max_ttl: role.ttl.max,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{facts, identity};

    #[test]
    fn shows_the_identity_and_not_its_claims() {
        let caller = identity::testing::caller("a.b.c", "2026-01-02T03:04:05Z".parse().unwrap());
        let roles = vec![Arc::new(facts::testing::role())];
        let shown = serde_json::to_string_pretty(&answer(&Whoami { caller, runner: None, roles })).unwrap();
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn s_07_bounds_the_list_of_roles() {
        let caller = identity::testing::caller("a.b.c", Timestamp::UNIX_EPOCH);
        let role = Arc::new(facts::testing::role());
        let who = Whoami { caller, runner: None, roles: std::iter::repeat_n(role, MAX_ROLES + 1).collect() };
        assert_eq!(answer(&who).roles.len(), MAX_ROLES);
        assert_eq!(answer(&who).roles_total, MAX_ROLES + 1);
    }
}
