//! Where a job runs, proved by a token of the runner's own beside the job's (RFC 8693, section 2.1: the actor).
//!
//! The token is verified and admitted as any identity is, by an entry that says it is for runners. Two valid tokens are
//! two proved identities, and not yet one job: whoever holds both may have brought them together.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::claim::ClaimError;
use super::{Attributes, Caller, Identity};
use crate::config::attributes::RUNNER_TEXT_KEYS;
use crate::config::{Issuer, RunnerRules};
use crate::domain::{AttributeName, BlockValue, Code, Refusal};

/// The member that every runner has.
const ID: &str = "id";

/// A runner that proved itself. Only the identity module can make one.
#[derive(Debug, Clone)]
pub struct Runner {
    caller: Caller,
    id: String,
    members: Attributes,
}

impl Runner {
    /// What was verified of it, as of any identity.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
    /// Its own identifier among those of its issuer, as the entry's rules say; it can be blocked by it.
    pub fn id(&self) -> &str {
        &self.id
    }
    /// The other members of `input.runner` that the entry's rules fill; `region` and `pool` are texts.
    pub const fn members(&self) -> &Attributes {
        &self.members
    }
}

#[cfg(test)]
impl Runner {
    pub(super) fn of(caller: Caller, id: &str) -> Self {
        Self { caller, id: id.to_owned(), members: Attributes::new() }
    }
}

impl Identity {
    /// Verifies the token that `caller` shows of the runner that it executes on. It has no proof of possession beside it: one
    /// that is bound to a key is refused.
    ///
    /// # Errors
    /// As [`Self::authenticate`], about this token; `actor_refused` if its entry is not for runners, or it is the caller's own.
    pub async fn prove_runner(&self, actor: &SecretString, caller: &Caller) -> Result<Runner, Refusal> {
        let of_actor = |refusal: Refusal| Refusal {
            message: format!("the actor token: {}", refusal.message),
            ..refusal
        };
        let shown = self.by_token(actor.expose_secret(), None, runners_only).await.map_err(of_actor)?;
        if shown.token() == caller.token() {
            return Err(Refusal::new(
                Code::ActorRefused,
                "the actor token is the job's own: it proves nothing more",
            ));
        }
        let rules = shown.issuer.runner.clone();
        let rules = rules.ok_or_else(not_for_runners)?;
        read(shown, &rules).map_err(|error| of_actor(error.into()))
    }
}

/// Refuses an entry that vouches for runners alone.
pub(super) fn identities_only(issuer: &Issuer) -> Result<(), Refusal> {
    if issuer.vouches_for_identities() {
        return Ok(());
    }
    let message = "the token says where a job runs, and not who asks";
    Err(Refusal::new(Code::RunnerNotIdentity, message).with_detail(format!("entry {}", issuer.name)))
}

/// Refuses an entry that vouches for no runner.
fn runners_only(issuer: &Issuer) -> Result<(), Refusal> {
    if issuer.runner.is_some() {
        return Ok(());
    }
    Err(not_for_runners().with_detail(format!("entry {}", issuer.name)))
}

fn not_for_runners() -> Refusal {
    Refusal::new(Code::ActorRefused, "its issuer and audience are not configured for runners")
}

/// Fills the members from the attributes. One without a value is absent, but for the id.
fn read(caller: Caller, rules: &RunnerRules) -> Result<Runner, ClaimError> {
    let mut members = Attributes::new();
    for (member, attribute) in &rules.members {
        let Some(value) = attribute_of(&caller, attribute) else { continue };
        let is_text = value.as_str().is_some_and(|text| text.parse::<BlockValue>().is_ok());
        if RUNNER_TEXT_KEYS.contains(&member.as_str()) && !is_text {
            return Err(ClaimError::new(
                attribute.as_str(),
                "is no printable text, which a runner is told by",
            ));
        }
        members.insert(member.clone(), value);
    }
    let id = members.iter().find(|(member, _)| member.as_str() == ID);
    let id = id.and_then(|(_, id)| id.as_str()).map(str::to_owned);
    let id = id.ok_or_else(|| ClaimError::new("id", "no attribute says which runner it is"))?;
    members.retain(|member, _| member.as_str() != ID);
    Ok(Runner { caller, id, members })
}

fn attribute_of(caller: &Caller, name: &AttributeName) -> Option<Value> {
    match name.as_str() {
        "subject" => Some(caller.subject().into()),
        _ => caller.attributes().get(name).filter(|value| !value.is_null()).cloned(),
    }
}
